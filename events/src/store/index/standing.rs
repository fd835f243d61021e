//! What is not over, by function and trigger: what the status of functions tells.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fermata_crds::{
    backlog::{self, MOST_FUNCTIONS, Standings, TriggerStanding},
    conditions::shortened,
};
use fermata_daemon::watch::Key;

use super::{Index, Owner};
use crate::{
    id::Id,
    invocation::{Invocation, State},
};

/// The longest text that says why an attempt has failed, in bytes.
const MOST_TEXT: usize = 256;

/// Triggers without messages of which it is remembered that the last attempt has failed.
const MOST_IDLE: usize = 1000;

/// The most bytes of texts that are told at once.
const MOST_TOLD: usize = 4 * 1024 * 1024;

/// Calls that are not over.
#[derive(Debug, Default)]
pub(super) struct Standing {
    functions: HashMap<Owner, Function>,
    /// How many triggers have no messages, and an error.
    idle: usize,
}

#[derive(Debug, Default)]
struct Function {
    /// Calls of those who do not wait.
    calls: BTreeSet<Id>,
    triggers: BTreeMap<Box<str>, Trigger>,
}

#[derive(Debug, Default)]
struct Trigger {
    messages: BTreeSet<Id>,
    error: Option<Box<str>>,
}

// === impl Index ===

impl Index {
    /// How the functions stand that have calls which are not over, or a trigger that fails.
    pub(in crate::store) fn standings(&self) -> Standings {
        self.standing.tell()
    }
}

// === impl Standing ===

impl Standing {
    /// A call waits for its first or its next attempt.
    pub(super) fn wait(&mut self, id: Id, invocation: &Invocation) {
        let function = self.functions.entry(Owner::of(invocation)).or_default();
        let Some(heard) = &invocation.heard else {
            function.calls.insert(id);
            return;
        };
        let trigger = function.triggers.entry(heard.trigger.clone()).or_default();
        self.idle -= usize::from(trigger.is_idle());
        trigger.messages.insert(id);
        if let Some(message) = &invocation.message {
            trigger.error = Some(shortened(message, MOST_TEXT).into());
        }
    }

    /// A call is over.
    pub(super) fn finish(&mut self, id: Id, invocation: &Invocation) {
        let owner = Owner::of(invocation);
        let Some(function) = self.functions.get_mut(&owner) else {
            return;
        };
        match &invocation.heard {
            None => drop(function.calls.remove(&id)),
            Some(heard) => {
                if let Some(trigger) = function.triggers.get_mut(&heard.trigger) {
                    self.idle -= usize::from(trigger.is_idle());
                    trigger.messages.remove(&id);
                    match invocation.state {
                        State::Succeeded => trigger.error = None,
                        State::Failed => {
                            let message = invocation.message.as_deref().unwrap_or_default();
                            trigger.error = Some(shortened(message, MOST_TEXT).into());
                        }
                        State::Waiting | State::Cancelled => {}
                    }
                    if trigger.is_idle() && self.idle < MOST_IDLE {
                        self.idle += 1;
                    } else if trigger.messages.is_empty() {
                        function.triggers.remove(&heard.trigger);
                    }
                }
            }
        }
        if function.is_empty() {
            self.functions.remove(&owner);
        }
    }

    /// A call that was taken is not there any more.
    pub(super) fn lose(&mut self, key: &Key, id: Id) {
        self.functions.retain(|owner, function| {
            if owner.function == *key {
                function.calls.remove(&id);
                function.triggers.retain(|_, trigger| {
                    let was_there = trigger.messages.remove(&id);
                    !(was_there && trigger.messages.is_empty())
                });
            }
            !function.is_empty()
        });
    }

    fn tell(&self) -> Standings {
        let mut told = Standings {
            functions: Vec::new(),
            complete: true,
        };
        let mut bytes = 0;
        for (owner, function) in &self.functions {
            let one = function.tell(owner);
            let errors = one
                .triggers
                .iter()
                .filter_map(|one| one.last_error.as_ref());
            bytes += errors.map(|error| error.len()).sum::<usize>();
            bytes += one.triggers.iter().map(|one| one.name.len()).sum::<usize>();
            if told.functions.len() >= MOST_FUNCTIONS || bytes > MOST_TOLD {
                told.complete = false;
                break;
            }
            told.functions.push(one);
        }
        told
    }
}

// === impl Function ===

impl Function {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.triggers.is_empty()
    }

    fn tell(&self, owner: &Owner) -> backlog::Standing {
        let count = |ids: &BTreeSet<Id>| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let triggers: Vec<_> = self
            .triggers
            .iter()
            .map(|(name, trigger)| TriggerStanding {
                name: name.clone(),
                backlog: count(&trigger.messages),
                oldest: trigger.messages.first().map(Id::accepted_at),
                last_error: trigger.error.clone(),
            })
            .collect();
        let messages = triggers.iter().map(|trigger| trigger.backlog);
        backlog::Standing {
            namespace: owner.function.namespace.clone(),
            name: owner.function.name.clone(),
            uid: owner.uid.clone(),
            backlog: messages.fold(count(&self.calls), u32::saturating_add),
            triggers,
        }
    }
}

// === impl Trigger ===

impl Trigger {
    /// Whether it is there for its error alone.
    fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.error.is_some()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn invocation(uid: &str, trigger: Option<&str>) -> Invocation {
        let heard = trigger.map(|trigger| json!({"topic": "orders", "trigger": trigger}));
        let invocation = json!({
            "namespace": "shop", "function": "mails", "uid": uid, "entrance": "internal", "heard": heard,
            "acceptedAt": "2026-11-28T06:00:00Z", "delivery": {}, "bytes": 1, "state": "Waiting", "attempts": 0,
        });
        serde_json::from_value(invocation).unwrap()
    }

    fn id() -> Id {
        Id::new(Timestamp::now()).unwrap()
    }

    #[test]
    fn what_is_not_over_is_told_by_trigger_and_an_error_until_one_succeeds() {
        let mut standing = Standing::default();
        let (call, first, second) = (id(), id(), id());
        let mut message = invocation("u", Some("orders"));
        standing.wait(call, &invocation("u", None));
        standing.wait(first, &message);
        standing.wait(second, &message);
        let told = standing.tell();
        assert!(told.complete);
        let [function] = &told.functions[..] else {
            panic!("{told:?}")
        };
        assert_eq!(function.backlog, 3);
        assert_eq!(function.triggers[0].backlog, 2);
        assert_eq!(function.triggers[0].oldest, Some(first.accepted_at()));
        assert_eq!(function.triggers[0].last_error, None);

        // It waits for another attempt.
        message.message = Some("the function has answered 500: no database".to_owned());
        standing.wait(first, &message);
        standing.finish(call, &invocation("u", None));
        message.state = State::Failed;
        standing.finish(first, &message);
        let told = standing.tell().functions;
        assert_eq!((told[0].backlog, told[0].triggers[0].backlog), (1, 1));
        let error = |told: &[backlog::Standing]| told[0].triggers[0].last_error.clone();
        assert!(error(&told).unwrap().ends_with("no database"));
        standing.finish(second, &message);
        let told = standing.tell().functions;
        assert_eq!((told[0].backlog, told[0].triggers[0].oldest), (0, None));
        assert!(error(&told).is_some());
        assert_eq!(standing.idle, 1);

        standing.wait(first, &invocation("u", Some("orders")));
        assert_eq!(standing.idle, 0);
        message.state = State::Succeeded;
        standing.finish(first, &message);
        assert_eq!(standing.tell().functions, []);
        assert_eq!(standing.idle, 0);
    }

    #[test]
    fn a_later_function_of_the_name_is_another_one_and_what_is_lost_is_gone() {
        let mut standing = Standing::default();
        let (old, new) = (id(), id());
        standing.wait(old, &invocation("old", Some("orders")));
        standing.wait(new, &invocation("new", None));
        assert_eq!(standing.tell().functions.len(), 2);
        let key = Key::new("shop", "mails");
        standing.lose(&key, old);
        let told = standing.tell().functions;
        assert_eq!((told.len(), &*told[0].uid), (1, "new"));
        standing.lose(&key, new);
        assert_eq!(standing.tell().functions, []);
    }

    #[test]
    fn no_more_errors_are_remembered_than_there_is_room_for() {
        let mut standing = Standing::default();
        for number in 0..=MOST_IDLE {
            let (id, mut message) = (id(), invocation(&number.to_string(), Some("orders")));
            standing.wait(id, &message);
            message.message = Some("no database".to_owned());
            message.state = State::Failed;
            standing.finish(id, &message);
        }
        assert_eq!(standing.tell().functions.len(), MOST_IDLE);
    }
}
