//! Connections to registries, those by https through the proxy if there is one.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tower::Service;

use crate::proxy::Proxy;

/// How long the proxy may take to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer of a proxy before what it connects to answers itself.
const LONGEST_HEAD: usize = 8 * 1024;

/// Connects to hosts, those of https through the proxy.
#[derive(Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    proxy: Arc<Proxy>,
}

// === impl Connector ===

impl Connector {
    pub(super) fn new(http: HttpConnector, proxy: Proxy) -> Self {
        Self {
            http,
            proxy: Arc::new(proxy),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.http.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let proxy = self.proxy.of(&uri).cloned();
        let connecting = self.http.call(proxy.clone().unwrap_or_else(|| uri.clone()));
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return connecting.await.map_err(io::Error::other);
            };
            let what = format!(
                "the proxy {}",
                proxy
                    .authority()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            );
            let stream = connecting
                .await
                .map_err(|error| io::Error::other(format!("{what} cannot be reached: {error}")))?;
            let tunnel = tunnel(stream.into_inner(), &uri);
            let tunnel = tokio::time::timeout(PATIENCE, tunnel).await;
            let tunnel = tunnel.map_err(|_| io::Error::from(io::ErrorKind::TimedOut));
            let stream = tunnel.and_then(|tunnel| tunnel);
            stream
                .map(TokioIo::new)
                .map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
        })
    }
}

/// Has a proxy connect to an address (RFC 9110, section 9.3.6).
async fn tunnel(mut stream: TcpStream, uri: &Uri) -> io::Result<TcpStream> {
    let (host, port) = (
        uri.host().unwrap_or_default(),
        uri.port_u16().unwrap_or(443),
    );
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // What comes behind it is for whoever has the connection then.
        head.push(stream.read_u8().await?);
        if head.len() > LONGEST_HEAD {
            return Err(io::Error::other("its answer does not end"));
        }
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.lines().next().unwrap_or_default();
    match status.split_once(' ') {
        Some((version, code)) if version.starts_with("HTTP/1.") && code.starts_with('2') => {
            Ok(stream)
        }
        _ => Err(io::Error::other(format!(
            "it does not connect to {host}:{port}: {status}"
        ))),
    }
}
