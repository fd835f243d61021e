//! Where the heads of requests are among the bytes of an HTTP/1.1 connection.
//!
//! hyper reads the requests, and takes a bare line feed for the end of a line, which is allowed (RFC
//! 9112, section 2.2) and not wise: what stands before the gateway may not take it for one, and see one
//! request where there are two. And hyper has a table of a hundred fields unless it is given a larger
//! one, which costs every request. So the bytes are looked at on their way: lines of heads, and of
//! bodies no more than it takes to find the next head.

/// Fields that hyper's own table holds.
pub(super) const FEW_FIELDS: usize = 100;

/// Fields that a head may have.
pub(super) const MOST_FIELDS: usize = crate::proxy::context::MOST_FIELDS;

/// As much of a line is kept, when it comes in parts, as it takes to know what it says of the body.
const LINE_KEPT: usize = 512;

/// Follows the bytes of one connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    head: Head,
    /// The line that has come in part.
    line: Line,
    /// How many heads have come to their end.
    heads: u64,
}

/// Something that was found among some bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Found {
    /// What.
    pub(super) finding: Finding,
    /// Where among these bytes the head begins in which it was found; 0 if it began before them.
    pub(super) begin: usize,
    /// How many of these bytes were followed.
    pub(super) end: usize,
}

/// What there is to be found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Finding {
    /// A head has more than [`FEW_FIELDS`].
    ManyFields = 1,
    /// A head has more than [`MOST_FIELDS`].
    TooManyFields = 2,
    /// A line of a head ends without a carriage return.
    BareLineFeed = 3,
    /// The bytes are no body that could be followed, for hyper refuses them too or the two have read them
    /// differently; or it has two lengths, one of which somebody before the gateway may have gone by (RFC
    /// 9112, section 6.1). There must be no further request.
    Lost = 4,
}

#[derive(Debug, Default)]
enum State {
    /// Before the first line of a head.
    #[default]
    Between,
    Head,
    /// Within a body of which this much is left.
    Body(u64),
    Chunked(Chunked),
    Lost,
}

/// Within a chunked body (RFC 9112, section 7.1).
#[derive(Debug)]
enum Chunked {
    /// The line with the size of a chunk is next.
    Size,
    /// This much of the chunk is left, its line end included.
    Data(u64),
    /// The lines after the last chunk.
    Trailers,
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    fields: usize,
    /// `Content-Length`, 0 if it is none that can be read.
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default)]
struct Line {
    kept: Vec<u8>,
    length: usize,
    last: u8,
}

// === impl Finding ===

impl Finding {
    /// The finding of this number.
    pub(super) fn of(number: u8) -> Option<Self> {
        [
            Self::ManyFields,
            Self::TooManyFields,
            Self::BareLineFeed,
            Self::Lost,
        ]
        .into_iter()
        .find(|finding| *finding as u8 == number)
    }
}

// === impl Framing ===

impl Framing {
    /// Follows some bytes, until something is found.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let mut rest = bytes;
        let mut begin = 0;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            if matches!(self.state, State::Between) {
                begin = at;
            }
            match &mut self.state {
                State::Lost => return Ok(()),
                State::Body(left) | State::Chunked(Chunked::Data(left)) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= count as u64;
                    rest = &rest[count..];
                    if *left == 0 {
                        self.state = match self.state {
                            State::Chunked(_) => State::Chunked(Chunked::Size),
                            _ => State::Between,
                        };
                    }
                }
                State::Between | State::Head | State::Chunked(_) => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.line.keep(rest);
                        return Ok(());
                    };
                    let found = self.end_line(&rest[..end]);
                    rest = &rest[end + 1..];
                    if let Err(finding) = found {
                        if finding == Finding::Lost {
                            self.state = State::Lost;
                        }
                        let end = bytes.len() - rest.len();
                        return Err(Found {
                            finding,
                            begin,
                            end,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Follows no more: what comes is not HTTP, or nobody knows.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
    }

    /// How many heads have come to their end: the number of the request that comes, or came last.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a part of a head has come.
    pub(super) fn is_mid_head(&self) -> bool {
        match self.state {
            State::Head => true,
            State::Between => self.line.length > 0,
            _ => false,
        }
    }

    /// A line ends, of which this is the last part, without its line feed.
    fn end_line(&mut self, part: &[u8]) -> Result<(), Finding> {
        let returned = part.last().copied().unwrap_or(self.line.last) == b'\r';
        if self.line.length == 0 {
            let text = &part[..part.len() - usize::from(returned)];
            return self.read_line(text, returned, true);
        }
        let mut line = std::mem::take(&mut self.line);
        line.keep(part);
        let length = line.length - usize::from(returned);
        let kept = length.min(line.kept.len());
        self.read_line(&line.kept[..kept], returned, kept == length)?;
        // Its room is used again.
        line.clear();
        self.line = line;
        Ok(())
    }

    /// Reads a line without its end, or only the beginning of it.
    fn read_line(&mut self, text: &[u8], returned: bool, whole: bool) -> Result<(), Finding> {
        match &mut self.state {
            State::Between | State::Head if !returned => Err(Finding::BareLineFeed),
            State::Between => {
                // Empty lines before a request are skipped (RFC 9112, section 2.2).
                if !text.is_empty() {
                    self.head = Head::default();
                    self.state = State::Head;
                }
                Ok(())
            }
            State::Head if text.is_empty() => {
                self.heads += 1;
                self.state = self.head.body()?;
                Ok(())
            }
            State::Head => self.head.read_field(text, whole),
            State::Chunked(chunked) => {
                if let Some(state) = chunked.read_line(text, returned)? {
                    self.state = state;
                }
                Ok(())
            }
            State::Body(_) | State::Lost => Ok(()),
        }
    }
}

// === impl Head ===

impl Head {
    fn read_field(&mut self, line: &[u8], whole: bool) -> Result<(), Finding> {
        self.fields += 1;
        // Few fields begin with these.
        if let Some(b'c' | b'C' | b't' | b'T') = line.first() {
            if let Some(value) = value(line, b"content-length") {
                if !whole {
                    return Err(Finding::Lost);
                }
                // One that is no number, or a second one that differs, is refused by hyper.
                let length = std::str::from_utf8(value).ok();
                self.length = length.and_then(|length| length.parse().ok()).or(Some(0));
            } else if value(line, b"transfer-encoding").is_some() {
                // Any other than chunked is refused by the gateway.
                self.chunked = true;
            }
        }
        match self.fields {
            fields if fields > MOST_FIELDS => Err(Finding::TooManyFields),
            fields if fields == FEW_FIELDS + 1 => Err(Finding::ManyFields),
            _ => Ok(()),
        }
    }

    /// What follows the head.
    fn body(&self) -> Result<State, Finding> {
        match self.length {
            Some(_) if self.chunked => Err(Finding::Lost),
            None if self.chunked => Ok(State::Chunked(Chunked::Size)),
            None | Some(0) => Ok(State::Between),
            Some(length) => Ok(State::Body(length)),
        }
    }
}

/// The value of a field, if it has this name, which is in lower case.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

// === impl Chunked ===

impl Chunked {
    /// Reads a line of the framing; says what follows, if it is not more of the same.
    fn read_line(&self, text: &[u8], returned: bool) -> Result<Option<State>, Finding> {
        match self {
            Self::Trailers if text.is_empty() && returned => Ok(Some(State::Between)),
            Self::Trailers => Ok(None),
            Self::Size if !returned => Err(Finding::Lost),
            Self::Size | Self::Data(_) => match size(text).ok_or(Finding::Lost)? {
                0 => Ok(Some(State::Chunked(Self::Trailers))),
                size => {
                    let data = size.checked_add(2).ok_or(Finding::Lost)?;
                    Ok(Some(State::Chunked(Self::Data(data))))
                }
            },
        }
    }
}

/// The size of a chunk, before its extensions.
fn size(line: &[u8]) -> Option<u64> {
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (digits, rest) = line.split_at(end);
    if !matches!(rest.first(), None | Some(b';' | b' ' | b'\t')) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

// === impl Line ===

impl Line {
    /// A further part of the line.
    fn keep(&mut self, part: &[u8]) {
        let room = LINE_KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&part[..room.min(part.len())]);
        self.length += part.len();
        self.last = part.last().copied().unwrap_or(self.last);
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.length = 0;
        self.last = 0;
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
