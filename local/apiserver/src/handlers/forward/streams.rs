//! Connections as pairs of SPDY streams: one for data, and one for what went wrong.

use std::{collections::HashMap, pin::pin, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::relay::{MAX_WAITING, Pod};
use crate::spdy::{self, Encoder, Error, Frame, Headers, Reader, Reset};

/// Streams at once on one connection; each forwarded connection has two.
const MAX_STREAMS: usize = 256;

/// Frames with data that wait for the client to take them.
const MAX_FRAMES: usize = 16;

/// Answers that wait. Who asks for more without taking them loses the connection.
const MAX_ANSWERS: usize = 4 * MAX_STREAMS;

/// How long a program may take nothing of what the others have to wait behind.
const STALLED: Duration = Duration::from_secs(30);

/// For the client to take the last frames.
const GOODBYE: Duration = Duration::from_secs(5);

/// What is behind an open stream.
struct Open {
    /// To the program; none if the client has said all, or it is a stream of errors.
    inlet: Option<mpsc::Sender<Bytes>>,
    reset: CancellationToken,
    /// The connection that it belongs to.
    request: String,
}

/// The streams of a connection that has one of its two, or both.
#[derive(Default)]
struct Pair {
    error: Option<u32>,
    data: Option<DataStream>,
}

/// Its number, what came on it, and whether the client has given it up.
type DataStream = (u32, mpsc::Receiver<Bytes>, CancellationToken);

/// What a connection of a client consists of.
struct Session {
    pod: Pod,
    answers: mpsc::Sender<Bytes>,
    frames: mpsc::Sender<Bytes>,
    encoder: Encoder,
    open: HashMap<u32, Open>,
    /// The connections that wait for their other stream.
    pairs: HashMap<String, Pair>,
    relays: JoinSet<[u32; 2]>,
    last: u32,
}

/// Serves a client until it goes, breaks the protocol, or the pod ends.
pub(super) async fn run<R, W>(from: R, to: W, pod: Pod, ended: BoxFuture<'static, ()>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (answers, answered) = mpsc::channel(MAX_ANSWERS);
    let (frames, framed) = mpsc::channel(MAX_FRAMES);
    let stop = CancellationToken::new();
    let mut session = Session {
        pod,
        answers,
        frames,
        encoder: Encoder::default(),
        open: HashMap::new(),
        pairs: HashMap::new(),
        relays: JoinSet::new(),
        last: 0,
    };
    let mut writing = pin!(write(to, answered, framed, &stop));
    let result = tokio::select! {
        result = &mut writing => return broken(result.map_err(Error::Io)),
        result = session.receive(Reader::new(from)) => result,
        () = ended => Ok(()),
    };
    stop.cancel();
    broken(result);
    let _ = timeout(GOODBYE, writing).await;
}

fn broken(result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a client that forwards ports is cut"
        );
    }
}

/// Writes frames until there can be no more, or `stop`.
async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut answers: mpsc::Receiver<Bytes>,
    mut frames: mpsc::Receiver<Bytes>,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    loop {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(frame) = answers.recv() => frame,
            Some(frame) = frames.recv() => frame,
            else => break,
        };
        to.write_all(&frame).await?;
        to.flush().await?;
    }
    // What is said already is not lost.
    while let Ok(frame) = answers.try_recv().or_else(|_| frames.try_recv()) {
        to.write_all(&frame).await?;
    }
    to.write_all(&spdy::goaway(0)).await?;
    to.shutdown().await
}

// === impl Pair ===

impl Pair {
    fn forget(&mut self, stream: u32) -> bool {
        let error = self.error.take_if(|error| *error == stream);
        let data = self.data.take_if(|(data, ..)| *data == stream);
        error.is_some() || data.is_some()
    }
}

// === impl Session ===

impl Session {
    async fn receive<R: AsyncRead + Unpin>(&mut self, reader: Reader<R>) -> Result<(), Error> {
        let frames = futures::stream::unfold(reader, async |mut reader| {
            let frame = reader.next().await.transpose()?;
            Some((frame, reader))
        });
        let mut frames = pin!(frames.fuse());
        loop {
            tokio::select! {
                Some(ended) = self.relays.join_next() => {
                    for stream in ended.into_iter().flatten() {
                        self.open.remove(&stream);
                    }
                }
                frame = frames.next() => match frame {
                    Some(frame) => self.take(frame?).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Error> {
        match frame {
            Frame::Open {
                stream,
                headers,
                fin,
            } => {
                if stream <= self.last || stream % 2 == 0 {
                    return Err(Error::Malformed("it opens a stream out of turn"));
                }
                self.last = stream;
                if self.open.len() >= MAX_STREAMS {
                    return self.answer(spdy::reset(stream, Reset::Refused));
                }
                self.begin(stream, &headers, fin)
            }
            Frame::Data { stream, bytes, fin } => self.data(stream, bytes, fin).await,
            Frame::Reset { stream } => {
                if let Some(open) = self.open.get_mut(&stream) {
                    open.inlet = None;
                    open.reset.cancel();
                    // One of a pair that has come together goes with its relay.
                    if let Some(pair) = self.pairs.get_mut(&open.request)
                        && pair.forget(stream)
                    {
                        self.open.remove(&stream);
                    }
                }
                Ok(())
            }
            Frame::Ping { id } if id % 2 == 1 => self.answer(spdy::ping(id)),
            Frame::Ping { .. } => Ok(()),
        }
    }

    /// Takes a new stream, and connects when both of a connection are there.
    fn begin(&mut self, stream: u32, headers: &Headers, fin: bool) -> Result<(), Error> {
        let kind = headers.get("streamtype");
        let port = headers.get("port").and_then(|port| port.parse().ok());
        let (Some(kind @ ("data" | "error")), Some(port @ 1..)) = (kind, port) else {
            return self.answer(spdy::reset(stream, Reset::Protocol));
        };
        // Clients that do not number connections open both streams of one in a row.
        let request = headers.get("requestid").map_or_else(
            || match kind {
                "error" => stream.to_string(),
                _ => stream.saturating_sub(2).to_string(),
            },
            ToOwned::to_owned,
        );
        let mut pair = self.pairs.remove(&request).unwrap_or_default();
        let reset = CancellationToken::new();
        let mut inlet = None;
        let taken = if kind == "error" {
            pair.error.replace(stream).is_some()
        } else {
            let (sender, receiver) = mpsc::channel(MAX_WAITING);
            inlet = (!fin).then_some(sender);
            let data = (stream, receiver, reset.clone());
            pair.data.replace(data).is_some()
        };
        if taken {
            return Err(Error::Malformed("it opens one stream twice"));
        }
        let open = Open {
            inlet,
            reset,
            request: request.clone(),
        };
        self.open.insert(stream, open);
        let reply = self.encoder.reply(stream);
        self.answer(reply)?;
        match (pair.error, pair.data) {
            (Some(error), Some(data)) => self.connect(port, error, data),
            (error, data) => {
                self.pairs.insert(request, Pair { error, data });
            }
        }
        Ok(())
    }

    fn connect(&mut self, port: u16, error: u32, data: DataStream) {
        let (data, inlet, reset) = data;
        let (pod, frames) = (self.pod.clone(), self.frames.clone());
        self.relays.spawn(async move {
            let wrap = |bytes: Bytes| Some(spdy::data(data, &bytes, bytes.is_empty()));
            let relay = pod.relay(port, inlet, &frames, wrap);
            let result = tokio::select! {
                result = relay => result,
                () = reset.cancelled() => Ok(()),
            };
            // The stream of errors ends last: by its end clients know that all is over.
            if let Err(why) = result {
                let _ = frames.send(spdy::data(error, why.as_bytes(), false)).await;
                let _ = frames.send(spdy::data(data, &[], true)).await;
            }
            let _ = frames.send(spdy::data(error, &[], true)).await;
            [data, error]
        });
    }

    async fn data(&mut self, stream: u32, bytes: Bytes, fin: bool) -> Result<(), Error> {
        // What is still on its way to a stream that has ended is no fault.
        let Some(open) = self.open.get_mut(&stream) else {
            return Ok(());
        };
        if let Some(inlet) = &open.inlet
            && !bytes.is_empty()
        {
            match timeout(STALLED, inlet.send(bytes)).await {
                Ok(Ok(())) => {}
                // The program reads no more.
                Ok(Err(_)) => open.inlet = None,
                Err(_) => {
                    open.inlet = None;
                    open.reset.cancel();
                    return self.answer(spdy::reset(stream, Reset::Internal));
                }
            }
        }
        if fin {
            open.inlet = None;
        }
        Ok(())
    }

    fn answer(&self, frame: Bytes) -> Result<(), Error> {
        self.answers
            .try_send(frame)
            .map_err(|_| Error::Malformed("its answers are not taken"))
    }
}

#[cfg(test)]
mod tests;
