//! Step five: what the Function's status says, and what is new about it. Pure.

use std::collections::BTreeSet;

use fermata_crds::{
    FunctionSpec, FunctionStatus, Revision, TrafficTarget,
    conditions::{self, Outcome, Status},
};
use fermata_daemon::events::EventNote;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    address::Address,
    apply::{Applied, ServiceOutcome},
    dereference::{Inputs, Loss},
    validate::Invalid,
};
use crate::{options::Options, reasons};

/// The status of a Function, without what the gateway writes.
pub(crate) fn status(
    inputs: &Inputs,
    applied: &Applied,
    invalid: Option<&Invalid>,
    options: &Options,
    now: Timestamp,
) -> FunctionStatus {
    let function = &*inputs.function;
    let old = function.status.as_ref();
    let current = applied.current.as_deref();
    let serving = applied.revisions.serving(current, old);
    let serving_name = serving.map(|revision| revision.name_any());

    let revision_ready = revision_ready(applied, invalid, serving_name.as_deref());
    let routable = routable(inputs, applied, serving_name.as_deref());
    let shown = serving.or_else(|| applied.revisions.get(current?));
    let active = active(shown.map(|revision| &**revision));
    let ready = ready(&revision_ready, &routable);
    let newest = current.and_then(|name| applied.revisions.get(name));
    let built = newest.and_then(|newest| carried(newest, conditions::BUILT));
    let outcomes = [ready, revision_ready, routable, active];
    let resolved = inputs.look.as_ref().map(|look| look.outcome.clone());
    let subscribed = subscribed(&function.spec, options);
    let outcomes = outcomes.into_iter().chain(built).chain(resolved);
    let outcomes: Vec<Outcome> = outcomes.chain(subscribed).collect();

    let lost: Vec<_> = inputs.lost.iter().map(|(claim, _)| claim.clone()).collect();
    let address = Address::of(function, &lost, options);
    let count = |replicas: fn(&fermata_crds::RevisionStatus) -> Option<i32>| {
        let own = applied.revisions.own().iter();
        let counts = own.filter_map(|revision| revision.status.as_ref().and_then(replicas));
        Some(counts.sum())
    };
    FunctionStatus {
        observed_generation: function.metadata.generation,
        conditions: conditions::merge(
            old.map(|old| old.conditions.as_slice()).unwrap_or_default(),
            &outcomes,
            function.metadata.generation,
            now,
        ),
        url: Some(address.url),
        host: Some(address.host),
        latest_created_revision: applied.current.clone(),
        latest_ready_revision: serving_name.clone(),
        traffic: serving_name
            .into_iter()
            .map(|revision| TrafficTarget {
                revision,
                percent: 100,
            })
            .collect(),
        replicas: count(|status| status.replicas),
        ready_replicas: count(|status| status.ready_replicas),
        source: inputs.look.as_ref().map(|look| look.status.clone()),
        last_cold_start: None,
        backlog: None,
        triggers: Vec::new(),
    }
}

fn revision_ready(applied: &Applied, invalid: Option<&Invalid>, serving: Option<&str>) -> Outcome {
    let fallback = |message: String| match serving {
        Some(serving)
            if applied.current.as_deref() != Some(serving)
                || applied.revision_refused.is_some()
                || invalid.is_some() =>
        {
            format!(
                "{}; {serving} keeps the traffic",
                message.trim_end_matches('.')
            )
        }
        _ => message,
    };
    let outcome = |status, reason: &str, message| Outcome {
        kind: conditions::REVISION_READY,
        status,
        reason: reason.to_owned(),
        message,
    };
    if let Some(invalid) = invalid {
        let message = fallback(invalid.to_string());
        return outcome(invalid.status(), invalid.reason(), message);
    }
    if let Some(sentence) = &applied.revision_refused {
        let message = fallback(format!("the cluster refuses the Revision: {sentence}"));
        return outcome(Status::False, reasons::REFUSED, message);
    }
    let Some(name) = applied.current.as_deref() else {
        return outcome(Status::Unknown, reasons::DEPLOYING, String::new());
    };
    let condition = applied
        .revisions
        .get(name)
        .and_then(|revision| revision.status.as_ref())
        .and_then(|status| conditions::find(&status.conditions, conditions::READY));
    match condition {
        Some(condition) if condition.status == Status::True.as_str() => outcome(
            Status::True,
            reasons::READY,
            format!("{name} is the newest Revision and works"),
        ),
        Some(condition) if condition.status == Status::False.as_str() => {
            let message = fallback(format!("{name}: {}", condition.message));
            outcome(Status::False, &condition.reason, message)
        }
        _ => outcome(
            Status::Unknown,
            reasons::DEPLOYING,
            fallback(format!("{name} is starting")),
        ),
    }
}

fn routable(inputs: &Inputs, applied: &Applied, serving: Option<&str>) -> Outcome {
    let name = inputs.function.name_any();
    let namespace = inputs.function.namespace().unwrap_or_default();
    let outcome = |status, reason: &str, message| Outcome {
        kind: conditions::ROUTABLE,
        status,
        reason: reason.to_owned(),
        message,
    };
    if let Some((_, first)) = inputs.lost.first() {
        let reason = match first {
            Loss::Older(_) => reasons::ROUTE_CONFLICT,
            Loss::NotAllowed(_) => reasons::CLAIM_NOT_ALLOWED,
        };
        let lost: Vec<String> = inputs
            .lost
            .iter()
            .map(|(claim, loss)| match loss {
                Loss::Older(owner) => format!(
                    "{claim} belongs to the older Function {}/{}",
                    owner.namespace, owner.name
                ),
                Loss::NotAllowed(error) => error.to_string(),
            })
            .collect();
        let message = format!("{}; choose another", lost.join("; "));
        return outcome(Status::False, reason, message);
    }
    match &applied.service {
        ServiceOutcome::Present => {}
        ServiceOutcome::Foreign => {
            let message = format!(
                "a Service named {name} is there already and is not this Function's, so that {name}.{namespace}.svc does not lead to it; rename one of them"
            );
            return outcome(Status::False, reasons::SERVICE_CONFLICT, message);
        }
        ServiceOutcome::Refused(sentence) => {
            let message = format!("the cluster refuses the Service {name}: {sentence}");
            return outcome(Status::False, reasons::REFUSED, message);
        }
    }
    match serving {
        Some(serving) => outcome(
            Status::True,
            reasons::ROUTED,
            format!("requests go to {serving}"),
        ),
        None => outcome(
            Status::Unknown,
            reasons::NO_TRAFFIC,
            "no Revision has been ready yet".to_owned(),
        ),
    }
}

fn active(shown: Option<&Revision>) -> Outcome {
    let known = shown.and_then(|revision| carried(revision, conditions::ACTIVE));
    known.unwrap_or_else(|| Outcome {
        kind: conditions::ACTIVE,
        status: Status::Unknown,
        reason: reasons::DEPLOYING.to_owned(),
        message: String::new(),
    })
}

/// Whether the topics are heard that its triggers name. Being called is another matter: without events it is ready.
fn subscribed(spec: &FunctionSpec, options: &Options) -> Option<Outcome> {
    let topics = spec.triggers().iter();
    let topics: BTreeSet<&str> = topics
        .filter_map(|trigger| trigger.topic.as_ref())
        .map(|topic| topic.name.as_str())
        .collect();
    if topics.is_empty() {
        return None;
    }
    let topics: Vec<&str> = topics.into_iter().collect();
    let topics = topics.join(", ");
    let (status, reason, message) = if options.events {
        let message = format!("what is published to {topics} comes to the function");
        (Status::True, reasons::HEARD, message)
    } else {
        let message = format!(
            "nothing comes from {topics}, since nothing keeps messages; events.store in the values of the \
             chart switches that on"
        );
        (Status::False, reasons::EVENTS_OFF, message)
    };
    Some(Outcome {
        kind: conditions::SUBSCRIBED,
        status,
        reason: reason.to_owned(),
        message,
    })
}

/// What the Revision's own condition of this type says.
fn carried(revision: &Revision, kind: &'static str) -> Option<Outcome> {
    let conditions = &revision.status.as_ref()?.conditions;
    let condition = conditions::find(conditions, kind)?;
    let status = [Status::True, Status::False]
        .into_iter()
        .find(|status| status.as_str() == condition.status)
        .unwrap_or(Status::Unknown);
    Some(Outcome {
        kind,
        status,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    })
}

/// The worst of the two; resting at zero is no failure and does not count.
fn ready(revision_ready: &Outcome, routable: &Outcome) -> Outcome {
    let both = [revision_ready, routable];
    let worst = both
        .iter()
        .find(|outcome| outcome.status == Status::False)
        .or_else(|| {
            both.iter()
                .find(|outcome| outcome.status == Status::Unknown)
        });
    match worst {
        Some(worst) => Outcome {
            kind: conditions::READY,
            ..(*worst).clone()
        },
        None => Outcome {
            kind: conditions::READY,
            status: Status::True,
            reason: reasons::READY.to_owned(),
            message: String::new(),
        },
    }
}

/// Whether two statuses say the same, apart from what the gateway writes.
pub(crate) fn same(old: Option<&FunctionStatus>, new: &FunctionStatus) -> bool {
    old.is_some_and(|old| old.of_operator() == *new)
}

/// Whether the status says no more than that the Function is being worked on.
pub(crate) fn is_transient(status: &FunctionStatus) -> bool {
    conditions::find(&status.conditions, conditions::READY).is_some_and(|ready| {
        ready.status == Status::Unknown.as_str() && ready.reason == reasons::DEPLOYING
    })
}

/// Whether the status says that something is wrong.
pub(crate) fn is_failure(status: &FunctionStatus) -> bool {
    conditions::find(&status.conditions, conditions::READY)
        .is_some_and(|ready| ready.status == Status::False.as_str())
}

/// What happened between two statuses, as events. Each change is told once.
pub(crate) fn event_notes(old: Option<&FunctionStatus>, new: &FunctionStatus) -> Vec<EventNote> {
    let mut notes = Vec::new();
    let mut tell = |warning, reason: &str, action, note: String| {
        notes.push(EventNote {
            warning,
            reason: reason.to_owned(),
            action,
            note,
        });
    };
    let target = |status: Option<&FunctionStatus>| {
        let target = status.and_then(|status| status.traffic.first());
        target.map(|target| target.revision.clone())
    };
    let is_ready = |status: Option<&FunctionStatus>| {
        status.is_some_and(|status| {
            conditions::is_true(&status.conditions, conditions::REVISION_READY)
        })
    };
    let created = new.latest_created_revision.as_deref();
    if is_ready(Some(new))
        && !is_ready(old)
        && let Some(created) = created
    {
        let note = format!("{created} is ready");
        tell(false, reasons::REVISION_READY, "Deploy", note);
    }
    if let (Some(before), Some(after)) = (target(old), target(Some(new)))
        && before != after
    {
        let note = format!("requests go to {after} now, and no longer to {before}");
        tell(false, reasons::TRAFFIC_MOVED, "Route", note);
    }
    for (kind, action) in [
        (conditions::REVISION_READY, "Deploy"),
        (conditions::ROUTABLE, "Route"),
        (conditions::SOURCE_RESOLVED, "Look"),
        (conditions::SUBSCRIBED, "Subscribe"),
    ] {
        let find = |status: &FunctionStatus| conditions::find(&status.conditions, kind).cloned();
        let failed = find(new).filter(|now| now.status == Status::False.as_str());
        let before = old.and_then(find);
        if let Some(failed) = failed
            && before.is_none_or(|before| {
                before.status != failed.status || before.reason != failed.reason
            })
        {
            tell(true, &failed.reason, action, failed.message);
        }
    }
    notes
}

#[cfg(test)]
mod tests;
