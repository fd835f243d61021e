//! Digests as OCI writes them.

use std::{fmt::Write as _, io};

use sha2::{Digest as _, Sha256};

/// The digest of these bytes.
pub(crate) fn of(bytes: &[u8]) -> String {
    text(Sha256::new_with_prefix(bytes))
}

/// A digest as text.
pub(crate) fn text(hash: Sha256) -> String {
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a text is a digest that can be checked.
pub(crate) fn is_valid(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Passes on what is written, and knows its digest and size.
pub(crate) struct Digesting<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

// === impl Digesting ===

impl<W: io::Write> Digesting<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    /// What it was written to, the digest and the number of bytes.
    pub(crate) fn finish(self) -> (W, String, u64) {
        (self.inner, text(self.hash), self.size)
    }
}

impl<W: io::Write> io::Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(of(b""), empty);
        assert!(is_valid(empty));
        for wrong in [
            "",
            "sha256:",
            "sha512:00",
            &empty[1..],
            &empty.to_uppercase(),
        ] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }
}
