//! Ports as channels of a WebSocket: two for each, data and errors. The first message on each says its port.
//!
//! Neither side can say that a channel is at its end. A connection is over when the program has closed it; when all
//! are, the WebSocket is closed.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{
    Sink, SinkExt as _, Stream, StreamExt as _,
    future::{BoxFuture, join_all},
};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{
    buffer::{Buffer, Permit, PieceReceiver, PieceSender, STALLED},
    relay::{EndsWhen, Pod},
};
use crate::{handlers::upgrade, spdy::CHUNK};

/// Messages that wait for the client to take them.
const MAX_MESSAGES: usize = 16;

/// How often a client is pinged that cannot be heard, because programs do not take what it has sent.
const PING: Duration = Duration::from_secs(5);

/// Connects to each port once, and carries data until all connections or the pod have ended, or the client has
/// gone.
pub(super) async fn run<S>(
    socket: S,
    ports: &[u16],
    base64: bool,
    pod: Pod,
    ended: BoxFuture<'static, ()>,
) where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error>,
{
    let (mut sink, mut source) = socket.split();
    let (out, mut outgoing) = mpsc::channel(MAX_MESSAGES);
    let (inlets, outlets): (Vec<_>, Vec<_>) = ports.iter().map(|_| PieceSender::new()).unzip();
    let pod = &pod;
    let relays = ports
        .iter()
        .zip(outlets)
        .zip(0_u8..)
        .map(|((&port, receiver), index)| {
            let out = out.clone();
            async move {
                let (data, error) = (2 * index, 2 * index + 1);
                for channel in [data, error] {
                    let _ = out
                        .send(message(channel, &port.to_le_bytes(), base64))
                        .await;
                }
                let wrap = |bytes: Bytes| {
                    let piece = Some(bytes).filter(|bytes| !bytes.is_empty());
                    piece.map(|bytes| message(data, &bytes, base64))
                };
                let Some(_seat) = pod.seat() else {
                    let why = "fermata up forwards as many connections as its limit of open files allows; end one, or start it with a higher limit, see: ulimit -Hn";
                    let _ = out.send(message(error, why.as_bytes(), base64)).await;
                    return;
                };
                let PieceReceiver { pieces, reset } = receiver;
                let relayed = tokio::select! {
                    result = pod.relay(port, pieces, EndsWhen::Program, &out, wrap) => result,
                    () = reset.cancelled() => Err(format!(
                        "the program on port {port} has taken nothing of what was sent to it for {} s",
                        STALLED.as_secs()
                    )),
                };
                if let Err(why) = relayed {
                    let _ = out.send(message(error, why.as_bytes(), base64)).await;
                }
            }
        });
    let relays = join_all(relays);
    // The relays have it now, so that its end is theirs.
    let pings = out.downgrade();
    drop(out);
    let sending = async {
        while let Some(message) = outgoing.recv().await {
            sink.send(message).await?;
        }
        Ok::<_, Error>(())
    };
    let relaying = async {
        let relays = async {
            relays.await;
            Ok(())
        };
        tokio::try_join!(relays, sending).map(|_| ())
    };
    let taking = take(&mut source, inlets, &pings, base64);
    let result = tokio::select! {
        result = relaying => result,
        () = taking => return,
        () = ended => Ok(()),
    };
    match result {
        Ok(()) => upgrade::close(&mut sink, &mut source, None).await,
        Err(error) => tracing::debug!(error = %error, "a client that forwards ports has gone"),
    }
}

/// Gives what the client sends to the programs; ends when it has gone.
async fn take(
    source: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    mut inlets: Vec<PieceSender>,
    pings: &mpsc::WeakSender<Message>,
    base64: bool,
) {
    let buffer = Buffer::new();
    while let Some(Ok(message)) = source.next().await {
        let (channel, bytes) = match message {
            Message::Binary(bytes) if !base64 => match bytes.first() {
                Some(channel) => (*channel, bytes.slice(1..)),
                None => continue,
            },
            Message::Text(text) if base64 => {
                let (Some(channel), Some(text)) = (
                    text.bytes()
                        .next()
                        .and_then(|digit| digit.checked_sub(b'0')),
                    text.get(1..),
                ) else {
                    continue;
                };
                match STANDARD.decode(text) {
                    Ok(bytes) => (channel, Bytes::from(bytes)),
                    Err(_) => return,
                }
            }
            Message::Close(_) => return,
            _ => continue,
        };
        if channel % 2 != 0 {
            continue;
        }
        let index = usize::from(channel / 2);
        let mut bytes = bytes;
        while !bytes.is_empty() {
            // A copy, or a few bytes that wait would keep the whole message.
            let piece = Bytes::copy_from_slice(&bytes.split_to(bytes.len().min(CHUNK)));
            // A program that reads no more may still have something to say.
            if !inlets.get(index).is_some_and(PieceSender::is_open) {
                break;
            }
            let place = place(&buffer, &mut inlets, pings).await;
            if let Some(sender) = inlets.get(index) {
                sender.give(piece, place);
            }
        }
    }
}

/// A place for the next piece. A client that goes meanwhile is not heard, which is why it is pinged; a program that
/// takes nothing is given up for the others.
async fn place(
    buffer: &Buffer,
    inlets: &mut [PieceSender],
    pings: &mpsc::WeakSender<Message>,
) -> Permit {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(place) = buffer.take(PING).await {
            return place;
        }
        waited += PING;
        if waited >= STALLED
            && let Some(longest) = inlets.iter_mut().max_by_key(|sender| sender.waiting())
        {
            longest.give_up();
        } else if let Some(pings) = pings.upgrade() {
            // If there is no room for it, there is something else that shows whether somebody is there.
            let _ = pings.try_send(Message::Ping(Bytes::new()));
        }
    }
}

fn message(channel: u8, bytes: &[u8], base64: bool) -> Message {
    if base64 {
        let digit = char::from(b'0'.saturating_add(channel));
        return Message::text(format!("{digit}{}", STANDARD.encode(bytes)));
    }
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::binary(message)
}

#[cfg(test)]
mod tests;
