//! Ports as channels of a WebSocket: two for each, data and errors. The first message on each says its port.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{
    Sink, SinkExt as _, Stream, StreamExt as _,
    future::{BoxFuture, join_all},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::relay::{MAX_WAITING, Pod};
use crate::spdy::CHUNK;

/// Messages that wait for the client to take them.
const MAX_MESSAGES: usize = 16;

/// For the client to take the last messages.
const GOODBYE: Duration = Duration::from_secs(5);

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
    let (inlets, outlets): (Vec<_>, Vec<_>) =
        ports.iter().map(|_| mpsc::channel(MAX_WAITING)).unzip();
    let pod = &pod;
    let relays = ports
        .iter()
        .zip(outlets)
        .zip(0_u8..)
        .map(|((&port, inlet), index)| {
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
                if let Err(why) = pod.relay(port, inlet, &out, wrap).await {
                    let _ = out.send(message(error, why.as_bytes(), base64)).await;
                }
            }
        });
    let relays = join_all(relays);
    // The relays have it now, so that its end is theirs.
    drop(out);
    let sending = async {
        while let Some(message) = outgoing.recv().await {
            sink.send(message).await?;
        }
        Ok::<_, Error>(())
    };
    let taking = take(&mut source, inlets, base64);
    tokio::select! {
        _ = async { tokio::join!(relays, sending) } => {}
        () = taking => return,
        () = ended => {}
    }
    if let Ok(Err(error)) = timeout(GOODBYE, sink.close()).await {
        tracing::debug!(error = %error, "a client that forwards ports has gone");
    }
}

/// Gives what the client sends to the programs; ends when it has gone.
async fn take(
    source: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    inlets: Vec<mpsc::Sender<Bytes>>,
    base64: bool,
) {
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
        let inlet = inlets.get(usize::from(channel / 2));
        let Some(inlet) = inlet.filter(|_| channel % 2 == 0) else {
            continue;
        };
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK));
            // A program that reads no more may still have something to say.
            if inlet.send(piece).await.is_err() {
                break;
            }
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
