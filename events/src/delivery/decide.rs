//! What becomes of a call after an attempt. Pure.

use std::{borrow::Cow, time::Duration};

use fermata_crds::conditions::shortened;
use jiff::Timestamp;
use serde::Deserialize;

use crate::invocation::{Answer, Invocation, LONGEST_RETRY_AFTER, State, later};

/// The pauses after attempts that have reached no function: before the second one, and at most.
const MISS_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The most of an answer that is told, in bytes.
const MOST_TEXT: usize = 200;

/// How often in a row it is looked whether a function is there: for about ten minutes, with these pauses.
const MOST_GONE: u32 = 24;

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Somebody has answered.
    Answered {
        /// What.
        answer: Answer,
        /// The gateway's reason, if it is the gateway that has answered.
        reason: Option<Box<str>>,
        /// For how long nobody wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The call was not sent, since there is no gateway, and why.
    Unreached(String),
    /// It was sent, and nobody has answered, and why.
    Unanswered(String),
    /// The function has answered, and the answer cannot be passed on.
    Unpublished {
        /// Why.
        why: String,
        /// Whether it may be otherwise another time.
        again: bool,
        /// For how long nobody wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The call was called off meanwhile.
    CalledOff,
}

/// What an attempt says of how many the function can take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pressure {
    /// More may come.
    More,
    /// It was too much.
    Less,
    /// Nothing.
    Same,
}

/// What an answer means.
enum Meaning {
    Done,
    /// To be tried again; it has reached the function.
    Again,
    /// To be tried again; it has not reached the function.
    Missed,
    /// No attempt will be answered otherwise.
    Refused,
}

/// Says how the call stands after the attempt, what of the answer is kept, and what it says about the next ones.
/// `random` is between 0 and 1.
pub(super) fn decide(
    invocation: &mut Invocation,
    outcome: Outcome,
    now: Timestamp,
    random: f64,
) -> (Option<Answer>, Pressure) {
    let (answer, meaning, retry_after) = match outcome {
        Outcome::CalledOff => {
            invocation.finish(State::Cancelled, now);
            return (None, Pressure::Same);
        }
        Outcome::Unreached(why) => {
            invocation.message = Some(why);
            (None, Meaning::Missed, None)
        }
        Outcome::Unanswered(why) => {
            invocation.message = Some(why);
            (None, Meaning::Again, None)
        }
        Outcome::Unpublished {
            why,
            again,
            retry_after,
        } => {
            invocation.message = Some(shortened(&why, 2 * MOST_TEXT).into_owned());
            // The function has done its work, and does it once more: that is an attempt like others.
            let meaning = if again {
                Meaning::Again
            } else {
                Meaning::Refused
            };
            (None, meaning, retry_after)
        }
        Outcome::Answered {
            answer,
            reason,
            retry_after,
        } => {
            let status = answer.head.status;
            let is_gone = reason.as_deref() == Some("NoSuchFunction");
            invocation.gone = if is_gone { invocation.gone + 1 } else { 0 };
            let meaning = if invocation.gone >= MOST_GONE {
                // Its uid does not come back.
                Meaning::Refused
            } else {
                meaning(status, reason.as_deref())
            };
            invocation.code = Some(status);
            invocation.message = match (&meaning, reason) {
                (Meaning::Done, _) => answer
                    .head
                    .cut
                    .then(|| "the answer was too large to be kept".to_owned()),
                (_, Some(reason)) => Some(format!("{reason}: {}", text(&answer.body))),
                (_, None) => Some(format!(
                    "the function has answered {status}: {}",
                    text(&answer.body)
                )),
            };
            (Some(answer), meaning, retry_after)
        }
    };
    let asked_less = answer
        .as_ref()
        .is_some_and(|answer| [429, 503].contains(&answer.head.status));
    let pressure = match meaning {
        Meaning::Done => Pressure::More,
        _ if asked_less => Pressure::Less,
        _ => Pressure::Same,
    };
    match meaning {
        Meaning::Done => {
            invocation.attempts += 1;
            invocation.misses = 0;
            invocation.finish(State::Succeeded, now);
            (answer, pressure)
        }
        Meaning::Refused => {
            invocation.attempts += 1;
            invocation.finish(State::Failed, now);
            (answer, pressure)
        }
        Meaning::Again => {
            invocation.attempts += 1;
            invocation.misses = 0;
            let delivery = &invocation.delivery;
            let usual = pause(
                (delivery.first_pause(), delivery.longest_pause()),
                invocation.attempts,
                random,
            );
            if invocation.attempts >= delivery.attempts() {
                invocation.finish(State::Failed, now);
                (answer, pressure)
            } else {
                try_again(invocation, now, retry_after.unwrap_or_default().max(usual));
                (answer.filter(|_| invocation.is_over()), pressure)
            }
        }
        Meaning::Missed => {
            invocation.misses = invocation.misses.saturating_add(1);
            let usual = pause(MISS_PAUSE, invocation.misses, random);
            try_again(invocation, now, retry_after.unwrap_or_default().max(usual));
            (answer.filter(|_| invocation.is_over()), pressure)
        }
    }
}

/// It is too late for a call that has waited for its turn.
pub(super) fn expire(invocation: &mut Invocation, now: Timestamp) {
    too_late(invocation, "it was not made within", now);
}

fn too_late(invocation: &mut Invocation, what: &str, now: Timestamp) {
    let age = invocation.delivery.max_age().as_secs();
    let last = invocation.message.take();
    let last = last.map_or_else(String::new, |last| format!("; the last attempt: {last}"));
    invocation.message = Some(format!(
        "{what} spec.delivery.maxAge allows ({age} s){last}"
    ));
    invocation.finish(State::Failed, now);
}

fn try_again(invocation: &mut Invocation, now: Timestamp, pause: Duration) {
    let next = later(
        now,
        pause.min(LONGEST_RETRY_AFTER.max(invocation.delivery.longest_pause())),
    );
    if next >= invocation.expires_at() {
        too_late(invocation, "the next attempt would come later than", now);
    } else {
        invocation.next_attempt_at = Some(next);
    }
}

fn meaning(status: u16, reason: Option<&str>) -> Meaning {
    match reason {
        // The gateway's own words; the function has not seen the request.
        Some(
            "QueueFull"
            | "StartFailed"
            | "StartTimeout"
            | "Draining"
            | "NoSuchFunction"
            | "FunctionUnreachable",
        ) => Meaning::Missed,
        Some("BadRequest" | "HeadersTooLarge" | "PayloadTooLarge" | "UnsupportedCoding") => {
            Meaning::Refused
        }
        Some(_) => Meaning::Again,
        None => match status {
            100..=399 => Meaning::Done,
            408 | 425 | 429 | 500.. => Meaning::Again,
            _ => Meaning::Refused,
        },
    }
}

/// It doubles each time up to the longest one; half of it is random.
pub(super) fn pause((first, longest): (Duration, Duration), attempt: u32, random: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1).min(31));
    let whole = first.saturating_mul(doubled).min(longest);
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// The beginning of what was answered, or what it says of itself if it is a problem (RFC 9457).
pub(super) fn text(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Problem<'_>>(body);
    let text = match &problem {
        Ok(problem) => problem.detail.clone(),
        Err(_) => {
            let beginning = body.get(..2 * MOST_TEXT).unwrap_or(body);
            String::from_utf8_lossy(beginning)
        }
    };
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    shortened(&words, MOST_TEXT).into_owned()
}

/// What of a problem is told.
#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

#[cfg(test)]
mod tests;
