//! The containers of a pod, and how messages speak of them.

use serde_json::Value;

use crate::kinds;

/// All containers of a pod: those that run first, those that run, and those added later.
pub(super) fn all(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|field| kinds::items(spec, field).map(|(_, container)| container))
}

/// The names of containers for which `test` holds.
pub(super) fn named(spec: &Value, test: impl Fn(&Value) -> bool) -> Vec<String> {
    let found = all(spec).filter(|container| test(container));
    found
        .map(|container| kinds::text(container, "name").to_owned())
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
