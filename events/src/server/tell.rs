//! Says what became of a call, and changes that.

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{Asker, accept, no_such_invocation};
use crate::{
    error::StoreError,
    id::Id,
    invocation::{Invocation, Standing, State},
    problem::{Answer, Problem, json_answer},
    store::{Changed, Store},
};

/// Seconds after which it may be asked again for a call that is not over.
const ASK_AGAIN: u64 = 1;

/// How the call stands.
pub(super) async fn state(store: &Store, id: Id, asker: Asker<'_>) -> Result<Answer, Problem> {
    let (invocation, running) = found(store, id, asker).await?;
    Ok(told(StatusCode::OK, id, &invocation, running))
}

/// What was answered, as it was answered.
pub(super) async fn result(store: &Store, id: Id, asker: Asker<'_>) -> Result<Answer, Problem> {
    let (invocation, _) = found(store, id, asker).await?;
    answered(store, id, &invocation).await
}

/// What was answered to a call.
pub(super) async fn answered(
    store: &Store,
    id: Id,
    invocation: &Invocation,
) -> Result<Answer, Problem> {
    if !invocation.is_over() {
        return Err(not_over());
    }
    let answer = store
        .answer(id)
        .await
        .map_err(|error| unavailable(&error))?;
    let none = || {
        let why = match invocation.state {
            State::Cancelled => "it was called off",
            State::Waiting | State::Succeeded | State::Failed => {
                invocation.message.as_deref().unwrap_or("nobody knows why")
            }
        };
        Problem::new(
            StatusCode::NOT_FOUND,
            "NoResult",
            format!("the function has not answered: {why}"),
        )
    };
    let answer = answer.ok_or_else(none)?;
    if answer.head.cut {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "NoResult",
            "the answer was too large to be kept; let the function put it elsewhere and answer where it is",
        ));
    }
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.head.status).unwrap_or(StatusCode::OK);
    answer.head.headers.add_to(response.headers_mut());
    private(response.headers_mut());
    Ok(response)
}

/// Calls the call off.
pub(super) async fn cancel(store: &Store, id: Id, asker: Asker<'_>) -> Result<Answer, Problem> {
    found(store, id, asker).await?;
    call_off(store, id).await
}

/// Calls a call off that is there.
pub(super) async fn call_off(store: &Store, id: Id) -> Result<Answer, Problem> {
    match store
        .cancel(id)
        .await
        .map_err(|error| unavailable(&error))?
    {
        Changed::Done(invocation) => Ok(told(StatusCode::OK, id, &invocation, false)),
        Changed::Told(invocation) => Ok(told(StatusCode::ACCEPTED, id, &invocation, true)),
        Changed::Already(invocation) if invocation.state == State::Cancelled => {
            Ok(told(StatusCode::OK, id, &invocation, false))
        }
        Changed::Already(_) => Err(Problem::new(
            StatusCode::CONFLICT,
            "AlreadyOver",
            "the call is over and cannot be called off",
        )),
        Changed::Unknown => Err(no_such_invocation()),
    }
}

/// Has a call tried anew that has failed.
pub(super) async fn redrive(store: &Store, id: Id, asker: Asker<'_>) -> Result<Answer, Problem> {
    found(store, id, asker).await?;
    try_anew(store, id).await
}

/// Has a call tried anew that is there and has failed.
pub(super) async fn try_anew(store: &Store, id: Id) -> Result<Answer, Problem> {
    match store
        .redrive(id)
        .await
        .map_err(|refused| accept::problem(&refused))?
    {
        Changed::Done(invocation) | Changed::Told(invocation) => {
            Ok(told(StatusCode::ACCEPTED, id, &invocation, false))
        }
        Changed::Already(invocation) if !invocation.is_over() => Err(not_over()),
        Changed::Already(_) => Err(Problem::new(
            StatusCode::CONFLICT,
            "NotFailed",
            "only a call that has failed is tried anew",
        )),
        Changed::Unknown => Err(no_such_invocation()),
    }
}

/// The call, for those who come in where it came in. On a host that is a function's own there are its calls alone: what
/// another one has answered would speak in its name.
async fn found(store: &Store, id: Id, asker: Asker<'_>) -> Result<(Invocation, bool), Problem> {
    let found = store.get(id).await.map_err(|error| unavailable(&error))?;
    let found = found.filter(|(invocation, _)| {
        let owner = asker.owner.is_none_or(|owner| owner == &*invocation.uid);
        owner && invocation.entrance == asker.entrance
    });
    found.ok_or_else(no_such_invocation)
}

fn told(status: StatusCode, id: Id, invocation: &Invocation, running: bool) -> Answer {
    let mut answer = json_answer(
        status,
        "application/json",
        &document(id, invocation, Standing::of(invocation.state, running)),
    );
    private(answer.headers_mut());
    if !invocation.is_over() {
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(ASK_AGAIN));
    }
    answer
}

/// What is told of a call. What the cluster said of a function that does not start is for its owner alone: the gateway
/// has told as much of it as strangers may know.
pub(super) fn document(id: Id, invocation: &Invocation, standing: Standing) -> Value {
    let mut document = json!({
        "id": id.to_string(),
        "state": standing.word(),
        "attempts": invocation.attempts,
        "acceptedAt": invocation.accepted_at,
    });
    if let Some(document) = document.as_object_mut() {
        let heard = invocation.heard.as_ref();
        let more = [
            ("topic", json!(heard.map(|heard| &heard.topic))),
            ("trigger", json!(heard.map(|heard| &heard.trigger))),
            ("nextAttemptAt", json!(invocation.next_attempt_at)),
            ("finishedAt", json!(invocation.finished_at)),
            ("code", json!(invocation.code)),
            ("message", json!(invocation.message)),
            ("deadLetter", dead_letter(invocation)),
            ("callback", callback(invocation)),
        ];
        document.extend(
            more.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.to_owned(), value)),
        );
    }
    document
}

/// How its publication stands, if it has failed and is to be published.
fn dead_letter(invocation: &Invocation) -> Value {
    let Some(burial) = &invocation.burial else {
        return Value::Null;
    };
    json!({
        "topic": invocation.delivery.dead_letter_topic(),
        "state": burial.word(),
        "attempts": burial.attempts,
        "message": burial.message,
    })
}

/// How the callback stands. Of its URL the host is told alone: the rest may be a secret.
fn callback(invocation: &Invocation) -> Value {
    let Some(callback) = &invocation.callback else {
        return Value::Null;
    };
    let host = callback.url.parse::<Uri>().ok();
    let host = host.as_ref().and_then(Uri::host);
    json!({
        "host": host,
        "state": callback.word(),
        "attempts": callback.attempts,
        "message": callback.message,
    })
}

/// It is for the one who asks, and may be otherwise at once.
pub(super) fn private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn not_over() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "NotOver",
        "the call is not over; ask how it stands, and then for its result",
    )
    .for_seconds(ASK_AGAIN)
}

pub(super) fn unavailable(error: &StoreError) -> Problem {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the store cannot be asked"
    );
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "StoreUnavailable",
        "what became of calls cannot be looked up now; try again",
    )
    .for_seconds(10)
}
