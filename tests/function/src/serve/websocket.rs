//! A WebSocket that sends back what it gets.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{sync::watch, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::body::{self, Body, full};

/// Answers an upgrade and echoes, until the client goes or the server is to end.
pub(super) fn echo(mut request: Request<Incoming>, ending: watch::Receiver<()>) -> Response<Body> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let Some(accept) = key.map(|key| derive_accept_key(key.as_bytes())) else {
        return upgrade(StatusCode::UPGRADE_REQUIRED, full("a WebSocket is here\n"));
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(connection) = upgraded.await {
            talk(connection, ending).await;
        }
    });
    let mut response = upgrade(StatusCode::SWITCHING_PROTOCOLS, full(""));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn upgrade(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = body::response(status, body);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

async fn talk(connection: Upgraded, mut ending: watch::Receiver<()>) {
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, None).await;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = ending.changed() => {
                let away = CloseFrame { code: CloseCode::Away, reason: "the server ends".into() };
                let _ = socket.close(Some(away)).await;
                // A connection that is dropped with unread data resets, and the client would miss it.
                let answer = async { while let Some(Ok(_)) = socket.next().await {} };
                let _ = timeout(Duration::from_secs(1), answer).await;
                return;
            }
        };
        // Pings and closes are answered by the socket itself.
        let Some(Ok(message)) = message else { return };
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
