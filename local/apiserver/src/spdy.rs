//! SPDY/3.1 as far as `kubectl port-forward` speaks it
//! (<https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>).
//!
//! Streams are opened by the client only. Flow control by windows is left out, as in Kubernetes' own
//! implementation, which neither sends nor obeys it.

mod headers;

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};

pub(crate) use self::headers::Headers;
use self::headers::Inflater;

/// The longest control frame; the headers of a stream are some 100 bytes.
const MAX_CONTROL: usize = 16 * 1024;

/// How much of a data frame is given at once.
pub(crate) const CHUNK: usize = 16 * 1024;

const CONTROL: u8 = 0x80;
const VERSION: u8 = 3;
const FIN: u8 = 1;
const STREAM_MASK: u32 = 0x7fff_ffff;

const SYN_STREAM: u8 = 1;
const SYN_REPLY: u8 = 2;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// Why a stream is reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reset {
    Protocol = 1,
    Refused = 3,
    Cancel = 5,
    FlowControl = 7,
}

/// What a client says.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// A new stream; with `fin`, nothing follows on it.
    Open {
        stream: u32,
        headers: Headers,
        fin: bool,
    },
    /// A part of a stream.
    Data {
        stream: u32,
        bytes: Bytes,
        fin: bool,
    },
    /// The client gives a stream up.
    Reset { stream: u32 },
    /// A sign of life, which is answered with the same.
    Ping { id: u32 },
}

/// Why frames cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("a control frame of {0} bytes, more than {MAX_CONTROL}")]
    TooLong(usize),
    #[error("a frame of SPDY version {0}, not {VERSION}")]
    Version(u8),
    #[error("a frame is malformed: {0}")]
    Malformed(&'static str),
}

/// Reads frames.
pub(crate) struct Reader<R> {
    from: BufReader<R>,
    inflater: Inflater,
    /// What is left of a data frame.
    rest: Option<Rest>,
}

struct Rest {
    stream: u32,
    fin: bool,
    length: usize,
}

/// Writes frames.
#[derive(Default)]
pub(crate) struct Encoder {
    /// Whether headers have been sent, which are one compressed stream from the first to the last.
    begun: bool,
}

// === impl Reader ===

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from: BufReader::new(from),
            inflater: Inflater::default(),
            rest: None,
        }
    }

    /// The next frame that matters; `None` when the client has closed the connection or says goodbye.
    /// Not cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(rest) = self.rest.take() {
                return self.data(rest).await.map(Some);
            }
            let mut head = [0; 8];
            match self.from.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            };
            let [first, second, third, fourth, flags, length @ ..] = head;
            let [high, middle, low] = length;
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            let fin = flags & FIN != 0;
            if first & CONTROL == 0 {
                let stream = u32::from_be_bytes([first, second, third, fourth]);
                self.rest = Some(Rest {
                    stream,
                    fin,
                    length,
                });
                continue;
            }
            if (first & !CONTROL, second) != (0, VERSION) {
                return Err(Error::Version(second));
            }
            if length > MAX_CONTROL {
                return Err(Error::TooLong(length));
            }
            let mut payload = vec![0; length];
            self.from.read_exact(&mut payload).await?;
            let word = |at: usize| {
                let bytes = payload.get(at..at + 4)?.try_into().ok()?;
                Some(u32::from_be_bytes(bytes) & STREAM_MASK)
            };
            let short = Error::Malformed("it is too short");
            return Ok(Some(match fourth {
                SYN_STREAM => {
                    let stream = word(0).ok_or(short)?;
                    // After the stream: the one it belongs to, its priority and a credential.
                    let block = payload.get(10..).unwrap_or_default();
                    let headers = self.inflater.headers(block)?;
                    Frame::Open {
                        stream,
                        headers,
                        fin,
                    }
                }
                RST_STREAM => Frame::Reset {
                    stream: word(0).ok_or(short)?,
                },
                PING => Frame::Ping {
                    id: word(0).ok_or(short)?,
                },
                GOAWAY => return Ok(None),
                _ => continue,
            }));
        }
    }

    async fn data(&mut self, rest: Rest) -> Result<Frame, Error> {
        let Rest {
            stream,
            fin,
            length,
        } = rest;
        // As much as is counted as one piece, however it comes.
        let mut bytes = BytesMut::zeroed(length.min(CHUNK));
        self.from.read_exact(&mut bytes).await?;
        let left = length - bytes.len();
        if left > 0 {
            self.rest = Some(Rest {
                stream,
                fin,
                length: left,
            });
        }
        Ok(Frame::Data {
            stream,
            bytes: bytes.freeze(),
            fin: fin && left == 0,
        })
    }
}

// === impl Encoder ===

impl Encoder {
    /// The stream is accepted.
    pub(crate) fn reply(&mut self, stream: u32) -> Bytes {
        let mut payload = stream.to_be_bytes().to_vec();
        headers::put_none(&mut payload, !self.begun);
        self.begun = true;
        control(SYN_REPLY, &payload)
    }
}

/// A part of a stream, of at most 16 MiB; with `fin`, its end.
pub(crate) fn data(stream: u32, bytes: &[u8], fin: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + bytes.len());
    frame.put_u32(stream & STREAM_MASK);
    frame.put_u8(u8::from(fin));
    frame.put_uint(bytes.len() as u64, 3);
    frame.put_slice(bytes);
    frame.freeze()
}

/// The stream is given up.
pub(crate) fn reset(stream: u32, why: Reset) -> Bytes {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.put_u32(why as u32);
    control(RST_STREAM, &payload)
}

/// A sign of life.
pub(crate) fn ping(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

/// No further streams are taken.
pub(crate) fn goaway(last: u32) -> Bytes {
    let mut payload = last.to_be_bytes().to_vec();
    payload.put_u32(0);
    control(GOAWAY, &payload)
}

fn control(kind: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + payload.len());
    frame.put_slice(&[CONTROL, VERSION, 0, kind, 0]);
    frame.put_uint(payload.len() as u64, 3);
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests;
