//! Gives a reason to clients whose request is not HTTP.
//!
//! What cannot be parsed never becomes a request: hyper itself refuses it with a bare status. Between
//! two requests such a refusal is all that can be written, so there it is replaced by a whole one.

use std::{io, task::Poll, task::ready};

use bytes::{Buf, Bytes};

use crate::{
    failure::{BadRequest, Failure},
    proxy::respond::refusal_text,
};

/// What is written in place of hyper's own refusal.
#[derive(Debug)]
pub(super) struct RefusalRewriter {
    header_limit: usize,
    /// What of it is still to be written, once it has begun.
    rest: Option<Bytes>,
}

// === impl RefusalRewriter ===

impl RefusalRewriter {
    /// Refusals of a server with this bound on heads.
    pub(super) fn new(header_limit: usize) -> Self {
        Self {
            header_limit,
            rest: None,
        }
    }

    /// Writes all of it in place of the bytes, which begin with hyper's status line.
    pub(super) fn poll_write(
        &mut self,
        bytes: &[u8],
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let failure = self.failure(bytes);
        let rest = self
            .rest
            .get_or_insert_with(|| refusal_text(&failure).into());
        while !rest.is_empty() {
            let written = ready!(write(rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// The reason for a refusal that begins with a status line.
    fn failure(&self, refusal: &[u8]) -> Failure {
        match refusal.get(9..12) {
            // The target and the headers are bounded together.
            Some(b"431" | b"414") => Failure::HeadersTooLarge {
                limit: self.header_limit,
            },
            _ => BadRequest::Syntax.into(),
        }
    }
}
