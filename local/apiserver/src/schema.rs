//! Structural schemas: one engine for built-in kinds (whose schemas come from k8s-openapi) and for
//! custom resources (whose schemas come from their definitions).

pub(crate) mod cel;
pub(crate) mod compile;
pub(crate) mod default;
pub(crate) mod merge_keys;
pub(crate) mod prune;
pub(crate) mod quantity;
pub(crate) mod validate;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use regex::Regex;
use serde_json::{Map, Value};

/// The definition that stands for the metadata of every object.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The format of amounts of resources, in the definitions here.
pub(crate) const QUANTITY: &str = "quantity";

/// Named schemas, which may refer to each other and to themselves.
pub(crate) type Definitions = HashMap<String, Node>;

/// A schema with all that its references lead to.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) root: Arc<SchemaRef>,
    pub(crate) definitions: Arc<Definitions>,
}

/// A schema in place, or the name of one.
#[derive(Debug)]
pub(crate) enum SchemaRef {
    Inline(Box<Node>),
    Named(String),
}

/// The JSON type that a value has to have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Type {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// How the items of a list are told apart when two writers change it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum ListKind {
    /// The list is one value.
    #[default]
    Atomic,
    /// Items are scalars, each there at most once.
    Set,
    /// Items are objects, told apart by the values of these fields.
    Map(Vec<String>),
}

/// What strategic merge patch does with a field
/// (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Patch {
    pub(crate) merge: bool,
    pub(crate) merge_key: Option<String>,
}

/// One place of a schema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) type_: Type,
    pub(crate) format: Option<String>,
    pub(crate) nullable: bool,
    /// Fields that are not declared are kept.
    pub(crate) preserve_unknown: bool,
    /// The value is a whole object with its own apiVersion, kind and metadata.
    pub(crate) embedded: bool,
    pub(crate) properties: BTreeMap<String, SchemaRef>,
    pub(crate) required: Vec<String>,
    /// The schema of the values of a map.
    pub(crate) values: Option<SchemaRef>,
    pub(crate) items: Option<SchemaRef>,
    pub(crate) default: Option<Value>,
    pub(crate) list: ListKind,
    /// A map or struct that is one value for server-side apply.
    pub(crate) atomic: bool,
    pub(crate) patch: Patch,
    /// Fields that a strategic merge patch replaces. What they refer to cannot say so, since others refer to it too.
    pub(crate) replaced: BTreeSet<String>,
    pub(crate) limits: Limits,
    pub(crate) all_of: Vec<SchemaRef>,
    pub(crate) any_of: Vec<SchemaRef>,
    pub(crate) one_of: Vec<SchemaRef>,
    pub(crate) not: Option<SchemaRef>,
    /// The root of a whole object, whose metadata has rules of its own.
    pub(crate) root: bool,
}

/// Bounds on a value.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) choices: Option<Vec<Value>>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) minimum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
}

/// A place in a schema while a value is walked. Without a node nothing is known of the value:
/// its objects are maps and its lists are atomic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeRef<'a> {
    pub(crate) node: Option<&'a Node>,
    definitions: Option<&'a Definitions>,
}

/// What a schema says of one field of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field<'a> {
    /// A field of a struct.
    Declared(NodeRef<'a>),
    /// A key of a map.
    Key(NodeRef<'a>),
    /// Neither.
    Unknown,
}

// === impl Schema ===

impl Schema {
    pub(crate) fn at_root(&self) -> NodeRef<'_> {
        let at = NodeRef {
            node: None,
            definitions: Some(&self.definitions),
        };
        at.resolve(&self.root)
    }
}

// === impl NodeRef ===

impl<'a> NodeRef<'a> {
    /// A place of which nothing is known.
    pub(crate) const UNKNOWN: NodeRef<'static> = NodeRef {
        node: None,
        definitions: None,
    };

    pub(crate) fn resolve(self, link: &'a SchemaRef) -> NodeRef<'a> {
        let node = match link {
            SchemaRef::Inline(node) => Some(node.as_ref()),
            SchemaRef::Named(name) => self.definitions.and_then(|all| all.get(name)),
        };
        NodeRef { node, ..self }
    }

    pub(crate) fn field(self, name: &str) -> Field<'a> {
        let Some(node) = self.node else {
            return Field::Key(NodeRef::UNKNOWN);
        };
        if let Some(link) = node.properties.get(name) {
            return Field::Declared(self.resolve(link));
        }
        if let Some(link) = &node.values {
            return Field::Key(self.resolve(link));
        }
        if node.preserve_unknown || (node.type_ == Type::Any && node.properties.is_empty()) {
            return Field::Key(NodeRef::UNKNOWN);
        }
        Field::Unknown
    }

    /// The place of a field, known or not.
    pub(crate) fn child(self, name: &str) -> NodeRef<'a> {
        match self.field(name) {
            Field::Declared(at) | Field::Key(at) => at,
            Field::Unknown => NodeRef::UNKNOWN,
        }
    }

    pub(crate) fn item(self) -> NodeRef<'a> {
        match self.node.and_then(|node| node.items.as_ref()) {
            Some(link) => self.resolve(link),
            None => NodeRef::UNKNOWN,
        }
    }

    pub(crate) fn list(self) -> &'a ListKind {
        self.node.map_or(&ListKind::Atomic, |node| &node.list)
    }

    pub(crate) fn atomic(self) -> bool {
        self.node.is_some_and(|node| node.atomic)
    }

    /// The values that tell an item of a list map apart, with defaults for absent ones.
    pub(crate) fn item_key(self, keys: &[String], item: &Value) -> Option<Map<String, Value>> {
        let object = item.as_object()?;
        let mut key = Map::new();
        for name in keys {
            let value = object.get(name).filter(|value| !value.is_null()).cloned();
            let value = value.or_else(|| self.item().child(name).node?.default.clone());
            if let Some(value) = value {
                key.insert(name.clone(), value);
            }
        }
        (!key.is_empty()).then_some(key)
    }
}

/// `base.name`, or `name` at the top.
pub(crate) fn join(base: &str, name: &str) -> String {
    if base.is_empty() {
        name.to_owned()
    } else {
        format!("{base}.{name}")
    }
}

/// The value at a path such as `spec.env[0].name`; null where there is none.
pub(crate) fn value_at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split(['.', '['])
        .filter(|step| !step.is_empty())
        .fold(value, |value, step| {
            match step.strip_suffix(']').map(str::parse::<usize>) {
                Some(Ok(index)) => &value[index],
                _ => &value[step],
            }
        })
}

#[cfg(test)]
mod fuzz;
