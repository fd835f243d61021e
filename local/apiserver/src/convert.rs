//! Between the version that objects are kept in and the version that a request speaks.

use std::borrow::Cow;

use serde_json::Value;

/// How the versions of a resource differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Conversion {
    /// In nothing but `apiVersion`.
    None,
    /// `events.k8s.io/v1`, kept as `v1` Event.
    Event,
}

/// Fields that the two kinds of Event name differently: as kept, as spoken.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

// === impl Conversion ===

impl Conversion {
    /// From how an object is kept to how it is spoken.
    pub(crate) fn to_served<'a>(self, value: &'a Value, api_version: &str) -> Cow<'a, Value> {
        if value["apiVersion"] == api_version {
            return Cow::Borrowed(value);
        }
        let mut value = value.clone();
        value["apiVersion"] = api_version.into();
        if self == Self::Event {
            rename(&mut value, |(kept, spoken)| (kept, spoken));
        }
        Cow::Owned(value)
    }

    /// From how an object is spoken to how it is kept.
    pub(crate) fn to_stored(self, mut value: Value, api_version: &str) -> Value {
        if value["apiVersion"] != api_version {
            value["apiVersion"] = api_version.into();
            if self == Self::Event {
                rename(&mut value, |(kept, spoken)| (spoken, kept));
            }
        }
        value
    }
}

fn rename(
    value: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    if let Some(object) = value.as_object_mut() {
        for names in EVENT_FIELDS {
            let (from, to) = direction(*names);
            if let Some(field) = object.remove(from) {
                object.insert(to.to_owned(), field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_comes_back_as_it_was() {
        let spoken = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n",
            "regarding": {"name": "x"}, "reportingController": "c", "reason": "r",
        });
        let kept = Conversion::Event.to_stored(spoken.clone(), "v1");
        assert_eq!(kept["involvedObject"]["name"], "x");
        assert_eq!(kept["message"], "n");
        let back = Conversion::Event.to_served(&kept, "events.k8s.io/v1");
        assert_eq!(*back, spoken);
    }
}
