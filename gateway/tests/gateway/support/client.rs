//! HTTP clients.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A response that has been read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn reason(&self) -> &str {
        self.header("x-fermata-reason")
    }
}

/// One HTTP/1.1 connection.
pub(crate) struct Connection<B>(http1::SendRequest<B>);

impl<B> Connection<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("a connection")
    }

    /// `None` if it is refused.
    pub(crate) async fn try_open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Some(Self(sender))
    }

    /// Sends a request and returns the response as soon as its head is there.
    pub(crate) async fn send(&mut self, request: Request<B>) -> hyper::Result<Response<Incoming>> {
        self.0.ready().await?;
        let sent = tokio::time::timeout(PATIENCE, self.0.send_request(request));
        sent.await.expect("no response in time")
    }
}

/// Sends one request on a connection of its own, and reads the whole response.
pub(crate) async fn request<B>(address: SocketAddr, request: Request<B>) -> Answer
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let response = Connection::open(address).await.send(request).await.unwrap();
    whole(response).await
}

/// A GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    let asked = Request::get(path).header("host", host);
    request(address, asked.body(Empty::<Bytes>::new()).unwrap()).await
}

async fn whole(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await;
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.expect("body not over in time").unwrap().to_bytes(),
    }
}

/// The whole body as text.
pub(crate) async fn text(response: Response<Incoming>) -> String {
    whole(response).await.text()
}

/// A client that sends bytes as they are.
pub(crate) struct RawClient(pub(crate) TcpStream);

impl RawClient {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the text has come, or the end.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut got = Vec::new();
        let reading = async {
            loop {
                let mut buffer = [0; 4096];
                match self.0.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => got.extend_from_slice(&buffer[..count]),
                }
                if !text.is_empty() && String::from_utf8_lossy(&got).contains(text) {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("nothing came in time");
        String::from_utf8_lossy(&got).into_owned()
    }

    /// Reads to the end.
    pub(crate) async fn read_to_end(&mut self) -> String {
        self.read_until("").await
    }
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}
