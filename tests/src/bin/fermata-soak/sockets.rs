//! WebSockets, one after the other, each of which speaks for a while.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fermata_tests::Space;
use futures::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::{
    accounts::{Accounts, Failure, Kind},
    functions::WARM,
};

/// At once.
const SOCKETS: usize = 3;

/// Messages that each says, and how long it waits before the next.
const MESSAGES: usize = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts them.
pub(crate) fn start(
    callers: &mut JoinSet<()>,
    space: &Space,
    accounts: &Arc<Accounts>,
    stopped: &watch::Receiver<bool>,
) {
    for _ in 0..SOCKETS {
        let (address, path) = (space.platform.gateway, space.path(WARM));
        let (accounts, stopped) = (accounts.clone(), stopped.clone());
        callers.spawn(async move {
            while !*stopped.borrow() {
                let number = accounts.open(Kind::Socket);
                let sent = Instant::now();
                let outcome = talk(address, &path, number).await;
                accounts.close(number, sent, outcome);
                sleep(PAUSE).await;
            }
        });
    }
}

/// Opens one and says what there is to say. It may be closed by the function at any time, which ends.
async fn talk(address: SocketAddr, path: &str, number: usize) -> Result<(), Failure> {
    let none =
        |what: &str, error: &dyn std::fmt::Display| Failure::None(format!("{what}: {error}"));
    let mut request = format!("ws://{address}{path}/ws")
        .into_client_request()
        .map_err(|error| none("request", &error))?;
    let count = HeaderValue::from(number as u64);
    request.headers_mut().insert("x-count", count);
    let open = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| none("connect", &error))?;
        client_async(request, stream)
            .await
            .map_err(|error| match error {
                Error::Http(answer) => Failure::Wrong(format!("upgrade: {}", answer.status())),
                error => none("upgrade", &error),
            })
    };
    let (mut socket, _) = in_time(open).await?;
    for message in 0..MESSAGES {
        let text = Message::text(format!("{number}-{message}"));
        let echo = async {
            if let Err(error) = socket.send(text.clone()).await {
                return ended(error);
            }
            match socket.next().await {
                Some(Ok(heard)) if heard == text => Ok(false),
                Some(Ok(Message::Close(_))) => Ok(true),
                Some(Ok(heard)) => Err(Failure::Wrong(format!("echo: {heard:?}"))),
                Some(Err(error)) => ended(error),
                None => Err(Failure::None("it ended without a word".to_owned())),
            }
        };
        if in_time(echo).await? {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    // The other side may be gone already, after it has said so.
    let _ = timeout(PATIENCE, socket.close(None)).await;
    Ok(())
}

/// Whether it was closed as it should be.
fn ended(error: Error) -> Result<bool, Failure> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ok(true),
        error => Err(Failure::None(format!("echo: {error}"))),
    }
}

async fn in_time<T>(step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(PATIENCE, step)
        .await
        .unwrap_or_else(|_| Err(Failure::None(format!("nothing within {PATIENCE:?}"))))
}
