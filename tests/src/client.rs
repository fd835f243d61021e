//! Requests to the gateway.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// No single call in a test takes longer.
const LONGEST: Duration = Duration::from_secs(60);

/// The gateway of a platform.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    /// Where it takes requests.
    pub address: SocketAddr,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON: {error}: {}", self.text()))
    }

    /// A header, empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The answer, which must be a success.
    pub fn ok(self) -> Self {
        assert!(
            self.status.is_success(),
            "{} {:?}: {}",
            self.status,
            self.headers,
            self.text()
        );
        self
    }
}

// === impl Gateway ===

impl Gateway {
    /// GET of a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(
            Request::get(path)
                .body(Full::default())
                .expect("the path is valid"),
        )
        .await
    }

    /// GET of a path whose answer may take longer than usual.
    pub async fn get_within(&self, path: &str, within: Duration) -> Answer {
        let request = Request::get(path)
            .body(Full::default())
            .expect("the path is valid");
        self.try_send_within(request, within)
            .await
            .unwrap_or_else(|error| panic!("the call failed: {error}"))
    }

    /// POST of a text to a path.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let body = Full::from(Bytes::from(body.to_owned()));
        self.send(
            Request::builder()
                .method(Method::POST)
                .uri(path)
                .body(body)
                .expect("the path is valid"),
        )
        .await
    }

    /// GET of a path of a host.
    pub async fn get_host(&self, host: &str, path: &str) -> Answer {
        self.send(
            Request::get(path)
                .header(header::HOST, host)
                .body(Full::default())
                .expect("the path is valid"),
        )
        .await
    }

    /// Any request, on a connection of its own.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        self.try_send(request)
            .await
            .unwrap_or_else(|error| panic!("the call failed: {error}"))
    }

    /// Any request, on a connection of its own.
    ///
    /// # Errors
    ///
    /// When there is no whole answer.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        self.try_send_within(request, LONGEST).await
    }

    async fn try_send_within(
        &self,
        mut request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Answer, String> {
        let own = header::HeaderValue::try_from(self.address.to_string());
        let own = own.map_err(|error| error.to_string())?;
        request.headers_mut().entry(header::HOST).or_insert(own);
        let exchange = async {
            let stream = TcpStream::connect(self.address)
                .await
                .map_err(|error| error.to_string())?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| error.to_string())?;
            tokio::spawn(connection.with_upgrades());
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| error.to_string())?
                .to_bytes();
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        timeout(within, exchange)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
    }
}
