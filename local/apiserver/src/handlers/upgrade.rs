//! Connections that go on with another protocol than HTTP.

use std::{sync::Arc, time::Duration};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{api::Api, response::Body, status::Failure};

/// The longest message of a client. kubectl sends pieces of 32 KiB.
const MAX_MESSAGE: usize = 1 << 20;

/// What is sent at once, and what may wait for a client that does not read: that much, one message and its head.
/// What comes on top are answers to pings; all but the last of those are left out then, as RFC 6455, section 5.5.3,
/// allows.
const WRITE_BUFFER: usize = 128 << 10;
const MAX_WRITE_BUFFER: usize = WRITE_BUFFER + MAX_MESSAGE + 1024;

/// For the client to take the last messages, and for its goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

/// A connection after the switch.
pub(super) type Connection = TokioIo<Upgraded>;

/// A handshake that can be answered (RFC 6455, section 4.2).
pub(super) struct Handshake {
    accept: HeaderValue,
    /// The first of the server's protocols that the client knows too.
    pub(super) protocol: &'static str,
}

// === impl Handshake ===

impl Handshake {
    /// Whether the client wants a WebSocket.
    pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
        has(headers, header::UPGRADE, "websocket") && has(headers, header::CONNECTION, "upgrade")
    }

    /// The answer to the client's key, and the protocol that both know.
    pub(super) fn new(headers: &HeaderMap, known: &[&'static str]) -> Result<Self, Failure> {
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .ok_or_else(|| Failure::bad_request("Sec-WebSocket-Key is missing"))?;
        if !has(headers, header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(Failure::bad_request("Sec-WebSocket-Version must be 13"));
        }
        let protocol = known
            .iter()
            .copied()
            .find(|protocol| has(headers, header::SEC_WEBSOCKET_PROTOCOL, protocol))
            .ok_or_else(|| {
                let names = known.join(" and ");
                Failure::bad_request(format!("Sec-WebSocket-Protocol: {names} are known"))
            })?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
            .map_err(|_| Failure::bad_request("Sec-WebSocket-Key is none"))?;
        Ok(Self { accept, protocol })
    }

    pub(super) fn response(self) -> Response<Body> {
        let mut response = switching(HeaderValue::from_static("websocket"));
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(self.protocol),
        );
        response
    }
}

/// Whether a header, which may be a list, has this token.
pub(super) fn has(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|given| given.trim().eq_ignore_ascii_case(token))
}

/// The answer before a connection goes on with `protocol`.
pub(super) fn switching(protocol: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, protocol);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}

/// Goes on with the connection in a task, which ends with the server at the latest. The permit is given back
/// at its end.
pub(super) fn go_on<F>(
    api: &Arc<Api>,
    upgrade: OnUpgrade,
    permit: OwnedSemaphorePermit,
    session: impl FnOnce(Connection) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let shutdown = api.shutdown.clone();
    api.sessions.spawn(async move {
        let _permit = permit;
        let session = async {
            match upgrade.await {
                Ok(upgraded) => session(TokioIo::new(upgraded)).await,
                Err(error) => {
                    tracing::debug!(error = %error, "a connection did not switch its protocol");
                }
            }
        };
        tokio::select! {
            () = session => {}
            () = shutdown.cancelled() => {}
        }
    });
}

/// The messages of a connection that has become a WebSocket.
pub(super) async fn websocket<C>(connection: C) -> WebSocketStream<C>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}

/// Sends the last messages and the end of a WebSocket, and waits until the client has ended it too; all for some
/// seconds at most.
pub(super) async fn close(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    source: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    last: Option<Message>,
) {
    let goodbye = async {
        // kubectl takes a close without a code for an error.
        let normal = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        for message in last.into_iter().chain([Message::Close(Some(normal))]) {
            sink.send(message).await?;
        }
        // What the client still sends would make the kernel reset the connection.
        while source.next().await.is_some_and(|message| message.is_ok()) {}
        Ok::<_, Error>(())
    };
    if let Ok(Err(error)) = timeout(GOODBYE, goodbye).await {
        tracing::debug!(error = %error, "a client has gone before the end of its connection");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What the pipe between both ends holds.
    const PIPE: usize = 64 << 10;

    #[tokio::test]
    async fn answers_to_pings_that_nobody_reads_have_a_bound() {
        let (mut client, server) = tokio::io::duplex(PIPE);
        let mut server = websocket(server).await;
        let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
        ping.extend([b'p'; 125]);
        let count = 3 * MAX_WRITE_BUFFER / ping.len();
        let pings = ping.repeat(count);
        let taken = async {
            for _ in 0..count {
                let message = server.next().await.unwrap().unwrap();
                assert!(message.is_ping());
            }
        };
        let (sent, ()) = tokio::join!(client.write_all(&pings), taken);
        sent.unwrap();
        let mut answers = Vec::new();
        let flushed = async {
            server.flush().await.unwrap();
            drop(server);
        };
        let (read, ()) = tokio::join!(client.read_to_end(&mut answers), flushed);
        let read = read.unwrap();
        // The last answer waits outside of the buffer.
        let bound = MAX_WRITE_BUFFER + PIPE + ping.len();
        assert!(read <= bound, "{read} of {}", pings.len());
        assert!(answers.starts_with(&[0x8a, 125]));
    }
}
