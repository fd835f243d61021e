//! Topics: messages are published to one, and functions hear them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Delivery, TriggerBatch};

/// The most attributes of a filter.
pub const MOST_FILTERS: i64 = 10;

/// Messages that a function hears, as `CloudEvents` (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>).
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicTrigger {
    /// Name of the topic, in the function's namespace. It is there as long as a function names it.
    pub name: String,

    /// Only messages whose attributes have these values are heard, such as type: shop.order.created. A value that ends
    /// in * is the beginning of one. At most 10. Default: all messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<BTreeMap<String, String>>,

    /// Whether messages with the same attribute partitionkey are delivered one after the other, as they were published:
    /// Key, or None. Those without the attribute are delivered beside each other. Default: None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<MessageOrder>,
}

/// In which order messages are delivered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum MessageOrder {
    /// In any, many at once.
    #[default]
    None,
    /// Those of one key one after the other.
    Key,
}

/// What becomes of the answers to messages.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Name of the topic, in the function's namespace, to which they are published.
    pub topic: String,
}

/// One trigger of one Function that hears a topic: what the gateway tells the events program when somebody publishes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Name of the Function.
    pub function: Box<str>,
    /// Its uid: a later one of the same name gets nothing of what was published before.
    pub uid: Box<str>,
    /// Name of the trigger.
    pub trigger: Box<str>,
    /// The path that is called.
    pub path: Box<str>,
    /// The filter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
    /// In which order messages are delivered.
    #[serde(default, skip_serializing_if = "MessageOrder::is_none")]
    pub order: MessageOrder,
    /// How many messages are delivered together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<TriggerBatch>,
    /// The topic to which the answers are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<str>>,
    /// How often, and for how long, it is tried to deliver a message.
    #[serde(default)]
    pub delivery: Delivery,
}

/// The most bytes of [`frame`]: some 2,000 subscriptions.
pub const MOST_FRAMED: usize = 512 * 1024;

/// The most digits of a length.
const MOST_DIGITS: usize = 9;

/// Subscriptions as they stand before a message that the gateway hands to the events program: how many bytes they take,
/// a line feed, and a JSON array. None if they take more than [`MOST_FRAMED`].
#[must_use]
pub fn frame<'a>(subscriptions: impl IntoIterator<Item = &'a Subscription>) -> Option<String> {
    let mut array = String::from("[");
    for subscription in subscriptions {
        if array.len() > 1 {
            array.push(',');
        }
        // Texts and numbers always serialize.
        array += &serde_json::to_string(subscription).ok()?;
        if array.len() > MOST_FRAMED {
            return None;
        }
    }
    array.push(']');
    Some(format!("{}\n{array}", array.len()))
}

/// The subscriptions of [`frame`], and where the message begins. None if it is something else.
#[must_use]
pub fn split(framed: &[u8]) -> Option<(Vec<Subscription>, usize)> {
    let mut bytes = framed.iter().take(MOST_DIGITS + 1);
    let digits = bytes.position(|byte| *byte == b'\n')?;
    let length: usize = std::str::from_utf8(framed.get(..digits)?)
        .ok()?
        .parse()
        .ok()?;
    let (begin, end) = (digits + 1, digits + 1 + length);
    let subscriptions = serde_json::from_slice(framed.get(begin..end)?).ok()?;
    Some((subscriptions, end))
}

// === impl MessageOrder ===

impl MessageOrder {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

// === impl Subscription ===

impl Subscription {
    /// Whether a message with these attributes is heard.
    #[must_use]
    pub fn hears<'a>(&self, attribute: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.filter.iter().all(|(name, wanted)| {
            attribute(name).is_some_and(|value| match wanted.strip_suffix('*') {
                Some(beginning) => value.starts_with(beginning),
                None => value == wanted,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_split_and_nothing_else_is() {
        let json = r#"{"function":"a","uid":"u","trigger":"t","path":"/"}"#;
        let subscription: Subscription = serde_json::from_str(json).unwrap();
        let mut framed = frame([&subscription, &subscription]).unwrap();
        let end = framed.len();
        framed += "the message";
        let framed = framed.as_bytes();
        let (read, begin) = split(framed).unwrap();
        assert_eq!((read.len(), begin), (2, end));
        assert_eq!(read[0], subscription);
        for cut in 0..end {
            assert_eq!(split(&framed[..cut]), None);
        }
        for other in [
            "999999999\n[]",
            "0000000002\n[]",
            "-2\n[]",
            "2\n{}",
            "\n[]",
            "[]",
        ] {
            assert_eq!(split(other.as_bytes()), None, "{other}");
        }
        assert_eq!(split(b"2\n[]"), Some((Vec::new(), 4)));
        assert_eq!(frame([]).as_deref(), Some("2\n[]"));
        let many = std::iter::repeat_n(&subscription, MOST_FRAMED / json.len());
        assert_eq!(frame(many), None);
    }

    #[test]
    fn a_filter_holds_when_each_of_its_attributes_does() {
        let heard = |filter: &[(&str, &str)]| {
            let subscription = Subscription {
                function: "a".into(),
                uid: "u".into(),
                trigger: "t".into(),
                path: "/".into(),
                filter: filter
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                order: MessageOrder::None,
                batch: None,
                output: None,
                delivery: Delivery::default(),
            };
            subscription.hears(|name| match name {
                "type" => Some("shop.order.created"),
                "subject" => Some("7"),
                _ => None,
            })
        };
        assert!(heard(&[]));
        assert!(heard(&[("type", "shop.order.created")]));
        assert!(heard(&[("type", "shop.order.*"), ("subject", "*")]));
        assert!(!heard(&[("type", "shop.order")]));
        assert!(!heard(&[("type", "shop.*"), ("subject", "8")]));
        assert!(!heard(&[("partitionkey", "*")]));
    }
}
