//! The containers of a pod, and how messages speak of them.

use serde_json::Value;

/// All containers of a pod: those that run first, those that run, and those added later.
pub(super) fn all(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|field| items(spec, field))
}

/// The names of containers for which `test` holds.
pub(super) fn named(spec: &Value, test: impl Fn(&Value) -> bool) -> Vec<String> {
    let found = all(spec).filter(|container| test(container));
    found
        .map(|container| text(container, "name").to_owned())
        .collect()
}

/// `container "a"`, or `containers "a", "b"`.
pub(super) fn subject(names: &[String]) -> String {
    counted("container", names)
}

/// A word and quoted names: one of them, or several.
pub(super) fn counted(word: &str, names: &[String]) -> String {
    format!("{} {}", plural(word, names.len()), quoted(names))
}

pub(super) fn plural(word: &str, count: usize) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{word}{ending}")
}

pub(super) fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

/// `pod`, `container "a"`, or both.
pub(super) fn pod_and(pod: bool, containers: &[String]) -> Option<String> {
    match (pod, containers.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".to_owned()),
        (false, false) => Some(subject(containers)),
        (true, false) => Some(format!("pod and {}", subject(containers))),
    }
}

/// Adds the words that are not there yet.
pub(super) fn note(found: &mut Vec<String>, word: impl Into<String>) {
    let word = word.into();
    if !found.contains(&word) {
        found.push(word);
    }
}

/// The items of a list field; none when it is absent.
pub(super) fn items<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object[field].as_array().into_iter().flatten()
}

/// The text in a field; empty when it is absent.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// The fields of an object.
pub(super) fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
