//! One attempt: an ordinary request to the gateway, which wakes the function and lets the request wait.

use std::{error::Error, fmt::Write as _, time::Duration};

use bytes::Bytes;
use fermata_crds::names::{ATTEMPT_HEADER, FUNCTION_UID_HEADER, INVOCATION_HEADER, REASON_HEADER};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{self, CONTENT_LENGTH, HOST, RETRY_AFTER},
    uri::Authority,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use jiff::{Timestamp, fmt::rfc2822};

use super::decide::Outcome;
use crate::invocation::{Answer, AnswerHead, Due, Fields};

/// How long the gateway may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long a silence it is looked whether the gateway is still there, and how often then.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(5));

/// Header fields that an answer may have: more than the gateway lets through.
const MOST_FIELDS: usize = 1100;

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The header of OpenFaaS with the name of a call.
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// Makes attempts.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) client: Client<HttpConnector, Full<Bytes>>,
    pub(super) gateway: Authority,
    /// The largest body of an answer that is kept, in bytes.
    pub(super) kept: usize,
}

// === impl Caller ===

impl Caller {
    /// Calls functions by the gateway's listener for requests from inside the cluster.
    pub(super) fn new(gateway: Authority, kept: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        // A gateway whose node is gone says nothing any more, and answers may take as long as they like.
        connector.set_keepalive(Some(KEEPALIVE.0));
        connector.set_keepalive_interval(Some(KEEPALIVE.1));
        connector.set_keepalive_retries(Some(3));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .http1_max_headers(MOST_FIELDS)
            .build(connector);
        Self {
            client,
            gateway,
            kept,
        }
    }

    /// Makes one attempt, and waits for all of its answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks the attempt off, as a client does that hangs up.
    pub(super) async fn attempt(&self, due: &Due) -> Outcome {
        let request = match self.request(due) {
            Ok(request) => request,
            Err(error) => return Outcome::Unanswered(format!("it cannot be sent: {error}")),
        };
        match self.client.request(request).await {
            Ok(response) => self.answered(response).await,
            Err(error) if error.is_connect() => {
                Outcome::Unreached(format!("the gateway cannot be reached: {}", chain(&error)))
            }
            // The function may have received it.
            Err(error) => {
                Outcome::Unanswered(format!("the gateway has not answered: {}", chain(&error)))
            }
        }
    }

    fn request(&self, due: &Due) -> http::Result<Request<Full<Bytes>>> {
        let (call, id) = (&due.call, due.id.to_string());
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.gateway.clone())
            .path_and_query(&*call.head.target)
            .build()?;
        let mut request = Request::builder()
            .method(Method::from_bytes(call.head.method.as_bytes())?)
            .uri(uri)
            .body(Full::new(call.body.clone()))?;
        let headers = request.headers_mut();
        call.head.headers.add_to(headers);
        let (namespace, function) = (&due.invocation.namespace, &due.invocation.function);
        let own = [
            (HOST, format!("{function}.{namespace}.svc")),
            (HeaderName::from_static(INVOCATION_HEADER), id.clone()),
            (CALL_ID, id),
            (
                HeaderName::from_static(ATTEMPT_HEADER),
                (due.invocation.attempts + 1).to_string(),
            ),
            (
                HeaderName::from_static(FUNCTION_UID_HEADER),
                due.invocation.uid.to_string(),
            ),
        ];
        for (name, value) in own {
            headers.insert(name, HeaderValue::try_from(value)?);
        }
        Ok(request)
    }

    async fn answered(&self, response: http::Response<Incoming>) -> Outcome {
        let (head, body) = response.into_parts();
        let (body, cut) = match self.body(body).await {
            Ok(body) => body,
            Err(error) => {
                return Outcome::Unanswered(format!("the answer broke off: {}", chain(&error)));
            }
        };
        let reason = head.headers.get(REASON_HEADER);
        let reason = reason
            .and_then(|reason| reason.to_str().ok())
            .map(Into::into);
        let retry_after = retry_after(&head.headers, Timestamp::now());
        Outcome::Answered {
            answer: Answer {
                head: AnswerHead {
                    status: head.status.as_u16(),
                    headers: Fields::of(&head.headers, is_kept),
                    cut,
                },
                body,
            },
            reason,
            retry_after,
        }
    }

    /// The body, unless it is too large to be kept; it is read to its end all the same.
    pub(super) async fn body(&self, mut body: Incoming) -> hyper::Result<(Bytes, bool)> {
        let (mut kept, mut cut) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            cut |= kept.len() + data.len() > self.kept;
            if cut {
                kept = Vec::new();
            } else {
                kept.extend_from_slice(&data);
            }
        }
        Ok((kept.into(), cut))
    }
}

/// Whether a header of the answer is for those who ask for it later: not what is about this connection.
fn is_kept(name: &HeaderName) -> bool {
    ![
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TRAILER,
        header::UPGRADE,
        header::DATE,
        CONTENT_LENGTH,
        header::SET_COOKIE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("server-timing"),
    ]
    .contains(name)
}

/// The value of `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(date.duration_since(now).try_into().unwrap_or_default())
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        retry_after(&headers, "2026-11-28T06:00:00Z".parse().unwrap())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            asked("Sat, 28 Nov 2026 06:01:30 GMT"),
            Some(Duration::from_secs(90))
        );
        assert_eq!(asked("Sat, 28 Nov 2026 05:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-1"), None);
    }
}
