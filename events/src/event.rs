//! Messages as `CloudEvents` 1.0 over HTTP, in all content modes
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>). What is published as
//! anything else becomes one.

mod escape;
mod structured;

use std::collections::BTreeMap;

use bytes::Bytes;
use fermata_crds::Subscription;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::invocation::{Call, CallHead, Fields, RECORD};

/// The version that is spoken.
const SPEC_VERSION: &str = "1.0";

/// The type of a message that its publisher gave none.
const PLAIN_TYPE: &str = "dev.fermata.message";

/// Beginning of the headers that are attributes.
const PREFIX: &str = "ce-";

/// The most bytes of names and values of one message's attributes: they are headers when it is delivered.
const MOST_ATTRIBUTE_BYTES: usize = 16 * 1024;

/// The most attributes of one message.
const MOST_ATTRIBUTES: usize = 100;

/// The most messages of one batch.
const MOST_MESSAGES: usize = 1000;

/// The media types of the structured and the batched content mode.
const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// The beginning of these, and of others that are not known here.
const FORMATS: &str = "application/cloudevents";

/// Attributes that each message has.
const REQUIRED: [&str; 3] = ["id", "source", "type"];

/// What of a publisher's headers goes to those who hear besides the attributes: what a trace is followed by
/// (<https://www.w3.org/TR/trace-context/>).
const PASSED_ON: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// A message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Event {
    /// By their names; `datacontenttype` is one of them.
    attributes: BTreeMap<Box<str>, Box<str>>,
    /// The data, as they are sent.
    data: Bytes,
    /// Whether the publisher has named it: then nobody else means another message by that name.
    is_named: bool,
}

/// What a message has for attributes that its publisher did not give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults<'a> {
    pub(crate) id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) time: &'a str,
}

/// Why something is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    /// It is of a version that is not known here.
    #[error("specversion is {0:?}, and 1.0 alone is understood")]
    Version(Box<str>),
    /// An attribute is missing that each event has.
    #[error("the attribute {0} is missing or empty, which each CloudEvent has")]
    Missing(&'static str),
    /// An attribute has a name that cannot be.
    #[error("{0:?} is no name of an attribute: those are lower case letters and digits")]
    Name(Box<str>),
    /// It has a value that cannot be.
    #[error("the attribute {0} is no text, number or truth value")]
    Value(Box<str>),
    /// It is given twice.
    #[error("the attribute {0} is given twice")]
    Twice(Box<str>),
    /// There are too many, or they are too long.
    #[error("the attributes have more than {MOST_ATTRIBUTE_BYTES} bytes")]
    TooLong,
    /// There are too many.
    #[error("it has {0} attributes, and at most {MOST_ATTRIBUTES} are taken")]
    TooManyAttributes(usize),
    /// The type of its data cannot be said when it is delivered.
    #[error("the attribute datacontenttype is no media type: it has characters that no header has")]
    ContentType,
    /// It is an event in a format that is not known here.
    #[error(
        "{0} is not understood; publish application/cloudevents+json, application/cloudevents-batch+json, or binary mode"
    )]
    Format(Box<str>),
    /// The body is coded, and has to be read.
    #[error("a CloudEvent in JSON has no Content-Encoding here; send it as it is")]
    Coded,
    /// The body is no JSON, or not that of an event.
    #[error("the body is no JSON of a CloudEvent: {0}")]
    Json(#[source] serde_json::Error),
    /// The data are given in two ways.
    #[error("there are both data and data_base64; give one of them")]
    TwoData,
    /// The data are not what they are said to be.
    #[error("data_base64 is no base64: {0}")]
    Base64(#[source] base64::DecodeError),
    /// The batch has too many messages.
    #[error("the batch has {0} messages, and at most {MOST_MESSAGES} are taken at once")]
    TooMany(usize),
}

// === impl EventError ===

impl EventError {
    /// Whether it may be an event, in a form that is not read here.
    #[must_use]
    pub(crate) fn is_of_form(&self) -> bool {
        matches!(self, Self::Format(_) | Self::Coded)
    }
}

/// Reads the messages of one request.
///
/// # Errors
///
/// When it is none: then none of a batch is.
pub(crate) fn read(
    headers: &HeaderMap,
    body: Bytes,
    defaults: Defaults<'_>,
) -> Result<Vec<Event>, EventError> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let media_type = content_type.as_deref().map(media_type).unwrap_or_default();
    if media_type.starts_with(FORMATS) {
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(EventError::Coded);
        }
        return match &*media_type {
            STRUCTURED => Ok(vec![structured::one(&body)?]),
            BATCHED => structured::batch(&body),
            other => Err(EventError::Format(other.into())),
        };
    }
    Ok(vec![binary(
        headers,
        content_type.as_deref(),
        body,
        defaults,
    )?])
}

/// The type of the body in which messages are delivered together.
pub(crate) const BATCH_TYPE: &str = BATCHED;

/// A message that is delivered by itself, as one of the array in which several are.
#[must_use]
pub(crate) fn json(call: &Call) -> String {
    structured::written(call)
}

/// What the publisher has named it, by a message that is delivered.
#[must_use]
pub(crate) fn id_of(call: &Call) -> String {
    let mut headers = HeaderMap::new();
    call.head.headers.add_to(&mut headers);
    let id = headers.get("ce-id");
    id.map(|id| escape::undo(id.as_bytes())).unwrap_or_default()
}

/// Whether a header is an attribute in binary content mode.
#[must_use]
pub(crate) fn is_attribute(name: &HeaderName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// Whether a header of a message goes on to those who hear it, and from there to those who hear what they answer.
#[must_use]
pub(crate) fn is_passed_on(name: &HeaderName) -> bool {
    PASSED_ON.contains(&name.as_str())
}

/// Whether the body holds the attributes too.
#[must_use]
pub(crate) fn is_structured(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let media_type = content_type.as_deref().map(media_type).unwrap_or_default();
    media_type == STRUCTURED || media_type == BATCHED
}

/// A value of an attribute as it stands in a header.
#[must_use]
pub(crate) fn escaped(value: &str) -> String {
    escape::done(value)
}

/// What a media type is without its parameters, in lower case.
fn media_type(content_type: &str) -> String {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

/// Whether data of that type are JSON (RFC 6839, section 3.1).
fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    media_type == "application/json" || media_type == "text/json" || media_type.ends_with("+json")
}

/// A message in binary content mode, or one that is no `CloudEvent` and becomes one.
fn binary(
    headers: &HeaderMap,
    content_type: Option<&str>,
    data: Bytes,
    defaults: Defaults<'_>,
) -> Result<Event, EventError> {
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(PREFIX) {
            attributes.add(name, &escape::undo(value.as_bytes()))?;
        }
    }
    if let Some(content_type) = content_type {
        // It stands for the attribute, which is no header of its own.
        attributes.0.remove("datacontenttype");
        attributes.add("datacontenttype", content_type)?;
    }
    if attributes.0.contains_key("specversion") {
        return attributes.event(data);
    }
    let is_named = attributes.0.contains_key("id") && attributes.0.contains_key("source");
    for (name, value) in [
        ("specversion", SPEC_VERSION),
        ("id", defaults.id),
        ("source", defaults.source),
        ("type", PLAIN_TYPE),
        ("time", defaults.time),
    ] {
        attributes
            .0
            .entry(name.into())
            .or_insert_with(|| value.into());
    }
    let event = attributes.event(data)?;
    Ok(Event { is_named, ..event })
}

/// Attributes while they are gathered.
#[derive(Debug, Default)]
struct Attributes(BTreeMap<Box<str>, Box<str>>);

// === impl Attributes ===

impl Attributes {
    fn add(&mut self, name: &str, value: &str) -> Result<(), EventError> {
        // That one is the data themselves (section 3.1.1 of the JSON format).
        let is_name = !name.is_empty()
            && name != "data"
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_name {
            return Err(EventError::Name(name.into()));
        }
        if self.0.insert(name.into(), value.into()).is_some() {
            return Err(EventError::Twice(name.into()));
        }
        Ok(())
    }

    fn event(self, data: Bytes) -> Result<Event, EventError> {
        let Self(attributes) = self;
        match attributes.get("specversion").map(|version| &**version) {
            Some(SPEC_VERSION) => {}
            Some(other) => return Err(EventError::Version(other.into())),
            None => return Err(EventError::Missing("specversion")),
        }
        for name in REQUIRED {
            if attributes.get(name).is_none_or(|value| value.is_empty()) {
                return Err(EventError::Missing(name));
            }
        }
        if attributes.len() > MOST_ATTRIBUTES {
            return Err(EventError::TooManyAttributes(attributes.len()));
        }
        let kind = attributes.get("datacontenttype");
        if kind.is_some_and(|kind| HeaderValue::from_str(kind).is_err()) {
            return Err(EventError::ContentType);
        }
        let bytes = attributes
            .iter()
            .map(|(name, value)| name.len() + escape::length(value));
        if bytes.sum::<usize>() > MOST_ATTRIBUTE_BYTES {
            return Err(EventError::TooLong);
        }
        Ok(Event {
            attributes,
            data,
            is_named: true,
        })
    }
}

// === impl Event ===

impl Event {
    /// An attribute, if it has it.
    #[must_use]
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(|value| &**value)
    }

    /// Its name: what no other message of this source has.
    #[must_use]
    pub(crate) fn id(&self) -> &str {
        self.attribute("id").unwrap_or_default()
    }

    /// The source and the id, if the publisher gave them: another message with both is the same.
    #[must_use]
    pub(crate) fn name(&self) -> Option<(&str, &str)> {
        let source = self.attribute("source")?;
        self.is_named.then(|| (source, self.id()))
    }

    /// About as many bytes as it takes when it is kept.
    #[must_use]
    pub(crate) fn room(&self) -> u64 {
        let attributes = self.attributes.iter();
        let attributes: usize = attributes
            .map(|(name, value)| PREFIX.len() + name.len() + escape::length(value))
            .sum();
        (self.data.len() + attributes + RECORD) as u64
    }

    /// The request by which it is delivered, in binary content mode. The headers are those of the publisher.
    #[must_use]
    pub(crate) fn call(&self, subscription: &Subscription, headers: &HeaderMap) -> Call {
        let mut fields = Fields::of(headers, |name| {
            is_passed_on(name) || *name == header::CONTENT_ENCODING
        });
        for (name, value) in &self.attributes {
            if &**name == "datacontenttype" {
                fields.push(header::CONTENT_TYPE.as_str(), value);
            } else {
                fields.push(&format!("{PREFIX}{name}"), &escape::done(value));
            }
        }
        Call {
            head: CallHead {
                method: "POST".into(),
                target: subscription.path.clone(),
                headers: fields,
            },
            body: self.data.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
