//! The socket, and since when it listens.

use std::{
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::net::TcpListener;

/// A socket that listens.
pub(crate) struct Listening {
    /// The socket.
    pub(crate) listener: TcpListener,
    /// When it began to, as Unix time.
    pub(crate) since: Duration,
}

impl Listening {
    /// Listens on `HOST` (else all addresses) and `PORT`.
    pub(crate) async fn start() -> Self {
        let host = env::var("HOST").unwrap_or_else(|_| "0.0.0.0".into());
        let port: u16 = env::var("PORT")
            .expect("PORT is set")
            .parse()
            .expect("PORT is a port");
        let listener = TcpListener::bind((host, port))
            .await
            .expect("the port is free");
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is later than 1970");
        Self { listener, since }
    }
}
