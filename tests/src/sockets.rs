//! WebSockets that stay open and speak now and then.

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, sync::watch, task::JoinSet, time::timeout};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// How long an echo may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often each socket speaks.
const PERIOD: Duration = Duration::from_millis(200);

/// Open WebSockets of an echoing function.
pub struct Sockets {
    sockets: JoinSet<Result<usize, String>>,
    stop: watch::Sender<bool>,
}

// === impl Sockets ===

impl Sockets {
    /// Opens so many, and waits until each has heard its first echo.
    pub async fn open(address: SocketAddr, path: &str, count: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut sockets = JoinSet::new();
        for _ in 0..count {
            let request = format!("ws://{address}{path}")
                .into_client_request()
                .expect("the address is one");
            let stream = TcpStream::connect(address)
                .await
                .expect("the gateway listens");
            let (mut socket, _) = client_async(request, stream)
                .await
                .expect("the function takes WebSockets");
            let mut stopped = stopped.clone();
            let mut echo = async move |number: usize| {
                let text = Message::text(format!("message {number}"));
                socket
                    .send(text.clone())
                    .await
                    .map_err(|error| error.to_string())?;
                match timeout(PATIENCE, socket.next()).await {
                    Ok(Some(Ok(heard))) if heard == text => Ok(()),
                    other => Err(format!("message {number}: {other:?}")),
                }
            };
            echo(0).await.expect("the first echo");
            sockets.spawn(async move {
                let mut number = 1;
                while timeout(PERIOD, stopped.changed()).await.is_err() {
                    echo(number).await?;
                    number += 1;
                }
                Ok(number)
            });
        }
        Self { sockets, stop }
    }

    /// Ends them, and gives why those broke that did.
    pub async fn broken(self) -> Vec<String> {
        self.stop.send_replace(true);
        let ends = self.sockets.join_all().await;
        ends.into_iter().filter_map(Result::err).collect()
    }
}
