//! Events. All of their times are always written, as Go does with structs: clients sort by them.

use k8s_openapi::api::{core::v1 as core, events::v1 as events};
use serde_json::{Map, Value, json};

use super::default;
use crate::{resource::Hooks, typed};

/// Those of the core group.
pub(crate) const CORE: Hooks = Hooks {
    check: typed::check::<core::Event>,
    prepare: |event, _| prepare(event, ""),
    skeleton: || skeleton(""),
    ..Hooks::BUILTIN
};

/// Those of `events.k8s.io`.
pub(crate) const NEW: Hooks = Hooks {
    check: typed::check::<events::Event>,
    prepare: |event, _| prepare(event, "events.k8s.io"),
    skeleton: || skeleton("events.k8s.io"),
    ..Hooks::BUILTIN
};

/// The fields that an Event of a group has whatever is given.
fn skeleton(group: &str) -> Value {
    let mut skeleton: Map<String, Value> = times(group)
        .into_iter()
        .map(|field| (field.to_owned(), Value::Null))
        .collect();
    skeleton.insert("metadata".to_owned(), json!({}));
    Value::Object(skeleton)
}

fn prepare(event: &mut Value, group: &str) {
    for field in times(group) {
        default(event, field, Value::Null);
    }
}

fn times(group: &str) -> [&'static str; 3] {
    match group {
        "" => ["firstTimestamp", "lastTimestamp", "eventTime"],
        _ => [
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "eventTime",
        ],
    }
}
