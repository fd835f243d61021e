//! Events as JSON (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::{Value, value::RawValue};

use super::{Attributes, Event, EventError, MOST_MESSAGES, PREFIX, escape, is_json, is_passed_on};
use crate::invocation::Call;

/// The members of an event; data are kept as they are written.
type Members<'a> = BTreeMap<Box<str>, &'a RawValue>;

/// One event.
pub(super) fn one(body: &[u8]) -> Result<Event, EventError> {
    let members: Members<'_> = serde_json::from_slice(body).map_err(EventError::Json)?;
    event(members)
}

/// An array of events.
pub(super) fn batch(body: &[u8]) -> Result<Vec<Event>, EventError> {
    let all: Vec<Members<'_>> = serde_json::from_slice(body).map_err(EventError::Json)?;
    if all.len() > MOST_MESSAGES {
        return Err(EventError::TooMany(all.len()));
    }
    all.into_iter().map(event).collect()
}

fn event(mut members: Members<'_>) -> Result<Event, EventError> {
    let (data, base64) = (members.remove("data"), members.remove("data_base64"));
    let mut attributes = Attributes::default();
    for (name, value) in members {
        let value = serde_json::from_str(value.get()).map_err(EventError::Json)?;
        let value = match value {
            Value::String(text) => text,
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            // As if it were not there (section 2.2).
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => return Err(EventError::Value(name)),
        };
        attributes.add(&name, &value)?;
    }
    let data = match (data, base64) {
        (Some(_), Some(_)) => return Err(EventError::TwoData),
        (None, Some(base64)) => {
            let text: String = serde_json::from_str(base64.get()).map_err(EventError::Json)?;
            let bytes = BASE64_STANDARD.decode(text);
            bytes.map_err(EventError::Base64)?.into()
        }
        (Some(data), None) => {
            // Without a type they are JSON (section 3.1).
            let kind = attributes.0.get("datacontenttype");
            let is_json = kind.is_none_or(|kind| is_json(kind));
            if kind.is_none() {
                attributes.add("datacontenttype", "application/json")?;
            }
            sent(data, is_json)?
        }
        (None, None) => Bytes::new(),
    };
    attributes.event(data)
}

/// Data as the body of a request.
fn sent(data: &RawValue, is_json: bool) -> Result<Bytes, EventError> {
    if !is_json && data.get().starts_with('"') {
        let text: String = serde_json::from_str(data.get()).map_err(EventError::Json)?;
        return Ok(text.into());
    }
    if data.get() == "null" && !is_json {
        return Ok(Bytes::new());
    }
    Ok(Bytes::copy_from_slice(data.get().as_bytes()))
}

/// The attribute by which a message that was published compressed says so, among others.
const CODING: &str = "contentencoding";

/// A message in binary content mode as the JSON of an event. What a trace is followed by are attributes
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md>).
pub(super) fn written(call: &Call) -> String {
    let mut headers = HeaderMap::new();
    call.head.headers.add_to(&mut headers);
    let mut members: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &headers {
        let text = || String::from_utf8_lossy(value.as_bytes()).into_owned();
        if let Some(attribute) = name.as_str().strip_prefix(PREFIX) {
            members.insert(attribute, escape::undo(value.as_bytes()));
        } else if name == header::CONTENT_TYPE {
            members.insert("datacontenttype", text());
        } else if name == header::CONTENT_ENCODING {
            members.insert(CODING, text());
        } else if is_passed_on(name) {
            members.insert(name.as_str(), text());
        }
    }
    // Texts always serialize.
    let mut json = serde_json::to_string(&members).unwrap_or_default();
    if let Some((name, data)) = data(call, members.get("datacontenttype"), &members) {
        json.pop();
        json += &format!(",{name:?}:{data}}}");
    }
    json
}

/// The member with the data, if there are any: JSON as it is, text as text, and all else in base64.
fn data(
    call: &Call,
    kind: Option<&String>,
    members: &BTreeMap<&str, String>,
) -> Option<(&'static str, String)> {
    if call.body.is_empty() {
        return None;
    }
    let is_plain = !members.contains_key(CODING);
    let text = std::str::from_utf8(&call.body).ok().filter(|_| is_plain);
    if let Some(text) = text {
        if !kind.is_none_or(|kind| is_json(kind)) {
            return Some(("data", Value::from(text).to_string()));
        }
        if let Ok(json) = serde_json::from_str::<&RawValue>(text) {
            return Some(("data", json.get().to_owned()));
        }
    }
    Some((
        "data_base64",
        Value::from(BASE64_STANDARD.encode(&call.body)).to_string(),
    ))
}
