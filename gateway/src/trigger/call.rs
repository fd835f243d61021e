//! One call of a function by a trigger: an ordinary request from inside the cluster, over a connection in memory.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use fermata_crds::{RunResult, Trigger, conditions::shortened};
use fermata_daemon::watch::Key;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    cluster::peers::Entrance,
    proxy::{client::Client, context::ProxyContext, service},
};

/// The type of the event that a time is (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type>).
const EVENT_TYPE: &str = "dev.fermata.schedule";

/// Bytes of the connection that are not read yet.
const BUFFER: usize = 64 * 1024;

/// The most of an answer that is kept, to say why a run has failed.
const MOST_MESSAGE: usize = 512;

/// The event that a time of a trigger is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    pub(super) function: &'a Key,
    pub(super) trigger: &'a Trigger,
    /// The Function's.
    pub(super) uid: &'a str,
    pub(super) time: Timestamp,
}

/// What came of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Called {
    pub(super) result: RunResult,
    pub(super) code: Option<u16>,
    /// Why it has failed.
    pub(super) message: Option<String>,
}

/// Calls the function, and waits for all of its answer.
///
/// # Cancel safety
///
/// Dropping the future breaks the call off, as a client does that hangs up.
pub(super) async fn call(context: &Arc<ProxyContext>, event: Event<'_>) -> Called {
    let request = match event.request() {
        Ok(request) => request,
        Err(error) => return Called::failed(None, format!("it cannot be called: {error}")),
    };
    match exchange(context.clone(), request).await {
        Ok((status, _)) if status.is_success() => Called {
            result: RunResult::Succeeded,
            code: Some(status.as_u16()),
            message: None,
        },
        Ok((status, text)) => Called::failed(Some(status.as_u16()), text),
        Err(error) => Called::failed(None, format!("the answer broke off: {error}")),
    }
}

/// The status of the answer, and the beginning of its text.
async fn exchange(
    context: Arc<ProxyContext>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(StatusCode, String)> {
    let (near, far) = tokio::io::duplex(BUFFER);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let caller = Arc::new(Client::new(nowhere, nowhere, Entrance::Internal, &[]));
    let serve = service_fn(move |request: Request<Incoming>| {
        let (context, caller) = (context.clone(), caller.clone());
        async move { Ok::<_, Infallible>(service::serve(&context, &caller, request).await) }
    });
    let server = server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), serve);
    let _server = AbortOnDropHandle::new(tokio::spawn(server));
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(near)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, mut body) = sender.send_request(request).await?.into_parts();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let room = MOST_MESSAGE.saturating_sub(text.len());
        text.extend_from_slice(data.get(..room).unwrap_or(&data));
    }
    Ok((
        head.status,
        String::from_utf8_lossy(&text).trim().to_owned(),
    ))
}

// === impl Event ===

impl Event<'_> {
    /// The same for the same run, and for no other.
    pub(super) fn id(&self) -> String {
        format!("{}/{}/{}", self.uid, self.trigger.name, self.time)
    }

    /// The request, with the attributes of the event as headers
    /// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode>).
    pub(super) fn request(&self) -> http::Result<Request<Full<Bytes>>> {
        let Self {
            function,
            trigger,
            time,
            ..
        } = self;
        let (namespace, name) = (&function.namespace, &function.name);
        let mut request = Request::post(trigger.path())
            .header(header::HOST, format!("{name}.{namespace}.svc"))
            .header(header::USER_AGENT, "fermata")
            .header("ce-specversion", "1.0")
            .header("ce-type", EVENT_TYPE)
            .header(
                "ce-source",
                format!(
                    "/namespaces/{namespace}/functions/{name}/triggers/{}",
                    trigger.name
                ),
            )
            .header("ce-id", self.id())
            .header("ce-time", time.to_string());
        let body = trigger.body.clone().unwrap_or_default();
        if !body.is_empty() {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
            let kind = if is_json {
                "application/json"
            } else {
                "text/plain; charset=utf-8"
            };
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        request.body(Full::new(body.into()))
    }
}

// === impl Called ===

impl Called {
    /// A run that has failed, and why.
    pub(super) fn failed(code: Option<u16>, why: String) -> Self {
        Self {
            result: RunResult::Failed,
            code,
            message: (!why.is_empty()).then(|| shortened(&why, MOST_MESSAGE).into_owned()),
        }
    }

    /// A run of which nobody knows how it ended, and why.
    pub(super) fn lost(why: &str) -> Self {
        Self {
            result: RunResult::Lost,
            code: None,
            message: Some(why.to_owned()),
        }
    }

    /// A run that a newer one has taken the place of.
    pub(super) fn replaced() -> Self {
        Self {
            result: RunResult::Replaced,
            code: None,
            message: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(body: Option<&str>) -> Request<Full<Bytes>> {
        let trigger = Trigger {
            name: "nightly".to_owned(),
            path: Some("/reports?kind=all".to_owned()),
            body: body.map(ToOwned::to_owned),
            ..Trigger::default()
        };
        let time = "2026-11-28T06:00:00Z".parse().unwrap();
        let event = Event {
            function: &Key::new("shop", "orders"),
            trigger: &trigger,
            uid: "u-1",
            time,
        };
        event.request().unwrap()
    }

    #[test]
    fn a_call_is_an_event_in_binary_mode() {
        let request = made(Some("{\"full\": true}"));
        assert_eq!(request.method(), http::Method::POST);
        assert_eq!(request.uri(), "/reports?kind=all");
        for (name, value) in [
            ("host", "orders.shop.svc"),
            ("ce-specversion", "1.0"),
            ("ce-type", "dev.fermata.schedule"),
            (
                "ce-source",
                "/namespaces/shop/functions/orders/triggers/nightly",
            ),
            ("ce-id", "u-1/nightly/2026-11-28T06:00:00Z"),
            ("ce-time", "2026-11-28T06:00:00Z"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(request.headers()[name], value, "{name}");
        }
        assert_eq!(
            made(Some("full")).headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        assert!(!made(None).headers().contains_key("content-type"));
    }
}
