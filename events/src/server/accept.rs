//! Keeps a call.

use std::fmt::Write as _;

use bytes::Bytes;
use fermata_crds::{
    Delivery,
    names::{DELIVERY_HEADER, FUNCTION_UID_HEADER, INVOCATIONS_PATH, TRIGGER_HEADER},
};
use fermata_daemon::watch::Key;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Server, body, entrance, not_from_the_gateway, text};
use crate::{
    allow::{self, Target},
    id::Id,
    invocation::{Call, CallHead, Callback, Entrance, Fields, Idempotency, Invocation},
    problem::{Answer, Problem, json_answer},
    store::Refused,
};

/// The longest `Idempotency-Key`, in bytes.
const LONGEST_KEY: usize = 256;

/// Seconds after which a caller may try again for whom there was no room.
const ROOM_AGAIN: u64 = 10;

/// What of the headers is about the connection, the preference for no answer, or the gateway's own word to this program.
const NOT_KEPT: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "prefer",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    CALLBACK_URL,
];

/// The header of OpenFaaS by which a caller says whom to tell what became of the call.
const CALLBACK_URL: &str = "x-callback-url";

impl Server {
    /// `path` is that of the function, and the path that is to be called.
    pub(super) async fn accept(
        &self,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let mut parts = path.splitn(3, '/');
        let (Some(namespace), Some(function)) = (parts.next(), parts.next()) else {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "NoSuchFunction",
                "calls are kept under /functions/NAMESPACE/NAME",
            ));
        };
        let path = format!("/{}", parts.next().unwrap_or_default());
        let kept = self.keep(namespace, function, &path, request).await;
        let refused = kept.as_ref().err().map(|problem| problem.reason);
        self.metrics.accepted(namespace, function, refused);
        kept.map(told)
    }

    async fn keep(
        &self,
        namespace: &str,
        function: &str,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Id, Problem> {
        let (parts, body) = request.into_parts();
        let callback = self.callback(&parts.headers)?;
        let entrance = entrance(&parts.headers)?;
        let uid = text(&parts.headers, FUNCTION_UID_HEADER)
            .ok_or_else(|| not_from_the_gateway(FUNCTION_UID_HEADER))?;
        let delivery = text(&parts.headers, DELIVERY_HEADER)
            .and_then(|delivery| serde_json::from_str::<Delivery>(delivery).ok())
            .ok_or_else(|| not_from_the_gateway(DELIVERY_HEADER))?;
        let most = self.max_body_bytes;
        let otherwise = ", or call without Prefer: respond-async";
        let too_large = || body::too_large("call", most, otherwise);
        let body = body::read(&parts, body, most, too_large).await?;
        let call = call(&parts, path, body);
        let now = Timestamp::now();
        let invocation = Invocation {
            idempotency: idempotency(&parts, (uid, entrance), &call, callback.as_deref())?,
            bytes: call.room() + callback.as_ref().map_or(0, |url| url.len() as u64),
            callback: callback.as_deref().map(Callback::to),
            ..Invocation::new(
                &Key::new(namespace, function),
                uid,
                (entrance, now),
                delivery,
            )
        };
        let id = Id::new(now).map_err(|error| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "StoreUnavailable",
                error.to_string(),
            )
            .for_seconds(1)
        })?;
        let kept = self.store.accept(id, invocation, call).await;
        kept.map_err(|refused| problem(&refused))
    }

    /// Whom the caller wants told what became of the call, if that is allowed.
    fn callback(&self, headers: &HeaderMap) -> Result<Option<String>, Problem> {
        let mut urls = headers.get_all(CALLBACK_URL).iter();
        let (Some(url), more) = (urls.next(), urls.next()) else {
            return Ok(None);
        };
        if self.callbacks.is_empty() {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "NoCallbacks",
                "nobody is called back: leave X-Callback-Url out and ask at the Location of the answer, or have \
                 --callback-allow of fermata-events (events.callbacks.allow of the chart) name the host",
            ));
        }
        let url = url.to_str().ok().filter(|_| more.is_none());
        let read = url.ok_or(allow::Refused::Malformed);
        let read = read.and_then(|url| Target::read(url, &self.callbacks).map(|_| url.to_owned()));
        read.map(Some).map_err(|refused| {
            let (status, reason) = match refused {
                allow::Refused::Malformed => (StatusCode::BAD_REQUEST, "BadRequest"),
                allow::Refused::NotAllowed(_) => (StatusCode::FORBIDDEN, "CallbackNotAllowed"),
            };
            Problem::new(status, reason, refused.to_string())
        })
    }
}

/// What is sent to the function.
fn call(parts: &Parts, path: &str, body: Bytes) -> Call {
    let target = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let own = |name: &HeaderName| {
        !NOT_KEPT.contains(&name.as_str()) && !name.as_str().starts_with("x-fermata-")
    };
    Call {
        head: CallHead {
            method: parts.method.as_str().into(),
            target: target.into(),
            headers: Fields::of(&parts.headers, own),
        },
        body,
    }
}

/// The key by which the caller makes the call once, if there is one. It holds for this function and no later one of its
/// name, where the call came in, and for who shows the same credentials: nobody is told of another's call.
fn idempotency(
    parts: &Parts,
    (uid, entrance): (&str, Entrance),
    call: &Call,
    callback: Option<&str>,
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = idempotency_key(parts)? else {
        return Ok(None);
    };
    let mut whose = vec![uid.as_bytes(), name(entrance).as_bytes(), key.as_bytes()];
    whose.extend(credentials(&parts.headers));
    // That of a run of a trigger is nobody else's.
    let trigger = text(&parts.headers, TRIGGER_HEADER);
    whose.extend(
        trigger
            .iter()
            .flat_map(|name| ["trigger", name].map(str::as_bytes)),
    );
    let head = &call.head;
    let mut sent: Vec<&[u8]> = Vec::new();
    // A run that is kept once more is the same, though the trigger may have been changed meanwhile.
    if trigger.is_none() {
        sent.extend([head.method.as_bytes(), head.target.as_bytes(), &call.body]);
        sent.extend(callback.map(str::as_bytes));
    }
    Ok(Some(Idempotency {
        key: digest(&whose),
        digest: digest(&sent),
    }))
}

/// `Idempotency-Key`, if there is one.
pub(super) fn idempotency_key(parts: &Parts) -> Result<Option<&HeaderValue>, Problem> {
    let mut keys = parts.headers.get_all("idempotency-key").iter();
    let (Some(key), more) = (keys.next(), keys.next()) else {
        return Ok(None);
    };
    let is_printable = key
        .as_bytes()
        .iter()
        .all(|byte| (b' '..=b'~').contains(byte));
    let fits = !key.is_empty() && key.len() <= LONGEST_KEY && is_printable;
    if fits && more.is_none() {
        return Ok(Some(key));
    }
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "BadRequest",
        format!("there is one Idempotency-Key, of 1 to {LONGEST_KEY} printable ASCII characters"),
    ))
}

/// What a caller shows to be somebody.
pub(super) fn credentials(headers: &HeaderMap) -> Vec<&[u8]> {
    let mut shown = Vec::new();
    for name in [header::AUTHORIZATION, header::COOKIE] {
        shown.extend(headers.get_all(name).iter().map(HeaderValue::as_bytes));
        // So that one is not taken for the other.
        shown.push(b"");
    }
    shown
}

/// The word for where a call came in.
pub(super) fn name(entrance: Entrance) -> &'static str {
    match entrance {
        Entrance::Public => "public",
        Entrance::Internal => "internal",
    }
}

/// SHA-256 of some texts, in hexadecimal digits.
pub(super) fn digest(parts: &[&[u8]]) -> Box<str> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut digest = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest.into()
}

/// The answer to a call that is kept (RFC 9110, section 15.3.3; RFC 7240, section 3).
fn told(id: Id) -> Answer {
    let location = format!("{INVOCATIONS_PATH}{id}");
    let body = json!({ "id": id.to_string(), "location": location });
    let mut answer = json_answer(StatusCode::ACCEPTED, "application/json", &body);
    let headers = answer.headers_mut();
    let applied = HeaderValue::from_static("respond-async");
    headers.insert("preference-applied", applied);
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(header::LOCATION, location);
    }
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        // The name that OpenFaaS has for it.
        headers.insert("x-call-id", id);
    }
    answer
}

/// The answer to a call that is not kept.
pub(super) fn problem(refused: &Refused) -> Problem {
    let (status, reason, seconds) = match refused {
        Refused::NamespaceFull { .. } | Refused::Full { .. } | Refused::DiskFull => (
            StatusCode::INSUFFICIENT_STORAGE,
            "BacklogFull",
            Some(ROOM_AGAIN),
        ),
        Refused::KeyInUse => (StatusCode::CONFLICT, "IdempotencyKeyInUse", Some(1)),
        Refused::KeyReused => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "IdempotencyKeyReused",
            None,
        ),
        Refused::Store(error) => {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a call is not kept"
            );
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "StoreUnavailable",
                Some(ROOM_AGAIN),
            )
        }
    };
    Problem {
        status,
        reason,
        detail: refused.to_string(),
        retry_after: seconds,
        allow: None,
    }
}
