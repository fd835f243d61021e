//! Messages that a function gets together, in one request (`spec.triggers[].batch`).

use std::{collections::HashSet, fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use fermata_daemon::watch::Key;
use futures::future::join_all;
use http::header;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    decide::{Outcome, Pressure, decide, expire},
    random,
};
use crate::{
    event,
    id::Id,
    invocation::{Call, CallHead, Due, Fields},
};

/// One of those that are taken, and what calls it off.
struct Taken {
    due: Due,
    off: CancellationToken,
}

/// What a function answers that has not taken all of them.
#[derive(Debug, Deserialize)]
struct Partly {
    /// The ids of the messages that are to be delivered again.
    failed: Value,
}

// === impl Shared ===

impl Shared {
    /// Makes one attempt to deliver all of them, and writes what came of each.
    pub(super) async fn make_all(
        self: Arc<Self>,
        function: Key,
        calls: Vec<(Id, CancellationToken)>,
        permits: [OwnedSemaphorePermit; 2],
    ) -> Pressure {
        let mut all = Vec::with_capacity(calls.len());
        for (id, off) in calls {
            if let Some(due) = self.load(&function, id).await {
                all.push(Taken { due, off });
            }
        }
        let now = Timestamp::now();
        let (old, mut all): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|taken| taken.due.invocation.expires_at() <= now);
        join_all(old.iter().map(|taken| self.give_up(taken))).await;
        let (body, fits) = body(&all, self.caller.kept);
        for taken in all.split_off(fits) {
            self.store.leave_over(taken.due.id, &taken.due.invocation);
        }
        let Some(first) = all.first() else {
            return Pressure::Same;
        };
        let request = together(&first.due, body);
        let begun = Instant::now();
        let outcome = tokio::select! {
            outcome = self.caller.attempt(&request) => outcome,
            () = self.abort.cancelled() => {
                for Taken { due, .. } in &all {
                    self.store.give_back(due.id, &due.invocation, Duration::ZERO);
                }
                return Pressure::Same;
            }
        };
        drop(permits);
        let failed = failed(&outcome, &all);
        let written = all.iter().map(|taken| {
            let outcome = match &failed {
                Ok(failed) if failed.contains(&event::id_of(&taken.due.call)) => {
                    Outcome::Unanswered(
                        "the function has named it as one that has failed".to_owned(),
                    )
                }
                Ok(_) => outcome.clone(),
                Err(why) => Outcome::Unanswered(why.clone()),
            };
            self.settle(taken, outcome, begun.elapsed())
        });
        let pressures = join_all(written).await;
        of_all(&pressures)
    }

    /// It is too late for one of them.
    async fn give_up(&self, taken: &Taken) {
        let mut invocation = taken.due.invocation.clone();
        expire(&mut invocation, Timestamp::now());
        invocation.end(Duration::ZERO, 0);
        self.write(&taken.due, &invocation, None).await;
    }

    /// Writes what came of one of them. The answer is that to all, and is not kept.
    async fn settle(&self, taken: &Taken, outcome: Outcome, took: Duration) -> Pressure {
        let mut invocation = taken.due.invocation.clone();
        let now = Timestamp::now();
        let (_, pressure) = decide(&mut invocation, outcome, now, random());
        if taken.off.is_cancelled() && !invocation.is_over() {
            decide(&mut invocation, Outcome::CalledOff, now, 0.0);
        }
        invocation.end(took, 0);
        self.write(&taken.due, &invocation, None).await;
        pressure
    }
}

/// What an answer to all says, by what it says for each.
fn of_all(pressures: &[Pressure]) -> Pressure {
    let words = [Pressure::Less, Pressure::More];
    let said = words.into_iter().find(|word| pressures.contains(word));
    said.unwrap_or(Pressure::Same)
}

/// The array of as many of them as fit into a body, of which there is always one, and how many those are.
fn body(all: &[Taken], most: usize) -> (Bytes, usize) {
    let (mut body, mut count) = (String::from("["), 0);
    for taken in all {
        let event = event::json(&taken.due.call);
        if count > 0 {
            if body.len() + event.len() + 2 > most {
                break;
            }
            body.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(body, "{event}");
        count += 1;
    }
    body.push(']');
    (body.into(), count)
}

/// The request for all of them, under the name of the first.
fn together(first: &Due, body: Bytes) -> Due {
    let mut headers = Fields::default();
    headers.push(header::CONTENT_TYPE.as_str(), event::BATCH_TYPE);
    let CallHead { method, target, .. } = first.call.head.clone();
    Due {
        id: first.id,
        invocation: first.invocation.clone(),
        call: Call {
            head: CallHead {
                method,
                target,
                headers,
            },
            body,
        },
    }
}

/// The ids of those that the function has not taken, by an answer that is none for all of them. Why all are to be
/// delivered again, if it names others.
fn failed(outcome: &Outcome, all: &[Taken]) -> Result<HashSet<String>, String> {
    let Outcome::Answered {
        answer,
        reason: None,
        ..
    } = outcome
    else {
        return Ok(HashSet::new());
    };
    if !(200..300).contains(&answer.head.status) {
        return Ok(HashSet::new());
    }
    if answer.head.cut {
        return Err("the answer is too large to see which have failed".to_owned());
    }
    let Ok(Partly { failed }) = serde_json::from_slice(&answer.body) else {
        return Ok(HashSet::new());
    };
    let Ok(failed) = serde_json::from_value::<Vec<String>>(failed) else {
        return Err(
            "what the function has answered as failed is no list of ids, which are texts"
                .to_owned(),
        );
    };
    let known: HashSet<String> = all
        .iter()
        .map(|taken| event::id_of(&taken.due.call))
        .collect();
    match failed.iter().find(|id| !known.contains(*id)) {
        None => Ok(failed.into_iter().collect()),
        Some(id) => Err(format!(
            "the function has named {id:?} as one that has failed, and there is none of that id: all are delivered again"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_are_made_at_once_only_where_one_has_succeeded_and_none_was_too_much() {
        use Pressure::{Less, More, Same};
        for (pressures, said) in [
            (&[Same, Same][..], Same),
            (&[Same, More], More),
            (&[More, Less, Same], Less),
            (&[], Same),
        ] {
            assert_eq!(of_all(pressures), said, "{pressures:?}");
        }
    }
}
