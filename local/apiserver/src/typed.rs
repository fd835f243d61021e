//! Objects read into the types of k8s-openapi, in which a misspelled field does not compile.
//!
//! Objects are kept as they were sent, with every field in its place. What decides about one reads it into its type
//! first; what changes one carries the changes of the type back, and nothing else.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::status::FieldError;

/// An object, or a part of one, as its type.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}

/// Says why an object cannot be read as its type, if it cannot.
pub(crate) fn check<T: DeserializeOwned>(object: &Value) -> Result<(), serde_json::Error> {
    read::<T>(object).map(drop)
}

/// Changes a value as `change` changes its type. Fields are added and replaced, never removed: what the type leaves
/// empty by itself does not get into the value. A value that cannot be read stays as it is, and [`rules`] say why.
pub(crate) fn change<T>(value: &mut Value, change: impl FnOnce(&mut T))
where
    T: DeserializeOwned + Serialize,
{
    let changed = read(value).and_then(|mut typed: T| {
        let before = serde_json::to_value(&typed)?;
        change(&mut typed);
        Ok((before, serde_json::to_value(&typed)?))
    });
    if let Ok((before, after)) = changed {
        carry(value, &before, after);
    }
}

/// Puts into the value what differs between `before` and `after`.
fn carry(value: &mut Value, before: &Value, after: Value) {
    if *before == after {
        return;
    }
    match (value, before, after) {
        (Value::Object(value), Value::Object(before), Value::Object(after)) => {
            for (name, after) in after {
                match (before.get(&name), value.get_mut(&name)) {
                    (Some(before), Some(value)) if !value.is_null() => carry(value, before, after),
                    // The type has the field whether the value has it or not.
                    (Some(_), _) => {}
                    (None, _) => {
                        value.insert(name, after);
                    }
                }
            }
        }
        (Value::Array(value), Value::Array(before), Value::Array(after))
            if value.len() == before.len() && before.len() == after.len() =>
        {
            let pairs = value.iter_mut().zip(before).zip(after);
            pairs.for_each(|((value, before), after)| carry(value, before, after));
        }
        (value, _, after) => *value = after,
    }
}

/// Holds an object to the rules of its type. They see the object as it was, too, unless it is new. What is as it was
/// has been held to them before.
pub(crate) fn rules<T: DeserializeOwned>(
    object: &Value,
    old: Option<&Value>,
    errors: &mut Vec<FieldError>,
    rules: impl FnOnce(&T, Option<&T>, &mut Vec<FieldError>),
) {
    if old == Some(object) {
        return;
    }
    let new = read::<T>(object);
    let old = old.map(read::<T>).transpose();
    match (new, old) {
        (Ok(new), Ok(old)) => rules(&new, old.as_ref(), errors),
        (Err(error), _) | (_, Err(error)) => {
            let why = format!("cannot be read: {error}");
            errors.push(FieldError::unfit("spec", why));
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_adds_what_it_says_and_nothing_else() {
        let mut value = json!({
            "unknown": 1, "containers": [{"image": "x"}, {"name": "b", "ports": [{"hostPort": 1}]}],
        });
        change::<PodSpec>(&mut value, |spec| {
            spec.priority = Some(0);
            spec.containers[0].stdin = Some(true);
            for port in spec.containers[1].ports.iter_mut().flatten() {
                port.host_port = Some(2);
            }
        });
        assert_eq!(
            value,
            json!({
                "unknown": 1, "priority": 0, "containers": [
                    {"image": "x", "stdin": true}, {"name": "b", "ports": [{"hostPort": 2}]},
                ],
            })
        );
    }

    #[test]
    fn what_cannot_be_read_stays_and_is_told() {
        let mut value = json!({"priority": "high"});
        change::<PodSpec>(&mut value, |spec| spec.priority = Some(0));
        assert_eq!(value, json!({"priority": "high"}));
        let mut errors = Vec::new();
        rules::<PodSpec>(&value, None, &mut errors, |_, _, _| panic!("not read"));
        let error = errors[0].to_string();
        assert!(error.starts_with("spec: Invalid value: cannot be read: "));
    }
}
