//! Whether an object still is what the operator wants it to be.
//!
//! The operator says what it wants, the API server adds defaults and others add fields of their
//! own. Nothing has drifted as long as everything that is wanted is there.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fermata_daemon::watch::Key;
use serde::Serialize;
use serde_json::{Map, Value};

/// Keys by which items of a list are told apart, as in the Kubernetes API; first match counts.
const LIST_KEYS: [&str; 6] = [
    "name",
    "mountPath",
    "containerPort",
    "devicePath",
    "uid",
    "ip",
];

/// What of a live object is compared, kept as text: it is read seldom, and there are many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Live(Box<str>);

// === impl Live ===

impl Live {
    pub(crate) fn of<K: Serialize>(object: &K) -> Self {
        Self(relevant(object).to_string().into_boxed_str())
    }

    /// Whether the object still is what is wanted.
    pub(crate) fn holds<K: Serialize>(&self, wanted: &K) -> bool {
        serde_json::from_str(&self.0).is_ok_and(|live| holds(&relevant(wanted), &live))
    }
}

/// What the API server made of objects that it does not keep as they were written: it writes
/// quantities in its own way, for one. As long as such an object is what it was after the apply,
/// nothing has drifted.
#[derive(Default)]
pub(crate) struct Accepted {
    objects: Mutex<HashMap<Key, (String, Live)>>,
}

// === impl Accepted ===

impl Accepted {
    /// Takes down what an apply of the object with this digest led to.
    pub(crate) fn record(&self, key: &Key, digest: &str, live: &Live) {
        self.lock()
            .insert(key.clone(), (digest.to_owned(), live.clone()));
    }

    /// Whether the object is as the apply of this digest left it.
    pub(crate) fn covers(&self, key: &Key, digest: &str, live: &Live) -> bool {
        self.lock()
            .get(key)
            .is_some_and(|(of, then)| of == digest && then == live)
    }

    /// Forgets an object that is gone, or that is kept as it was written.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (String, Live)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No status, no replicas, no bookkeeping of the API server.
fn relevant<K: Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    let metadata = value.get("metadata").map(|metadata| {
        ["labels", "annotations", "ownerReferences"]
            .iter()
            .filter_map(|field| Some(((*field).to_owned(), metadata.get(field)?.clone())))
            .collect::<Map<_, _>>()
    });
    let mut spec = value.get_mut("spec").map(Value::take).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("replicas");
    }
    Value::Object(Map::from_iter([
        (
            "metadata".to_owned(),
            Value::Object(metadata.unwrap_or_default()),
        ),
        ("spec".to_owned(), spec),
    ]))
}

/// Whether everything that is wanted is there.
fn holds(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            wanted
                .iter()
                .all(|(field, wanted)| match (field.as_str(), live.get(field)) {
                    (_, None) => is_empty(wanted),
                    ("requests" | "limits", Some(live)) => same_quantities(wanted, live),
                    (_, Some(live)) => holds(wanted, live),
                })
        }
        (Value::Array(wanted), Value::Array(live)) => holds_list(wanted, live),
        (wanted, live) => wanted == live,
    }
}

fn holds_list(wanted: &[Value], live: &[Value]) -> bool {
    let key = LIST_KEYS.iter().find(|key| {
        !wanted.is_empty()
            && wanted
                .iter()
                .chain(live)
                .all(|item| item.get(key).is_some())
    });
    match key {
        Some(key) => wanted.iter().all(|item| {
            live.iter()
                .any(|other| other.get(key) == item.get(key) && holds(item, other))
        }),
        None => {
            wanted.len() == live.len()
                && wanted
                    .iter()
                    .zip(live)
                    .all(|(wanted, live)| holds(wanted, live))
        }
    }
}

/// The API server writes quantities in its own way: 1000m comes back as 1.
fn same_quantities(wanted: &Value, live: &Value) -> bool {
    let (Value::Object(wanted), Value::Object(live)) = (wanted, live) else {
        return holds(wanted, live);
    };
    wanted.iter().all(|(resource, wanted)| {
        let live = live.get(resource);
        let value = |quantity: Option<&Value>| quantity.and_then(Value::as_str).and_then(nanos);
        live == Some(wanted) || (value(live).is_some() && value(live) == value(Some(wanted)))
    })
}

/// A quantity in billionths, the smallest unit there is
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
fn nanos(quantity: &str) -> Option<i128> {
    const NANOS: i128 = 1_000_000_000;
    let end = quantity
        .find(|character: char| {
            !(character.is_ascii_digit() || matches!(character, '.' | '+' | '-'))
        })
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let decimal = |exponent: u32| {
        10i128
            .checked_pow(exponent)
            .and_then(|power| power.checked_mul(NANOS))
    };
    let binary = |exponent: u32| {
        1024i128
            .checked_pow(exponent)
            .and_then(|power| power.checked_mul(NANOS))
    };
    let unit = match suffix {
        "" => NANOS,
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "k" => decimal(3)?,
        "M" => decimal(6)?,
        "G" => decimal(9)?,
        "T" => decimal(12)?,
        "P" => decimal(15)?,
        "E" => decimal(18)?,
        "Ki" => binary(1)?,
        "Mi" => binary(2)?,
        "Gi" => binary(3)?,
        "Ti" => binary(4)?,
        "Pi" => binary(5)?,
        "Ei" => binary(6)?,
        exponent => decimal(exponent.strip_prefix(['e', 'E'])?.parse().ok()?)?,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    digits.checked_mul(unit).map(|value| value / scale)
}

/// The API server leaves out empty objects and lists.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_additions_of_others_are_no_drift() {
        let wanted = json!({"labels": {"a": "1"}, "containers": [
            {"name": "function", "env": [{"name": "PORT", "value": "8080"}], "resources": {}},
        ]});
        let live = json!({"labels": {"a": "1", "b": "2"}, "paused": false, "containers": [
            {"name": "sidecar"},
            {"name": "function", "image": "x", "env": [
                {"name": "MORE", "value": ""}, {"name": "PORT", "value": "8080"},
            ]},
        ]});
        assert!(holds(&wanted, &live));
    }

    #[test]
    fn a_changed_missing_or_reordered_value_is_drift() {
        let wanted = json!({"containers": [{"name": "function", "args": ["a", "b"]}]});
        for live in [
            json!({"containers": [{"name": "function", "args": ["b", "a"]}]}),
            json!({"containers": [{"name": "function", "args": ["a", "b", "c"]}]}),
            json!({"containers": [{"name": "function"}]}),
            json!({"containers": [{"name": "other", "args": ["a", "b"]}]}),
            json!({}),
        ] {
            assert!(!holds(&wanted, &live), "{live}");
        }
    }

    #[test]
    fn quantities_are_compared_by_their_value() {
        for (one, other) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("2e3", "2k"),
        ] {
            let wanted = json!({"resources": {"requests": {"cpu": one}}});
            let live = json!({"resources": {"requests": {"cpu": other}}});
            assert!(holds(&wanted, &live), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1M", "1Mi"), ("x", "y"), ("1", "")] {
            let wanted = json!({"limits": {"cpu": one}});
            assert!(!holds(&wanted, &json!({"limits": {"cpu": other}})));
        }
        let huge = json!({"limits": {"cpu": "9999999999999999999999999999999999999999"}});
        assert!(holds(&huge, &huge));
    }

    #[test]
    fn replicas_and_status_are_not_compared() {
        let relevant = relevant(&json!({
            "metadata": {"name": "x", "resourceVersion": "1", "labels": {"a": "1"}},
            "spec": {"replicas": 3, "paused": true}, "status": {"replicas": 3},
        }));
        assert_eq!(
            relevant,
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"paused": true}})
        );
    }
}
