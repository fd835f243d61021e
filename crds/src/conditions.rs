//! Condition types and reasons, and the one way to merge them into a status.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The function as a whole: the other conditions put together.
pub const READY: &str = "Ready";

/// The newest Revision works.
pub const REVISION_READY: &str = "RevisionReady";

/// The function's hosts and paths lead to it.
pub const ROUTABLE: &str = "Routable";

/// The dependencies of the newest Revision are installed; only where its source names some.
pub const BUILT: &str = "Built";

/// The reference of a git source leads to a commit; only where the source is in a git repository.
pub const SOURCE_RESOLVED: &str = "SourceResolved";

/// The topics that its triggers name are heard; only where there are such triggers.
pub const SUBSCRIBED: &str = "Subscribed";

/// The longest message of a condition, in bytes.
pub const LONGEST_MESSAGE: usize = 4096;

/// Replicas are running; False while the function rests at zero, which is no failure.
pub const ACTIVE: &str = "Active";

/// What one condition should say now; the merge adds times and generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The condition's type, such as [`READY`].
    pub kind: &'static str,
    /// True, False or Unknown.
    pub status: Status,
    /// One CamelCase word for machines.
    pub reason: String,
    /// A sentence for people; may be empty.
    pub message: String,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not decided.
    Unknown,
}

// === impl Status ===

impl Status {
    /// As written in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A text of at most this many bytes: a longer one ends between two characters, and with `...`. What the cluster
/// says is of any length, and is kept with the object in every cache.
#[must_use]
pub fn shortened(text: &str, longest: usize) -> Cow<'_, str> {
    const MORE: &str = "...";
    if text.len() <= longest {
        return text.into();
    }
    let end = text.floor_char_boundary(longest.saturating_sub(MORE.len()));
    let head = text.get(..end).unwrap_or_default();
    format!("{head}{MORE}").into()
}

/// Puts the outcomes in place of the old conditions. A condition whose status stays keeps its
/// transition time; old conditions that no outcome mentions are dropped. Messages end at
/// [`LONGEST_MESSAGE`].
#[must_use]
pub fn merge(
    old: &[Condition],
    outcomes: &[Outcome],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    outcomes
        .iter()
        .map(|outcome| {
            let status = outcome.status.as_str();
            let since = old
                .iter()
                .find(|condition| condition.type_ == outcome.kind && condition.status == status)
                .map_or_else(
                    || Time(now),
                    |condition| condition.last_transition_time.clone(),
                );
            Condition {
                type_: outcome.kind.to_owned(),
                status: status.to_owned(),
                reason: outcome.reason.clone(),
                message: shortened(&outcome.message, LONGEST_MESSAGE).into_owned(),
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

/// The condition of the given type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of the given type is True.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == Status::True.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: Status, reason: &str) -> Outcome {
        Outcome {
            kind: READY,
            status,
            reason: reason.into(),
            message: String::new(),
        }
    }

    #[test]
    fn the_transition_time_changes_with_the_status_only() {
        let (first, later) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let started = merge(&[], &[outcome(Status::False, "Starting")], Some(1), first);
        let waiting = merge(
            &started,
            &[outcome(Status::False, "Pulling")],
            Some(2),
            later,
        );
        assert_eq!(waiting[0].last_transition_time.0, first);
        assert_eq!(waiting[0].reason, "Pulling");
        assert_eq!(waiting[0].observed_generation, Some(2));

        let ready = merge(&waiting, &[outcome(Status::True, "Ready")], Some(2), later);
        assert_eq!(ready[0].last_transition_time.0, later);
        assert!(is_true(&ready, READY));
    }

    #[test]
    fn a_long_message_ends_between_two_characters() {
        for length in 4090..4100 {
            let message = "a".repeat(length) + &"ä".repeat(1000);
            let long = Outcome {
                message,
                ..outcome(Status::False, "Refused")
            };
            let [condition] = &merge(&[], &[long], None, Timestamp::UNIX_EPOCH)[..] else {
                panic!("one condition")
            };
            assert!(condition.message.len() <= LONGEST_MESSAGE);
            assert!(condition.message.len() > LONGEST_MESSAGE - 3);
            assert!(condition.message.ends_with("..."));
        }
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("ääää", 7), "ää...");
    }
}
