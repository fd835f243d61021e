//! Sets of fields, and their form in `metadata.managedFields` (FieldsV1)
//! (<https://github.com/kubernetes-sigs/structured-merge-diff>).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value, json};

use crate::schema::{Field, NodeRef};

/// One step of a path to a field.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Element {
    /// A field of a struct or a key of a map.
    Field(String),
    /// The item of a list map with this key, as JSON.
    Key(String),
    /// The item of a set, as JSON.
    Value(String),
    /// An item of a list by its position.
    Index(u64),
}

/// A set of paths. A member is in the set itself; a child has members below it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct FieldSet {
    pub(crate) members: BTreeSet<Element>,
    pub(crate) children: BTreeMap<Element, FieldSet>,
}

// === impl Element ===

impl Element {
    pub(crate) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            // Through a value, so that keys always read the same.
            "k" => Self::Key(
                serde_json::from_str::<Map<String, Value>>(rest)
                    .ok()
                    .map(Value::Object)?
                    .to_string(),
            ),
            "v" => Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string()),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(key) => format!("k:{key}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As in messages: `.name`, `[name="x"]`, `[="x"]` or `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(key) => {
                let fields: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let parts: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(f, "[{}]", parts.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

// === impl FieldSet ===

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    pub(crate) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            let both = all
                .children
                .get(element)
                .map_or_else(|| child.clone(), |mine| mine.union(child));
            all.children.insert(element.clone(), both);
        }
        all
    }

    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(
            other,
            |member| !other.members.contains(member),
            |mine, theirs| theirs.map_or_else(|| mine.clone(), |theirs| mine.difference(theirs)),
        )
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(
            other,
            |member| other.members.contains(member),
            |mine, theirs| theirs.map_or_else(Self::default, |theirs| mine.intersection(theirs)),
        )
    }

    fn combine(
        &self,
        other: &Self,
        keep: impl Fn(&Element) -> bool,
        child: impl Fn(&Self, Option<&Self>) -> Self,
    ) -> Self {
        Self {
            members: self
                .members
                .iter()
                .filter(|member| keep(member))
                .cloned()
                .collect(),
            children: self
                .children
                .iter()
                .map(|(element, mine)| (element.clone(), child(mine, other.children.get(element))))
                .filter(|(_, set)| !set.is_empty())
                .collect(),
        }
    }

    /// The set with the structs on the way to its members.
    pub(crate) fn with_structs(&self, at: NodeRef<'_>) -> Self {
        let mut all = self.clone();
        for (element, child) in &self.children {
            let below = match element {
                Element::Field(name) => {
                    if let Field::Declared(_) = at.field(name) {
                        all.members.insert(element.clone());
                    }
                    at.child(name)
                }
                _ => at.item(),
            };
            all.children
                .insert(element.clone(), child.with_structs(below));
        }
        all
    }

    /// Forgets a field of the root and all that is below it.
    pub(crate) fn forget(&mut self, name: &str) {
        let element = Element::field(name);
        self.members.remove(&element);
        self.children.remove(&element);
    }

    /// Every path of the set.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        let elements: BTreeSet<&Element> =
            self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            let path = format!("{prefix}{element}");
            if let Some(child) = self.children.get(element) {
                if self.members.contains(element) {
                    paths.push(path.clone());
                }
                child.collect(&path, paths);
            } else {
                paths.push(path);
            }
        }
    }

    /// From FieldsV1; what cannot be understood is left out.
    pub(crate) fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        for (key, below) in fields.as_object().into_iter().flatten() {
            let Some(element) = Element::parse(key) else {
                continue;
            };
            let child = Self::parse(below);
            let leaf = below.as_object().is_none_or(Map::is_empty);
            if leaf || below.get(".").is_some() {
                set.members.insert(element.clone());
            }
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        set
    }

    /// As FieldsV1.
    pub(crate) fn encode(&self) -> Value {
        let mut fields = Map::new();
        for member in &self.members {
            fields.insert(member.encode(), json!({}));
        }
        for (element, child) in &self.children {
            let mut below = child.encode();
            if self.members.contains(element)
                && let Some(below) = below.as_object_mut()
            {
                below.insert(".".to_owned(), json!({}));
            }
            fields.insert(element.encode(), below);
        }
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_v1_comes_back_as_it_was() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"x/y\"": {}}},
            "f:spec": {"f:replicas": {}, "f:containers": {
                "k:{\"name\":\"a\"}": {".": {}, "f:image": {}},
            }},
        });
        let set = FieldSet::parse(&fields);
        assert_eq!(set.encode(), fields);
        assert_eq!(
            set.paths(),
            [
                ".metadata.finalizers",
                ".metadata.finalizers[=\"x/y\"]",
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.containers[name=\"a\"]",
                ".spec.containers[name=\"a\"].image",
                ".spec.replicas",
            ]
        );
    }

    #[test]
    fn sets_are_combined_path_by_path() {
        let one = FieldSet::parse(&json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        let two = FieldSet::parse(&json!({"f:a": {"f:b": {}}, "f:e": {}}));
        assert_eq!(one.intersection(&two).paths(), [".a.b"]);
        assert_eq!(one.difference(&two).paths(), [".a", ".a.c", ".d"]);
        assert_eq!(one.union(&two).paths(), [".a", ".a.b", ".a.c", ".d", ".e"]);
    }
}
