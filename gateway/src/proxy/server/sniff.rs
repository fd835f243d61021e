//! Finding out what a client speaks.

use std::io;

use tokio::{io::AsyncReadExt, net::TcpStream};

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// HTTP/1.1, or something that will be refused as such.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Looks at the first bytes without taking them; `None` if they are too few to tell.
///
/// # Errors
///
/// The system's, or `UnexpectedEof` if none come.
pub(super) async fn look(stream: &TcpStream) -> io::Result<Option<Protocol>> {
    let mut first = [0; PREFACE.len()];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        seen => Ok(judge(&first[..seen])),
    }
}

/// Takes as many bytes as it takes to tell. To look at too few again would find the same ones, at once.
///
/// # Errors
///
/// The system's, or `UnexpectedEof` if no more come.
pub(super) async fn take(stream: &mut TcpStream, taken: &mut Vec<u8>) -> io::Result<Protocol> {
    loop {
        let mut next = [0; PREFACE.len()];
        let wanted = PREFACE.len().saturating_sub(taken.len());
        let count = stream.read(&mut next[..wanted]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        taken.extend_from_slice(&next[..count]);
        if let Some(protocol) = judge(taken) {
            return Ok(protocol);
        }
    }
}

fn judge(first: &[u8]) -> Option<Protocol> {
    let seen = first.len().min(PREFACE.len());
    if first[..seen] != PREFACE[..seen] {
        Some(Protocol::Http1)
    } else if seen == PREFACE.len() {
        Some(Protocol::Http2)
    } else {
        None
    }
}
