//! What a Function's status tells of what waits, and when that is worth to be written. Pure.

use std::time::Duration;

use fermata_crds::{
    Function, TriggerStatus,
    backlog::{Standing, TriggerStanding},
};
use serde_json::{Value, json};

use crate::{backend::triggers::FunctionTriggers, trigger::plan::second};

/// How old a status is at least before small changes are written.
pub(super) const LEAST_AGE: Duration = Duration::from_secs(30);

/// What a Function's status tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    triggers: Vec<TriggerStatus>,
    backlog: Option<u32>,
}

// === impl Told ===

impl Told {
    /// What a Function's status tells.
    pub(super) fn of(function: &Function) -> Self {
        let status = function.status.clone().unwrap_or_default();
        Self {
            triggers: status.triggers,
            backlog: status.backlog,
        }
    }

    /// The same, of what is known of it here.
    pub(super) fn of_triggers(triggers: &FunctionTriggers) -> Self {
        Self {
            triggers: triggers.status.clone(),
            backlog: triggers.backlog,
        }
    }

    /// What it should tell, where these triggers hear topics. The others are left as they are.
    pub(super) fn wanted(&self, topics: &[Box<str>], standing: Option<&Standing>) -> Self {
        let hears = |name: &str| topics.iter().any(|topic| **topic == *name);
        let others = self.triggers.iter().filter(|told| !hears(&told.name));
        let standings = topics.iter().filter_map(|topic| {
            let mut standings = standing?.triggers.iter();
            standings.find(|standing| standing.name == *topic)
        });
        Self {
            triggers: others.cloned().chain(standings.map(status)).collect(),
            backlog: standing
                .map(|standing| standing.backlog)
                .filter(|backlog| *backlog > 0),
        }
    }

    /// Whether the other one is to be written in place of this one, which may be old.
    pub(super) fn is_news(&self, other: &Self, is_old: bool) -> bool {
        let is_like = |one: &TriggerStatus, other: &TriggerStatus| {
            one.name == other.name
                && one.schedule == other.schedule
                && magnitude(one.backlog) == magnitude(other.backlog)
                && one.last_error.is_some() == other.last_error.is_some()
        };
        let pairs = self.triggers.iter().zip(&other.triggers);
        let is_alike = self.triggers.len() == other.triggers.len()
            && magnitude(self.backlog) == magnitude(other.backlog)
            && pairs.into_iter().all(|(one, other)| is_like(one, other));
        !is_alike || is_old && self != other
    }

    /// The fields of the status.
    pub(super) fn patch(&self) -> Value {
        json!({ "triggers": self.triggers, "backlog": self.backlog })
    }
}

fn status(standing: &TriggerStanding) -> TriggerStatus {
    TriggerStatus {
        name: standing.name.to_string(),
        backlog: Some(standing.backlog),
        oldest: standing.oldest.map(second),
        last_error: standing.last_error.as_deref().map(ToOwned::to_owned),
        ..TriggerStatus::default()
    }
}

/// None, some, ten, a hundred, ...
fn magnitude(backlog: Option<u32>) -> Option<u32> {
    backlog.and_then(u32::checked_ilog10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(backlog: u32, error: Option<&str>) -> Standing {
        Standing {
            namespace: "shop".into(),
            name: "mails".into(),
            uid: "u".into(),
            backlog,
            triggers: vec![TriggerStanding {
                name: "orders".into(),
                backlog,
                oldest: Some("2026-11-28T06:00:00.7Z".parse().unwrap()),
                last_error: error.map(Into::into),
            }],
        }
    }

    fn scheduled() -> TriggerStatus {
        TriggerStatus {
            name: "nightly".to_owned(),
            schedule: Some("0 6 * * * UTC".to_owned()),
            ..TriggerStatus::default()
        }
    }

    #[test]
    fn triggers_with_times_are_left_alone_and_those_without_messages_go() {
        let told = Told {
            triggers: vec![scheduled()],
            backlog: None,
        };
        let topics = ["orders".into()];
        let wanted = told.wanted(&topics, Some(&standing(7, None)));
        let patch = wanted.patch();
        assert_eq!(patch["backlog"], 7);
        let triggers = patch["triggers"].as_array().unwrap();
        assert_eq!(
            (triggers.len(), &triggers[0]["name"]),
            (2, &json!("nightly"))
        );
        let orders = json!({"name": "orders", "backlog": 7, "oldest": "2026-11-28T06:00:00Z"});
        assert_eq!(triggers[1], orders);
        // It stays where it is when it is written once more.
        assert_eq!(wanted.wanted(&topics, Some(&standing(7, None))), wanted);
        assert_eq!(wanted.wanted(&topics, None), told);
        assert_eq!(told.patch()["backlog"], Value::Null);
        // It is not heard any more, and messages are delivered all the same.
        let left = told.wanted(&[], Some(&standing(7, None)));
        assert_eq!((left.triggers.len(), left.backlog), (1, Some(7)));
    }

    #[test]
    fn small_changes_wait_and_large_ones_do_not() {
        let (none, topics) = (Told::default(), ["orders".into()]);
        let with = |backlog, error| none.wanted(&topics, Some(&standing(backlog, error)));
        let (seven, eight, twelve) = (with(7, None), with(8, None), with(12, None));
        assert!(none.is_news(&seven, false));
        assert!(seven.is_news(&none, false));
        assert!(!seven.is_news(&eight, false));
        assert!(seven.is_news(&eight, true));
        assert!(seven.is_news(&twelve, false));
        assert!(seven.is_news(&with(7, Some("no database")), false));
        assert!(!with(7, Some("a")).is_news(&with(7, Some("b")), false));
        assert!(!seven.is_news(&seven.clone(), true));
        assert!(!none.is_news(&none.clone(), true));
    }
}
