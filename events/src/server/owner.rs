//! What whoever a function belongs to asks: `/owned/NAMESPACE/NAME` and what is below. The gateway has seen to it that
//! it is them.

use fermata_crds::names::FUNCTION_UID_HEADER;
use fermata_daemon::watch::Key;
use http::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Server, accept, no_such_invocation, not_allowed, not_from_the_gateway, tell};
use crate::{
    id::Id,
    invocation::{Invocation, Standing, State},
    problem::{Answer, Problem, json_answer},
    store::{Changed, Listed, Order, Owner, Refused, Store},
};

/// Calls of a page where nothing is said, and at most.
const PAGE: (usize, usize) = (100, 500);

/// Calls that are tried anew at once, so that they share a write.
const AT_ONCE: usize = 64;

/// What is asked about which function.
struct Asked {
    owner: Owner,
    query: Query,
}

/// What follows the question mark.
#[derive(Debug, Default, Eq, PartialEq)]
struct Query {
    state: Option<Standing>,
    limit: Option<usize>,
    behind: Option<Id>,
    until: Option<Timestamp>,
}

// === impl Server ===

impl Server {
    /// `path` is what follows `/owned/`.
    pub(super) async fn owned(
        &self,
        path: &str,
        uri: &Uri,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Answer, Problem> {
        let mut parts = path.splitn(4, '/');
        let (Some(namespace), Some(name)) = (parts.next(), parts.next()) else {
            return Err(no_such_invocation());
        };
        let asked = Asked {
            owner: Owner {
                function: Key::new(namespace, name),
                uid: super::owner(headers)
                    .ok_or_else(|| not_from_the_gateway(FUNCTION_UID_HEADER))?
                    .into(),
            },
            query: Query::read(uri.query().unwrap_or_default())?,
        };
        let (what, rest) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let store = &self.store;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match (what, rest) {
            ("", "") if reads => asked.list(store).await,
            ("redrive", "") if method == Method::POST => asked.redrive_failed(store).await,
            ("purge", "") if method == Method::POST => asked.purge_failed(store).await,
            ("", "") => Err(not_allowed("result")),
            ("redrive" | "purge", "") => Err(not_allowed(what)),
            (id, _) => {
                let id = id.parse().map_err(|_| no_such_invocation())?;
                let found = asked.found(store, id).await?;
                match rest {
                    "" if reads => asked.show(store, id, found).await,
                    "result" if reads => tell::answered(store, id, &found.0).await,
                    "cancel" if method == Method::POST => tell::call_off(store, id).await,
                    "redrive" if method == Method::POST => tell::try_anew(store, id).await,
                    "purge" if method == Method::POST => purge(store, id, found.0).await,
                    "" | "result" => Err(not_allowed("result")),
                    "cancel" | "redrive" | "purge" => Err(not_allowed(rest)),
                    _ => Err(no_such_invocation()),
                }
            }
        }
    }
}

// === impl Asked ===

impl Asked {
    async fn list(&self, store: &Store) -> Result<Answer, Problem> {
        let (order, wanted) = ((Order::Newest, self.query.behind), self.query.state);
        let listed = store.list(&self.owner, order, self.query.most(), wanted);
        let (calls, next) = listed.await.map_err(|error| tell::unavailable(&error))?;
        let items: Vec<Value> = calls.iter().map(document).collect();
        Ok(told(&json!({
            "items": items,
            "failed": store.failed(&self.owner),
            "continue": next.map(|id| id.to_string()),
        })))
    }

    /// The call, if it is this function's, and no earlier one's of its name.
    async fn found(&self, store: &Store, id: Id) -> Result<(Invocation, bool), Problem> {
        let found = store
            .get(id)
            .await
            .map_err(|error| tell::unavailable(&error))?;
        let found = found.filter(|(invocation, _)| Owner::of(invocation) == self.owner);
        found.ok_or_else(no_such_invocation)
    }

    /// All that is known of a call; of its headers the names alone, since some are credentials.
    async fn show(
        &self,
        store: &Store,
        id: Id,
        (invocation, running): (Invocation, bool),
    ) -> Result<Answer, Problem> {
        let standing = Standing::of(invocation.state, running);
        let mut shown = document(&Listed {
            id,
            invocation,
            standing,
        });
        let due = store
            .load(id)
            .await
            .map_err(|error| tell::unavailable(&error))?;
        if let Some(due) = due {
            let head = &due.call.head;
            shown["request"] = json!({
                "method": head.method,
                "target": head.target,
                "headers": head.headers.names(),
                "bodyBytes": due.call.body.len(),
            });
        }
        Ok(told(&shown))
    }

    /// Has those that have failed tried anew, the oldest first: so many, and none that has failed after the time of
    /// the first question, so that nobody goes round in a circle.
    async fn redrive_failed(&self, store: &Store) -> Result<Answer, Problem> {
        let (calls, next, until) = self.failed(store).await?;
        let (mut done, mut stopped) = (0, None);
        let mut skipped = 0;
        for calls in calls.chunks(AT_ONCE) {
            let mut tries = JoinSet::new();
            for call in calls {
                let (store, id) = (store.clone(), call.id);
                tries.spawn(async move { store.redrive(id).await });
            }
            while let Some(tried) = tries.join_next().await {
                match tried {
                    Ok(Ok(Changed::Done(_))) => done += 1,
                    // Somebody else was faster.
                    Ok(Ok(_)) => skipped += 1,
                    Ok(Err(refused)) => stopped = Some(refused),
                    Err(_) => stopped = Some(Refused::Store(crate::error::StoreError::Closed)),
                }
            }
            if let Some(refused) = stopped {
                if done == 0 {
                    return Err(accept::problem(&refused));
                }
                // What is done is done; the next question begins where this one did, and hears of it.
                let behind = self.query.behind.unwrap_or(Id::of([0; 16]));
                return Ok(self.step(store, done, skipped, Some(behind), until));
            }
        }
        Ok(self.step(store, done, skipped, next, until))
    }

    async fn purge_failed(&self, store: &Store) -> Result<Answer, Problem> {
        let (calls, next, until) = self.failed(store).await?;
        let found = calls.len();
        let calls = calls.into_iter().map(|call| (call.id, call.invocation));
        let purged = store.purge(calls.collect()).await;
        let done = purged.map_err(|error| tell::unavailable(&error))?;
        Ok(self.step(store, done, found - done, next, until))
    }

    /// The next of those that have failed, and up to which time.
    async fn failed(&self, store: &Store) -> Result<(Vec<Listed>, Option<Id>, Timestamp), Problem> {
        let until = self.query.until.unwrap_or_else(Timestamp::now);
        let (order, wanted) = ((Order::Oldest, self.query.behind), Some(Standing::Failed));
        let listed = store.list(&self.owner, order, self.query.most(), wanted);
        let (mut calls, next) = listed.await.map_err(|error| tell::unavailable(&error))?;
        calls.retain(|call| {
            let finished = call.invocation.finished_at;
            finished.is_some_and(|finished| finished <= until)
        });
        Ok((calls, next, until))
    }

    fn step(
        &self,
        store: &Store,
        done: usize,
        skipped: usize,
        next: Option<Id>,
        until: Timestamp,
    ) -> Answer {
        told(&json!({
            "done": done,
            "skipped": skipped,
            "failed": store.failed(&self.owner),
            "until": until,
            "continue": next.map(|id| id.to_string()),
        }))
    }
}

// === impl Query ===

impl Query {
    fn read(text: &str) -> Result<Self, Problem> {
        let mut query = Self::default();
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        for (name, value) in pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            let wrong = |is: &str| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "BadRequest",
                    format!("{name}={value}: {is}"),
                )
            };
            match name {
                "state" => {
                    let state = Standing::read(value);
                    query.state = Some(state.ok_or_else(|| {
                        wrong("a state is one of waiting, running, succeeded, failed and cancelled")
                    })?);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    query.limit = Some(limit.ok_or_else(|| wrong("a limit is a number from 1"))?);
                }
                "continue" => {
                    let behind = value.parse().ok();
                    query.behind =
                        Some(behind.ok_or_else(|| {
                            wrong("it is what the answer before had as continue")
                        })?);
                }
                "until" => {
                    let until = value.parse().ok();
                    query.until =
                        Some(until.ok_or_else(|| wrong("a time is such as 2026-11-28T06:00:00Z"))?);
                }
                _ => return Err(wrong("there are state, limit, continue and until")),
            }
        }
        Ok(query)
    }

    fn most(&self) -> usize {
        self.limit.unwrap_or(PAGE.0).min(PAGE.1)
    }
}

async fn purge(store: &Store, id: Id, invocation: Invocation) -> Result<Answer, Problem> {
    let is_failed = invocation.state == State::Failed;
    let purged = store.purge(vec![(id, invocation)]).await;
    if is_failed && purged.map_err(|error| tell::unavailable(&error))? == 1 {
        return Ok(told(&json!({"done": 1})));
    }
    Err(Problem::new(
        StatusCode::CONFLICT,
        "NotFailed",
        "only a call that has failed is removed; others are forgotten an hour after they are over",
    ))
}

fn document(call: &Listed) -> Value {
    let mut document = tell::document(call.id, &call.invocation, call.standing);
    document["bytes"] = call.invocation.bytes.into();
    document
}

fn told(value: &Value) -> Answer {
    let mut answer = json_answer(StatusCode::OK, "application/json", value);
    tell::private(answer.headers_mut());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_makes_no_sense_is_named() {
        let query = Query::read("state=FAILED&limit=700&until=2026-11-28T06:00:00Z").unwrap();
        assert_eq!(query.state, Some(Standing::Failed));
        assert_eq!(query.most(), 500);
        assert_eq!(Query::read("").unwrap().most(), 100);
        for (text, says) in [
            ("state=dead", "state=dead"),
            ("limit=0", "limit=0"),
            ("limit=-1", "number"),
            ("continue=7", "continue"),
            ("until=soon", "time"),
            ("sort=up", "sort=up"),
            ("state", "state="),
        ] {
            let problem = Query::read(text).unwrap_err();
            assert!(problem.detail.contains(says), "{}", problem.detail);
        }
    }
}
