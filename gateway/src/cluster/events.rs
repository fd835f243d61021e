//! Questions to the events program about calls that wait.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header, uri::Authority};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::{Serialize, de::DeserializeOwned};

/// How long an answer may take.
const ASK_TIMEOUT: Duration = Duration::from_millis(800);

/// How long one may take that something is kept or changed.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventsUnheard {
    /// It takes too long.
    #[error("the events program has not answered within {0:?}")]
    Timeout(Duration),
    /// There is no connection, or it broke.
    #[error("the events program cannot be reached")]
    Unreachable(#[from] legacy::Error),
    /// The question makes no request.
    #[error("the question cannot be put")]
    Question(#[from] http::Error),
    /// It has no answer.
    #[error("the events program has answered with status {0}")]
    Status(StatusCode),
    /// The answer cannot be had as a whole.
    #[error("the answer broke off or is too large")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The question cannot be written, or the answer cannot be read.
    #[error("the answer cannot be read")]
    Answer(#[from] serde_json::Error),
}

/// Asks the events program.
#[derive(Clone, Debug)]
pub(crate) struct EventsQuery {
    client: Client<HttpConnector, Full<Bytes>>,
    authority: Authority,
}

// === impl EventsQuery ===

impl EventsQuery {
    /// Asks the one at this address.
    #[must_use]
    pub(crate) fn new(authority: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(ASK_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, authority }
    }

    /// Asks by GET.
    ///
    /// # Errors
    ///
    /// When there is no answer in time, or none that can be read.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, EventsUnheard> {
        let request = Request::get(self.url(path)).body(Full::default())?;
        self.ask(request).await
    }

    /// Asks by POST.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, EventsUnheard> {
        let request = Request::post(self.url(path))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(question)?))?;
        self.ask(request).await
    }

    /// Sends a request that has something kept or changed; the status and the body of the answer.
    ///
    /// # Errors
    ///
    /// When there is no answer in time.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped it is done or not.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), EventsUnheard> {
        let exchange = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect();
            let body = body.await.map_err(EventsUnheard::Body)?;
            Ok((status, body.to_bytes()))
        };
        let answer = tokio::time::timeout(CHANGE_TIMEOUT, exchange).await;
        answer.unwrap_or(Err(EventsUnheard::Timeout(CHANGE_TIMEOUT)))
    }

    /// Where a path of it is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<T, EventsUnheard> {
        let fetch = async {
            let response = self.client.request(request).await?;
            if !response.status().is_success() {
                return Err(EventsUnheard::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect();
            let body = body.await.map_err(EventsUnheard::Body)?.to_bytes();
            Ok(serde_json::from_slice(&body)?)
        };
        let answer = tokio::time::timeout(ASK_TIMEOUT, fetch).await;
        answer.unwrap_or(Err(EventsUnheard::Timeout(ASK_TIMEOUT)))
    }
}
