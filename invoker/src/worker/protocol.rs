//! Frames between the invoker and a worker; `runtimes/README.md` describes them.
//!
//! A frame is the length of its payload (4 bytes), its kind (1 byte), the call it is about
//! (4 bytes), and the payload; numbers are big-endian. The head of a request or an answer is text
//! whose parts are set apart by NUL, which no part can hold.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Bytes of an answer that a worker may send without being given credit.
pub(crate) const WINDOW: usize = 256 * 1024;

/// The most that one frame from a worker may carry.
pub(crate) const LARGEST_FRAME: usize = 1024 * 1024;

/// The most that the head of an answer may take. With the names of a gateway's own fields it still
/// fits into what HTTP clients commonly take.
pub(crate) const LARGEST_HEAD: usize = 32 * 1024;

/// Bytes before the payload.
pub(crate) const FRAME_HEADER: usize = 9;

const CALL: u8 = 1;
const CANCEL: u8 = 2;
const CREDIT: u8 = 3;

const READY: u8 = 16;
const RESPONSE: u8 = 17;
const HEAD: u8 = 18;
const DATA: u8 = 19;
const END: u8 = 20;
const ERROR: u8 = 21;

/// The head of a request.
pub(crate) struct CallHead<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

/// A frame to the worker. The body of a call is set apart so that it is not copied.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct ToWorker {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// A frame from the worker.
#[derive(Debug, PartialEq)]
pub(crate) enum FromWorker {
    /// The handler is loaded.
    Ready,
    /// A whole answer.
    Response(Result<Head, BadHead>, Bytes),
    /// The head of an answer whose body follows.
    Head(Result<Head, BadHead>),
    /// A piece of a body.
    Data(Bytes),
    /// The end of a body.
    End,
    /// The call failed: the status and what to tell the caller.
    Error(StatusCode, String),
}

/// The handler's answer has a head that is no HTTP (RFC 9110, sections 5.5, 5.6.2 and 15). The
/// handler is to blame, not the worker. A value is not told: it may be a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BadHead {
    /// No head at all.
    #[error("its body ended before it had a head")]
    Missing,
    /// Too large.
    #[error("its header fields take {0} bytes, more than {LARGEST_HEAD}")]
    TooLarge(usize),
    /// Not a status.
    #[error("{0:?} is no status between 200 and 599")]
    Status(String),
    /// Not a field.
    #[error("{0:?} is no name of a header field")]
    Name(String),
    /// A name alone.
    #[error("the header field {0} has no value")]
    NoValue(HeaderName),
    /// Not a value.
    #[error("the header field {0} has a value with a control character")]
    Value(HeaderName),
}

/// The worker does not keep to the protocol.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// A kind of frame that does not exist.
    #[error("the worker sent a frame of the unknown kind {0}")]
    Kind(u8),
    /// A frame beyond the limit.
    #[error("the worker sent a frame of {0} bytes, more than {LARGEST_FRAME}")]
    TooLarge(usize),
    /// A frame that ends too soon.
    #[error("the worker sent a frame of kind {0} that is cut short")]
    Short(u8),
    /// A frame that does not go on.
    #[error("the worker stopped in the middle of a frame")]
    Stalled,
    /// More of a body than there was credit for.
    #[error("the worker sent more of an answer than it had credit for")]
    Window,
}

// === impl ToWorker ===

impl ToWorker {
    pub(crate) fn call(id: u32, head: &CallHead<'_>, body: Bytes) -> Self {
        let mut text = BytesMut::with_capacity(512);
        text.put_bytes(0, FRAME_HEADER + 4);
        text.put_slice(head.method.as_bytes());
        for part in [head.path, head.query] {
            text.put_u8(0);
            text.put_slice(part.as_bytes());
        }
        for (name, value) in head.headers {
            text.put_u8(0);
            text.put_slice(name.as_str().as_bytes());
            text.put_u8(0);
            text.put_slice(value.as_bytes());
        }
        let size = text.len() - FRAME_HEADER - 4;
        let header = frame_header(CALL, id, 4 + size + body.len());
        text[..FRAME_HEADER].copy_from_slice(&header);
        text[FRAME_HEADER..FRAME_HEADER + 4].copy_from_slice(&length(size));
        Self {
            head: text.freeze(),
            body,
        }
    }

    pub(crate) fn cancel(id: u32) -> Self {
        Self {
            head: Bytes::copy_from_slice(&frame_header(CANCEL, id, 0)),
            body: Bytes::new(),
        }
    }

    pub(crate) fn credit(id: u32, bytes: usize) -> Self {
        let mut head = BytesMut::with_capacity(FRAME_HEADER + 4);
        head.put_slice(&frame_header(CREDIT, id, 4));
        head.put_slice(&length(bytes));
        Self {
            head: head.freeze(),
            body: Bytes::new(),
        }
    }
}

fn frame_header(kind: u8, id: u32, payload: usize) -> [u8; FRAME_HEADER] {
    let ([a, b, c, d], [e, f, g, h]) = (length(payload), id.to_be_bytes());
    [a, b, c, d, kind, e, f, g, h]
}

/// Bodies are bounded far below what four bytes can say.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// What stands before a payload: its length, its kind and its call.
pub(crate) fn read_header(header: [u8; FRAME_HEADER]) -> Result<(usize, u8, u32), ProtocolError> {
    let [a, b, c, d, kind, e, f, g, h] = header;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    if size > LARGEST_FRAME {
        return Err(ProtocolError::TooLarge(size));
    }
    Ok((size, kind, u32::from_be_bytes([e, f, g, h])))
}

// === impl FromWorker ===

impl FromWorker {
    pub(crate) fn read(kind: u8, mut payload: Bytes) -> Result<Self, ProtocolError> {
        match kind {
            READY => Ok(Self::Ready),
            RESPONSE => {
                let short = || ProtocolError::Short(kind);
                let (size, _) = payload.split_first_chunk::<4>().ok_or_else(short)?;
                let size = u32::from_be_bytes(*size) as usize;
                let mut rest = payload.split_off(4);
                if rest.len() < size {
                    return Err(short());
                }
                let body = rest.split_off(size);
                Ok(Self::Response(Head::read(&rest), body))
            }
            HEAD => Ok(Self::Head(Head::read(&payload))),
            DATA => Ok(Self::Data(payload)),
            END => Ok(Self::End),
            ERROR => {
                let text = String::from_utf8_lossy(&payload);
                let (status, detail) = text.split_once('\0').unwrap_or((&*text, ""));
                let status = StatusCode::from_bytes(status.as_bytes())
                    .ok()
                    .filter(|status| status.is_client_error() || status.is_server_error());
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Ok(Self::Error(status, detail.to_owned()))
            }
            unknown => Err(ProtocolError::Kind(unknown)),
        }
    }
}

// === impl Head ===

impl Head {
    fn read(text: &[u8]) -> Result<Self, BadHead> {
        let too_large = || BadHead::TooLarge(text.len());
        if text.len() > LARGEST_HEAD {
            return Err(too_large());
        }
        let mut parts = text.split(|byte| *byte == 0);
        let status = parts.next().unwrap_or_default();
        let status = StatusCode::from_bytes(status)
            .ok()
            .filter(|status| (200..600).contains(&status.as_u16()))
            .ok_or_else(|| BadHead::Status(told(status)))?;
        let mut headers = HeaderMap::new();
        while let Some(name) = parts.next() {
            let name = HeaderName::from_bytes(name).map_err(|_| BadHead::Name(told(name)))?;
            let Some(value) = parts.next() else {
                return Err(BadHead::NoValue(name));
            };
            let Ok(value) = HeaderValue::from_bytes(value) else {
                return Err(BadHead::Value(name));
            };
            headers.try_append(name, value).map_err(|_| too_large())?;
        }
        Ok(Self { status, headers })
    }
}

/// As much of it as a log needs.
fn told(part: &[u8]) -> String {
    let most = part.len().min(100);
    String::from_utf8_lossy(&part[..most]).into_owned()
}

#[cfg(test)]
mod tests;
