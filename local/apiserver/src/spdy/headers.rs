//! Headers of streams: names and values, compressed from the first frame of a connection to the last, with a
//! dictionary that both sides know.

use flate2::{Decompress, FlushDecompress};

use super::Error;

/// What compression begins with (section 2.6.10.1 of the specification).
const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");

/// Its Adler-32 sum, by which a compressed stream names it.
const DICTIONARY_ID: [u8; 4] = [0xe3, 0xc6, 0xa7, 0xc2];

/// How many bytes the headers of a stream may have.
const MAX_HEADERS: usize = 16 * 1024;

/// The bit that says that a dictionary is used (RFC 1950).
const HAS_DICTIONARY: u8 = 0x20;

/// The headers of a stream. Names are in lower case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Headers(Vec<(String, String)>);

/// Undoes the compression.
pub(super) struct Inflater {
    raw: Decompress,
    begun: bool,
}

// === impl Headers ===

impl Headers {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        let found = all.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn parse(mut block: &[u8]) -> Result<Self, Error> {
        let count = number(&mut block)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = text(&mut block)?.to_ascii_lowercase();
            headers.push((name, text(&mut block)?));
        }
        Ok(Self(headers))
    }
}

fn number(block: &mut &[u8]) -> Result<u32, Error> {
    let (number, rest) = block
        .split_first_chunk()
        .ok_or(Error::Malformed("its headers are cut off"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*number))
}

fn text(block: &mut &[u8]) -> Result<String, Error> {
    let length = number(block)? as usize;
    let (text, rest) = block
        .split_at_checked(length)
        .ok_or(Error::Malformed("its headers are cut off"))?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Error::Malformed("its headers are no text"))
}

// === impl Inflater ===

impl Default for Inflater {
    fn default() -> Self {
        Self {
            raw: Decompress::new(false),
            begun: false,
        }
    }
}

impl Inflater {
    /// The headers of the next frame that has some.
    pub(super) fn headers(&mut self, block: &[u8]) -> Result<Headers, Error> {
        let block = if self.begun {
            block
        } else {
            self.begun = true;
            self.begin(block)?
        };
        Headers::parse(&self.inflate(block, MAX_HEADERS)?)
    }

    /// Takes the head of the compressed stream off, and brings the dictionary in: as a block that is not
    /// compressed, which is where the pure Rust backend would have it.
    fn begin<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], Error> {
        let ([method, flags], block) = block
            .split_first_chunk()
            .ok_or(Error::Malformed("its headers are cut off"))?;
        if method & 0x0f != 8 || u16::from_be_bytes([*method, *flags]) % 31 != 0 {
            return Err(Error::Malformed("its headers are not compressed"));
        }
        if flags & HAS_DICTIONARY == 0 {
            return Ok(block);
        }
        let block = block
            .strip_prefix(&DICTIONARY_ID)
            .ok_or(Error::Malformed("its headers need another dictionary"))?;
        let mut first = stored(DICTIONARY);
        first.extend_from_slice(DICTIONARY);
        self.inflate(&first, DICTIONARY.len() + 1)?;
        Ok(block)
    }

    fn inflate(&mut self, block: &[u8], most: usize) -> Result<Vec<u8>, Error> {
        let mut text = Vec::with_capacity(most);
        let before = self.raw.total_in();
        self.raw
            .decompress_vec(block, &mut text, FlushDecompress::Sync)
            .map_err(|_| Error::Malformed("its headers are not compressed"))?;
        if self.raw.total_in() - before < block.len() as u64 || text.len() == text.capacity() {
            return Err(Error::Malformed("its headers are too long"));
        }
        Ok(text)
    }
}

/// The head of a block that is not compressed (RFC 1951, section 3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let [low, high] = length.to_le_bytes();
    vec![0, low, high, !low, !high]
}

/// Headers without any, in a form that every decompressor takes. The empty block at the end is what makes
/// one give out what it has (`Z_SYNC_FLUSH`).
pub(super) fn put_none(into: &mut Vec<u8>, first: bool) {
    if first {
        into.extend_from_slice(&[0x78, 0x01]);
    }
    let none = 0_u32.to_be_bytes();
    into.extend(stored(&none));
    into.extend(none);
    into.extend(stored(&[]));
}
