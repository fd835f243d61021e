//! Events as JSON (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use super::{Attributes, Event, EventError, MOST_MESSAGES, is_json};

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
