//! What gateways and the events program tell each other about calls that wait: `POST /backlogs` of the events program for
//! the one that scales, once a second, and `GET /standings` for the one that writes what became of triggers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The most functions of a question and of an answer. Those beyond are scaled for the requests that reach the gateway.
pub const MOST_FUNCTIONS: usize = 10_000;

/// What functions that have calls can take, as the gateways count it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rooms {
    /// Functions with a hard limit (`concurrency`) of which calls were waiting a moment ago.
    pub functions: Vec<Room>,
}

/// How many requests the instances of a function can work on at once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Namespace of the function.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Places of its instances that are ready.
    pub places: u32,
    /// Requests that may wait for one (`scale.queue`).
    pub queue: u32,
}

/// The calls that are due, or being made.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlogs {
    /// How many calls of one function are made at once at most: more of them need no instances now.
    pub most: u32,
    /// The functions that have any.
    pub functions: Vec<Backlog>,
}

/// The calls of one function.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Namespace of the function.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Those that could be made now and are not, counted up to [`Backlogs::most`].
    pub waiting: u32,
    /// Those that are being made: the gateways count them too, as requests.
    pub running: u32,
}

/// How functions stand that have calls which are not over, or a trigger that fails.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standings {
    /// The functions.
    pub functions: Vec<Standing>,
    /// Whether these are all: of others nothing waits.
    pub complete: bool,
}

/// How one function stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Namespace of the function.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid: nothing of this is a later function's of the name.
    pub uid: Box<str>,
    /// Calls and messages that are not over, those that wait for another attempt included.
    pub backlog: u32,
    /// Its triggers that hear topics, and have messages that are not over or have failed last.
    pub triggers: Vec<TriggerStanding>,
}

/// How a trigger stands that hears a topic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerStanding {
    /// Its name.
    pub name: Box<str>,
    /// Messages that are not over.
    pub backlog: u32,
    /// When the oldest of them was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Why the last attempt has failed, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Box<str>>,
}

// === impl Backlogs ===

impl Backlogs {
    /// How many calls of a function will come as soon as they may, besides those that are being made.
    #[must_use]
    pub fn coming(&self, backlog: &Backlog) -> u32 {
        backlog
            .waiting
            .min(self.most.saturating_sub(backlog.running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_made_is_not_counted_twice_nor_what_has_no_place() {
        let coming = |waiting, running| {
            let backlogs = Backlogs {
                most: 100,
                functions: Vec::new(),
            };
            backlogs.coming(&Backlog {
                namespace: "shop".into(),
                name: "mails".into(),
                waiting,
                running,
            })
        };
        assert_eq!(coming(7, 0), 7);
        assert_eq!(coming(100, 8), 92);
        assert_eq!(coming(100, 100), 0);
        assert_eq!(coming(100, 130), 0);
    }
}
