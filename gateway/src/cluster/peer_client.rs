//! Questions to the admin listener of another gateway.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// The largest answer that is read: a hundred bytes for each of a hundred thousand revisions.
const LARGEST_REPORT: usize = 16 * 1024 * 1024;

/// Why another gateway gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It takes no connection.
    #[error("the peer cannot be reached")]
    Connect(#[from] std::io::Error),
    /// The connection broke.
    #[error("the peer did not answer")]
    Http(#[from] hyper::Error),
    /// The question makes no request.
    #[error("the question cannot be put")]
    Request(#[from] http::Error),
    /// It has no answer.
    #[error("the peer answered with status {0}")]
    Status(http::StatusCode),
    /// The answer cannot be had as a whole.
    #[error("the peer's answer broke off or is too large")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer cannot be read.
    #[error("the peer's answer cannot be read")]
    Report(#[from] serde_json::Error),
}

// === impl AskError ===

impl AskError {
    /// Whether nobody listens there: a gateway that is no more.
    #[must_use]
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

/// Puts a question to the admin listener of another gateway, on a connection of its own.
///
/// # Errors
///
/// When there is no answer in time, or none that can be read.
pub(crate) async fn ask_peer<T: DeserializeOwned>(
    address: SocketAddr,
    method: Method,
    target: &str,
    timeout: Duration,
) -> Result<T, AskError> {
    let answer = tokio::time::timeout(timeout, fetch(address, method, target)).await;
    answer.unwrap_or_else(|_elapsed| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

async fn fetch<T: DeserializeOwned>(
    address: SocketAddr,
    method: Method,
    target: &str,
) -> Result<T, AskError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(AskError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), LARGEST_REPORT).collect();
        let body = body.await.map_err(AskError::Body)?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    };
    // The connection ends after the answer; until then it has to be driven.
    let (answer, _ended) = tokio::join!(answer, connection);
    answer
}
