//! Label and field selectors of requests
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>).

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Selector;
use serde_json::Value;

use crate::{names, resource::Resource, status::Failure};

/// Requirements on labels, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// Requirements on fields, all of which must hold: path, value, and whether it must be equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldSelector {
    requirements: Vec<(String, String, bool)>,
}

/// Labels, be they of a tree or of a type.
pub(crate) trait Labels {
    /// The value of one; `None` when it is not there.
    fn label(&self, key: &str) -> Option<&str>;
}

// === impl Labels ===

impl Labels for Value {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Labels for Option<&BTreeMap<String, String>> {
    fn label(&self, key: &str) -> Option<&str> {
        self.and_then(|labels| labels.get(key)).map(String::as_str)
    }
}

// === impl LabelSelector ===

impl LabelSelector {
    /// From the text of a query, such as `a=b,c in (d,e),!f`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut requirements = Vec::new();
        for part in split(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let requirement = requirement(part).filter(Requirement::valid);
            requirements.push(requirement.ok_or_else(|| {
                Failure::bad_request(format!("unable to parse requirement: {part:?} is no label selector; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key"))
            })?);
        }
        Ok(Self { requirements })
    }

    /// From the selector of an object.
    pub(crate) fn of(selector: &Selector) -> Self {
        let labels = selector.match_labels.iter().flatten();
        let mut requirements: Vec<Requirement> = labels
            .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
            .collect();
        for one in selector.match_expressions.iter().flatten() {
            let key = one.key.clone();
            let values = one.values.clone().unwrap_or_default();
            requirements.push(match one.operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "DoesNotExist" => Requirement::Absent(key),
                _ => Requirement::Exists(key),
            });
        }
        Self { requirements }
    }

    pub(crate) fn matches(&self, labels: &impl Labels) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(labels))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl Requirement {
    fn holds(&self, labels: &impl Labels) -> bool {
        let get = |key: &String| labels.label(key);
        let number = |key: &String| get(key)?.parse::<i64>().ok();
        match self {
            Self::In(key, values) => {
                get(key).is_some_and(|value| values.iter().any(|v| v == value))
            }
            Self::NotIn(key, values) => {
                get(key).is_none_or(|value| values.iter().all(|v| v != value))
            }
            Self::Exists(key) => get(key).is_some(),
            Self::Absent(key) => get(key).is_none(),
            Self::Greater(key, than) => number(key).is_some_and(|value| value > *than),
            Self::Less(key, than) => number(key).is_some_and(|value| value < *than),
        }
    }

    fn valid(&self) -> bool {
        let (Self::In(key, _)
        | Self::NotIn(key, _)
        | Self::Exists(key)
        | Self::Absent(key)
        | Self::Greater(key, _)
        | Self::Less(key, _)) = self;
        let values_fit = match self {
            Self::In(_, values) | Self::NotIn(_, values) => values
                .iter()
                .all(|value| names::label_value(value).is_none()),
            _ => true,
        };
        names::qualified(key).is_none() && values_fit
    }
}

/// As in a query.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.requirements.iter().map(ToString::to_string).collect();
        f.write_str(&parts.join(","))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(key, values) if values.len() == 1 => write!(f, "{key}={}", values.concat()),
            Self::In(key, values) => write!(f, "{key} in ({})", values.join(",")),
            Self::NotIn(key, values) if values.len() == 1 => {
                write!(f, "{key}!={}", values.concat())
            }
            Self::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(",")),
            Self::Exists(key) => f.write_str(key),
            Self::Absent(key) => write!(f, "!{key}"),
            Self::Greater(key, than) => write!(f, "{key}>{than}"),
            Self::Less(key, than) => write!(f, "{key}<{than}"),
        }
    }
}

/// Splits at the commas that are not within parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::Absent(key.trim().to_owned()));
    }
    if let Some((head, values)) = part.split_once('(') {
        let values = values.trim().strip_suffix(')')?;
        let values = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        let key = key.trim().to_owned();
        return match operator {
            "in" => Some(Requirement::In(key, values)),
            "notin" => Some(Requirement::NotIn(key, values)),
            _ => None,
        };
    }
    let pair = |operator: &str| {
        let (key, value) = part.split_once(operator)?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    if let Some((key, value)) = pair("!=") {
        return Some(Requirement::NotIn(key, vec![value]));
    }
    if let Some((key, value)) = pair("==").or_else(|| pair("=")) {
        return Some(Requirement::In(key, vec![value]));
    }
    if let Some((key, value)) = pair(">") {
        return Some(Requirement::Greater(key, value.parse().ok()?));
    }
    if let Some((key, value)) = pair("<") {
        return Some(Requirement::Less(key, value.parse().ok()?));
    }
    Some(Requirement::Exists(part.to_owned()))
}

// === impl FieldSelector ===

impl FieldSelector {
    /// From the text of a query, such as `status.phase=Running,spec.nodeName!=x`.
    pub(crate) fn parse(text: &str, resource: &Resource) -> Result<Self, Failure> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
                (field, value, false)
            } else if let Some((field, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (field, value, true)
            } else {
                return Err(Failure::bad_request(format!(
                    "invalid selector: {text:?}; can't understand {part:?}"
                )));
            };
            if !supported(resource, field) {
                return Err(Failure::bad_request(format!(
                    "Unable to find {:?} that match label selector \"\", field selector {text:?}: field label not supported: {field}",
                    format!("{}, Resource={}", resource.api_version(), resource.plural),
                )));
            }
            requirements.push((field.to_owned(), value.to_owned(), equal));
        }
        Ok(Self { requirements })
    }

    /// Adds the requirement that the object has a name.
    pub(crate) fn and_name(mut self, name: &str) -> Self {
        self.requirements
            .push(("metadata.name".to_owned(), name.to_owned(), true));
        self
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.requirements.iter().all(|(field, wanted, equal)| {
            let value = field.split('.').fold(object, |value, name| &value[name]);
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let holds = text == *wanted;
            holds == *equal
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

fn supported(resource: &Resource, field: &str) -> bool {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return true;
    }
    if let Some(custom) = &resource.custom {
        return custom.selectable.iter().any(|one| one == field);
    }
    let fields: &[&str] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "Namespace") => &["status.phase"],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("apps", "ReplicaSet") => &["status.replicas"],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingController",
            "type",
        ],
        _ => &[],
    };
    fields.contains(&field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_choose_what_kubectl_would() {
        let labels = json!({"app": "a", "tier": "front", "n": "5"});
        for (text, holds) in [
            ("app=a", true),
            ("app==a,tier!=back", true),
            ("app in (a, b),tier notin (back)", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("other!=x", true),
            ("other=x", false),
            ("n>4,n<6", true),
            ("", true),
            ("app in (b)", false),
        ] {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(&labels), holds, "{text}");
        }
        for bad in ["app in a", "=x", "a=b=c d", "a>b", "app within (a)"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_object_selector_and_its_text_agree() {
        let object = json!({
            "matchLabels": {"app": "a"},
            "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}],
        });
        let object = serde_json::from_value(object).expect("a selector");
        assert_eq!(
            LabelSelector::of(&object),
            LabelSelector::parse("app=a,!x").expect("selector")
        );
    }
}

#[cfg(test)]
mod fuzz;
