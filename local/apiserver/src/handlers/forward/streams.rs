//! Connections as pairs of SPDY streams: one for data, and one for what went wrong.

use std::{collections::HashMap, pin::pin, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, mpsc},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    buffer::{Buffer, Permit, PieceReceiver, PieceSender, STALLED},
    relay::{EndsWhen, Pod},
};
use crate::spdy::{self, Encoder, Error, Frame, Headers, Reader, Reset};

/// Forwarded connections at once on one of a client. Each has two streams, and the first takes the place for both: who
/// got one gets the other.
pub(super) const MAX_CONNECTIONS: usize = 128;

/// The longest name of a connection, in bytes. kubectl counts from 0.
const MAX_REQUEST_ID: usize = 64;

/// How long the first stream of a connection waits for the other, as with a kubelet.
const UNPAIRED: Duration = Duration::from_secs(30);

/// Frames with data that wait for the client to take them.
const MAX_FRAMES: usize = 16;

/// Answers that wait for the client to take them.
const MAX_ANSWERS: usize = 256;

/// How long a client may ask for more without taking its answers; then it loses the connection.
const UNHEARD: Duration = Duration::from_secs(30);

/// For the client to take the last frames.
const GOODBYE: Duration = Duration::from_secs(5);

/// What is behind an open stream.
struct Open {
    /// To the program; none of a stream of errors.
    sender: Option<PieceSender>,
    /// The connection that it belongs to.
    request: String,
}

/// The first stream of a connection.
struct Unpaired {
    half: Half,
    seat: OwnedSemaphorePermit,
    until: Instant,
}

/// One of the two streams of a connection.
enum Half {
    Error(u32),
    Data(DataStream),
}

/// Its number, and what comes on it.
type DataStream = (u32, PieceReceiver);

/// What a connection of a client consists of.
struct Session {
    pod: Pod,
    answers: mpsc::Sender<Bytes>,
    frames: mpsc::Sender<Bytes>,
    encoder: Encoder,
    open: HashMap<u32, Open>,
    /// The connections that wait for their other stream; no more than [`MAX_CONNECTIONS`] with the relays.
    unpaired: HashMap<String, Unpaired>,
    relays: JoinSet<[u32; 2]>,
    buffer: Buffer,
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
        unpaired: HashMap::new(),
        relays: JoinSet::new(),
        buffer: Buffer::new(),
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

// === impl Half ===

impl Half {
    fn stream(&self) -> u32 {
        match self {
            Self::Error(stream) | Self::Data((stream, ..)) => *stream,
        }
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
            let until = self.unpaired.values().map(|unpaired| unpaired.until).min();
            tokio::select! {
                Some(ended) = self.relays.join_next() => self.close(ended),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    self.expire().await?;
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
                self.begin(stream, &headers, fin).await
            }
            Frame::Data { stream, bytes, fin } => self.data(stream, bytes, fin).await,
            Frame::Reset { stream } => {
                self.give_up(stream);
                Ok(())
            }
            Frame::Ping { id } if id % 2 == 1 => self.answer(spdy::ping(id)).await,
            Frame::Ping { .. } => Ok(()),
        }
    }

    /// Takes a new stream, and connects when both of a connection are there.
    async fn begin(&mut self, stream: u32, headers: &Headers, fin: bool) -> Result<(), Error> {
        let kind = headers.get("streamtype");
        let port = headers.get("port").and_then(|port| port.parse().ok());
        let (Some(kind @ ("data" | "error")), Some(port @ 1..)) = (kind, port) else {
            return self.answer(spdy::reset(stream, Reset::Protocol)).await;
        };
        let request = match (headers.get("requestid"), kind) {
            (Some(request), _) if request.len() > MAX_REQUEST_ID => {
                return self.answer(spdy::reset(stream, Reset::Protocol)).await;
            }
            (Some(request), _) => request.to_owned(),
            // Clients that do not number connections open both streams of one in a row.
            (None, "error") => stream.to_string(),
            (None, _) => stream.saturating_sub(2).to_string(),
        };
        while let Some(ended) = self.relays.try_join_next() {
            self.close(ended);
        }
        let (first, seat) = match self.unpaired.remove(&request) {
            Some(Unpaired { half, seat, .. }) => (Some(half), seat),
            None => match self.seat() {
                Some(seat) => (None, seat),
                None => return self.answer(spdy::reset(stream, Reset::Refused)).await,
            },
        };
        let (half, sender) = if kind == "error" {
            (Half::Error(stream), None)
        } else {
            let (mut sender, receiver) = PieceSender::new();
            if fin {
                sender.finish();
            }
            (Half::Data((stream, receiver)), Some(sender))
        };
        let open = Open {
            sender,
            request: request.clone(),
        };
        self.open.insert(stream, open);
        let reply = self.encoder.reply(stream);
        self.answer(reply).await?;
        match (first, half) {
            (Some(Half::Error(error)), Half::Data(data))
            | (Some(Half::Data(data)), Half::Error(error)) => {
                self.connect(port, error, data, seat);
            }
            (Some(_), _) => return Err(Error::Malformed("it opens one stream twice")),
            (None, half) => {
                let until = Instant::now() + UNPAIRED;
                self.unpaired
                    .insert(request, Unpaired { half, seat, until });
            }
        }
        Ok(())
    }

    /// Gives up the streams that have waited long enough for their other one.
    async fn expire(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let expired = self
            .unpaired
            .extract_if(|_, unpaired| unpaired.until <= now);
        let expired: Vec<u32> = expired
            .map(|(_, unpaired)| unpaired.half.stream())
            .collect();
        for stream in expired {
            self.open.remove(&stream);
            self.answer(spdy::reset(stream, Reset::Cancel)).await?;
        }
        Ok(())
    }

    /// Forgets the streams of a connection that has ended.
    fn close(&mut self, ended: Result<[u32; 2], JoinError>) {
        for stream in ended.into_iter().flatten() {
            self.open.remove(&stream);
        }
    }

    /// A seat for one more connection, if the client may have it and there is one.
    fn seat(&self) -> Option<OwnedSemaphorePermit> {
        if self.unpaired.len() + self.relays.len() >= MAX_CONNECTIONS {
            return None;
        }
        self.pod.seat()
    }

    fn connect(&mut self, port: u16, error: u32, data: DataStream, seat: OwnedSemaphorePermit) {
        let (data, PieceReceiver { pieces, reset }) = data;
        let (pod, frames) = (self.pod.clone(), self.frames.clone());
        self.relays.spawn(async move {
            let _seat = seat;
            let wrap = |bytes: Bytes| Some(spdy::data(data, &bytes, bytes.is_empty()));
            let relay = pod.relay(port, pieces, EndsWhen::Both, &frames, wrap);
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
        let sender = |open: &Open| open.sender.as_ref().is_some_and(PieceSender::is_open);
        if !bytes.is_empty() && self.open.get(&stream).is_some_and(sender) {
            let place = self.place().await?;
            // The stream itself may have had to go for it.
            let open = self.open.get(&stream);
            if let Some(sender) = open.and_then(|open| open.sender.as_ref()) {
                sender.give(bytes, place);
            }
        }
        if fin
            && let Some(open) = self.open.get_mut(&stream)
            && let Some(sender) = &mut open.sender
        {
            sender.finish();
        }
        Ok(())
    }

    /// A place for the next piece. All streams wait for it, since their frames come one after the other: as long as
    /// programs take something, but not behind one that takes nothing.
    async fn place(&mut self) -> Result<Permit, Error> {
        loop {
            if let Some(place) = self.buffer.try_take() {
                return Ok(place);
            }
            // Nobody reads before the other stream is there, which would come behind this.
            let unpaired = self
                .unpaired
                .values()
                .map(|unpaired| unpaired.half.stream());
            if let Some(stream) = self.longest(unpaired) {
                tracing::debug!(
                    stream,
                    "too much is sent before there is a stream of errors"
                );
                self.give_up(stream);
                self.answer(spdy::reset(stream, Reset::FlowControl)).await?;
                continue;
            }
            if let Some(place) = self.buffer.take(STALLED).await {
                return Ok(place);
            }
            if let Some(stream) = self.longest(self.open.keys().copied()) {
                tracing::warn!(
                    pod = self.pod.name,
                    "a program in the pod has taken nothing of what was sent to its port for {} s; that connection is reset, for others wait behind it",
                    STALLED.as_secs()
                );
                self.give_up(stream);
                self.answer(spdy::reset(stream, Reset::FlowControl)).await?;
            }
        }
    }

    /// Which of these streams most waits for, if anything does.
    fn longest(&self, streams: impl Iterator<Item = u32>) -> Option<u32> {
        let waiting = |stream: &u32| {
            let sender = self.open.get(stream).and_then(|open| open.sender.as_ref());
            sender.map_or(0, PieceSender::waiting)
        };
        let longest = streams.max_by_key(waiting);
        longest.filter(|stream| waiting(stream) > 0)
    }

    /// Ends a stream. One of a pair that has come together goes with its relay.
    fn give_up(&mut self, stream: u32) {
        let Some(open) = self.open.get_mut(&stream) else {
            return;
        };
        if let Some(sender) = &mut open.sender {
            sender.give_up();
        }
        let unpaired = self.unpaired.get(&open.request);
        if unpaired.is_some_and(|unpaired| unpaired.half.stream() == stream) {
            self.unpaired.remove(&open.request);
            self.open.remove(&stream);
        }
    }

    /// Waits for a client that takes its answers, however much it asks at once.
    async fn answer(&self, frame: Bytes) -> Result<(), Error> {
        match timeout(UNHEARD, self.answers.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::Malformed("its answers are not taken")),
        }
    }
}

#[cfg(test)]
mod tests;
