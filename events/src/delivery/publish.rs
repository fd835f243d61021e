//! What comes of a call is published to a topic, by the gateway, which knows who hears it.

use std::time::Duration;

use bytes::Bytes;
use fermata_crds::names::REASON_HEADER;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use jiff::Timestamp;

use super::{
    attempt::{Caller, chain, retry_after},
    decide::text,
};

/// What came of publishing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Publication {
    /// It is on the disk for all who hear it, now or since it was published before.
    Kept,
    /// Nobody hears it.
    Unheard,
    /// It is not.
    Refused {
        /// Why.
        why: String,
        /// Whether it may be otherwise another time.
        again: bool,
        /// For how long nobody wants to be asked again.
        retry_after: Option<Duration>,
    },
}

// === impl Caller ===

impl Caller {
    /// Publishes to a topic of the namespace. The headers have an `idempotency-key`: with the same one it is published once.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped it is published or not.
    pub(super) async fn publish(
        &self,
        namespace: &str,
        topic: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Publication {
        let refused = |why: String, again, retry_after| Publication::Refused {
            why,
            again,
            retry_after,
        };
        let request = self.message(&format!("{topic}.{namespace}"), headers, body);
        let request = match request {
            Ok(request) => request,
            Err(error) => return refused(error.to_string(), false, None),
        };
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => return refused(chain(&error), true, None),
        };
        let status = response.status();
        let reason = response.headers().get(REASON_HEADER);
        let is_for = |word: &str| reason.is_some_and(|reason| reason == word);
        // With other data it was published when the function was called before.
        if status.is_success() || is_for("IdempotencyKeyReused") {
            return Publication::Kept;
        }
        if is_for("NoSuchTopic") {
            return Publication::Unheard;
        }
        let again = status.is_server_error() && status != StatusCode::LOOP_DETECTED
            || [404, 408, 409, 425, 429].contains(&status.as_u16());
        let retry_after = retry_after(response.headers(), Timestamp::now());
        let said = self.body(response.into_body()).await;
        let said = said.map(|(said, _)| text(&said)).unwrap_or_default();
        refused(format!("{} {said}", status.as_u16()), again, retry_after)
    }

    fn message(
        &self,
        topic: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> http::Result<Request<Full<Bytes>>> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.gateway.clone())
            .path_and_query(format!("/topics/{topic}"))
            .build()?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
