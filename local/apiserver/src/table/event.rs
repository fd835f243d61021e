//! The columns of events.

use serde_json::Value;

use super::age;

pub(super) fn last_seen(event: &Value) -> Value {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["deprecatedLastTimestamp"],
        &event["eventTime"],
        &event["firstTimestamp"],
    ];
    age::since(
        times
            .into_iter()
            .find(|time| time.is_string())
            .unwrap_or(&Value::Null),
    )
}

pub(super) fn first_seen(event: &Value) -> Value {
    let times = [
        &event["firstTimestamp"],
        &event["deprecatedFirstTimestamp"],
        &event["eventTime"],
    ];
    age::since(
        times
            .into_iter()
            .find(|time| time.is_string())
            .unwrap_or(&Value::Null),
    )
}

pub(super) fn object(event: &Value) -> Value {
    let object = subject(event);
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    format!("{}/{}", text("kind").to_lowercase(), text("name")).into()
}

pub(super) fn part(event: &Value) -> Value {
    subject(event)["fieldPath"]
        .as_str()
        .unwrap_or_default()
        .into()
}

pub(super) fn source(event: &Value) -> Value {
    let components = [
        &event["source"]["component"],
        &event["deprecatedSource"]["component"],
        &event["reportingComponent"],
        &event["reportingController"],
    ];
    components
        .into_iter()
        .find(|component| component.as_str().is_some_and(|text| !text.is_empty()))
        .cloned()
        .unwrap_or_else(|| "".into())
}

pub(super) fn message(event: &Value) -> Value {
    let text = event["message"].as_str().or_else(|| event["note"].as_str());
    text.unwrap_or_default().trim().into()
}

pub(super) fn count(event: &Value) -> Value {
    let counts = [
        &event["series"]["count"],
        &event["count"],
        &event["deprecatedCount"],
    ];
    counts
        .into_iter()
        .find(|count| count.as_i64().is_some_and(|count| count > 0))
        .cloned()
        .unwrap_or_else(|| 1.into())
}

fn subject(event: &Value) -> &Value {
    match &event["involvedObject"] {
        Value::Null => &event["regarding"],
        object => object,
    }
}
