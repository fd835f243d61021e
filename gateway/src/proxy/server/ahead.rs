//! Bytes of a connection that were read and not yet passed on.

use tokio::io::ReadBuf;

/// Bytes that wait to be passed on. Mostly there are none.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: Vec<u8>,
    /// So many are passed on.
    passed: usize,
    /// So many may be.
    admitted: usize,
    /// So many were looked at.
    followed: usize,
}

// === impl Ahead ===

impl Ahead {
    /// Bytes that nobody has looked at.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Bytes that must not pass, of which so many were looked at.
    pub(super) fn held(bytes: &[u8], followed: usize) -> Self {
        Self {
            followed,
            ..Self::new(bytes.to_vec())
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Puts bytes that were passed on and looked at before these, and lets go what was held.
    pub(super) fn put_back(&mut self, again: &[u8]) {
        let mut bytes = again.to_vec();
        bytes.extend_from_slice(&self.bytes[self.passed..]);
        self.followed = again.len() + self.followed.saturating_sub(self.passed);
        self.admitted = self.followed;
        self.passed = 0;
        self.bytes = bytes;
    }

    /// Looks at what nobody has looked at. `follow` says how many of the bytes it is given may pass, and
    /// how many it has looked at, if that is not all of them; so does this.
    pub(super) fn admit(
        &mut self,
        follow: impl FnOnce(&[u8]) -> Option<(usize, usize)>,
    ) -> Option<(usize, usize)> {
        let rest = &self.bytes[self.followed..];
        if rest.is_empty() {
            self.admit_all();
            return None;
        }
        let stopped = follow(rest);
        match stopped {
            Some((passing, followed)) => {
                self.admitted = self.followed + passing;
                self.followed += followed;
            }
            None => self.admit_all(),
        }
        stopped
    }

    /// All may pass.
    pub(super) fn admit_all(&mut self) {
        self.admitted = self.bytes.len();
        self.followed = self.bytes.len();
    }

    /// Passes on what may pass; says whether there was anything.
    pub(super) fn pass(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        // What was passed on before and is followed anew may reach further back than what may pass.
        let rest = self
            .bytes
            .get(self.passed..self.admitted)
            .unwrap_or_default();
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.passed += count;
        if self.passed == self.bytes.len() {
            *self = Self::default();
        }
        count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(ahead: &mut Ahead, room: usize) -> Vec<u8> {
        let mut room = vec![0; room];
        let mut buffer = ReadBuf::new(&mut room);
        ahead.pass(&mut buffer);
        buffer.filled().to_vec()
    }

    #[test]
    fn what_may_pass_passes_and_the_rest_waits() {
        let mut ahead = Ahead::new(b"abcdef".to_vec());
        assert_eq!(pass(&mut ahead, 9), b"");
        assert_eq!(ahead.admit(|_| Some((3, 4))), Some((3, 4)));
        assert_eq!(pass(&mut ahead, 2), b"ab");
        assert_eq!(pass(&mut ahead, 9), b"c");
        assert_eq!(pass(&mut ahead, 9), b"");
        ahead.put_back(b"bc");
        let mut seen = Vec::new();
        let all = ahead.admit(|bytes| {
            seen = bytes.to_vec();
            None
        });
        assert_eq!((all, seen), (None, b"ef".to_vec()), "d was looked at");
        assert_eq!(pass(&mut ahead, 9), b"bcdef");
        assert!(ahead.is_empty());
    }

    #[test]
    fn held_ones_pass_when_they_are_let_go() {
        let mut ahead = Ahead::held(b"abc", 3);
        assert_eq!(pass(&mut ahead, 9), b"");
        ahead.put_back(b"");
        assert_eq!(ahead.admit(|_| panic!("all were looked at")), None);
        assert_eq!(pass(&mut ahead, 9), b"abc");
    }
}
