//! Walks over typed values: which fields a value has, in what two values differ, one merged into
//! the other, and fields taken out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fieldset::{Element, FieldSet};
use crate::schema::{Field, ListKind, NodeRef};

/// In what one value differs from another.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

/// What tells an item of a list apart; `None` in an atomic list.
fn element(at: NodeRef<'_>, item: &Value) -> Option<Element> {
    match at.list() {
        ListKind::Atomic => None,
        ListKind::Set => Some(Element::Value(item.to_string())),
        ListKind::Map(keys) => {
            let key = at.item_key(keys, item)?;
            Some(Element::Key(Value::Object(key).to_string()))
        }
    }
}

/// The items of a granular list by what tells them apart, in order; `None` when it is atomic.
fn elements<'a>(at: NodeRef<'_>, items: &'a [Value]) -> Option<Vec<(Element, &'a Value)>> {
    if *at.list() == ListKind::Atomic {
        return None;
    }
    items
        .iter()
        .map(|item| Some((element(at, item)?, item)))
        .collect()
}

// === the fields of a value ===

/// All fields that a value sets.
pub(crate) fn field_set(at: NodeRef<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(at, value, &mut Vec::new(), &mut set);
    set
}

fn collect(at: NodeRef<'_>, value: &Value, path: &mut Vec<Element>, set: &mut FieldSet) {
    match value {
        Value::Object(fields) if !at.atomic() => {
            for (name, child) in fields {
                path.push(Element::field(name));
                let field = at.field(name);
                collect(at.child(name), child, path, set);
                let empty = child.as_object().is_some_and(Map::is_empty);
                if child.is_null() || empty || !matches!(field, Field::Declared(_)) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Value::Array(items) => match elements(at, items) {
            None => set.insert(path),
            Some(items) => {
                for (element, item) in items {
                    path.push(element);
                    collect(at.item(), item, path, set);
                    set.insert(path);
                    path.pop();
                }
            }
        },
        _ => set.insert(path),
    }
}

// === two values ===

/// In what `new` differs from `old`.
pub(crate) fn compare(at: NodeRef<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    differ(at, Some(old), Some(new), &mut Vec::new(), &mut comparison);
    comparison
}

fn differ(
    at: NodeRef<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    found: &mut Comparison,
) {
    let leaf = |path: &[Element], found: &mut Comparison| match (old, new) {
        (None, Some(_)) => found.added.insert(path),
        (Some(_), None) => found.removed.insert(path),
        (old, new) if old != new => found.modified.insert(path),
        _ => {}
    };
    if old == new && old.is_some() {
        return;
    }
    let Some(pairs) = pairs(at, old, new) else {
        leaf(path, found);
        return;
    };
    for (element, at, old, new) in pairs {
        path.push(element);
        differ(at, old, new, path, found);
        path.pop();
    }
    match (old, new) {
        (None, _) => found.added.insert(path),
        (_, None) => found.removed.insert(path),
        _ => {}
    }
}

type Pair<'a> = (Element, NodeRef<'a>, Option<&'a Value>, Option<&'a Value>);

/// What is inside two values, matched up; `None` when they are to be compared as wholes.
fn pairs<'a>(
    at: NodeRef<'a>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> Option<Vec<Pair<'a>>> {
    let empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    if empty(old) && empty(new) {
        return None;
    }
    let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    let (old_map, new_map) = (
        old.and_then(Value::as_object),
        new.and_then(Value::as_object),
    );
    if (old_map.is_some() || absent(old)) && (new_map.is_some() || absent(new)) {
        if at.atomic() {
            return None;
        }
        let names: BTreeSet<&String> = [old_map, new_map]
            .into_iter()
            .flatten()
            .flat_map(Map::keys)
            .collect();
        let pair = |name: &String| {
            let side = |map: Option<&'a Map<String, Value>>| map.and_then(|map| map.get(name));
            (
                Element::field(name),
                at.child(name),
                side(old_map),
                side(new_map),
            )
        };
        return Some(names.into_iter().map(pair).collect());
    }
    let items = |value: Option<&'a Value>| -> Option<BTreeMap<Element, &'a Value>> {
        match value {
            None | Some(Value::Null) => Some(BTreeMap::new()),
            Some(Value::Array(items)) => Some(elements(at, items)?.into_iter().collect()),
            Some(_) => None,
        }
    };
    let (old, new) = (items(old)?, items(new)?);
    let all: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
    let pair = |element: &Element| {
        (
            element.clone(),
            at.item(),
            old.get(element).copied(),
            new.get(element).copied(),
        )
    };
    Some(all.into_iter().map(pair).collect())
}

// === one value into another ===

/// `config` merged into `live`: what both have is taken from `config`.
pub(crate) fn merge(at: NodeRef<'_>, live: &Value, config: &Value) -> Value {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if !at.atomic() => {
            let mut merged = live.clone();
            for (name, value) in config {
                let value = match live.get(name) {
                    Some(old) => merge(at.child(name), old, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(old), Value::Array(new)) => match (elements(at, old), elements(at, new)) {
            (Some(old), Some(new)) => Value::Array(merge_items(at, &old, &new)),
            _ => config.clone(),
        },
        _ => config.clone(),
    }
}

/// Items in the order of `new`; those of `old` alone stay before the item that they preceded.
fn merge_items(
    at: NodeRef<'_>,
    old: &[(Element, &Value)],
    new: &[(Element, &Value)],
) -> Vec<Value> {
    let known: BTreeMap<&Element, &Value> = old.iter().map(|(e, value)| (e, *value)).collect();
    let coming: BTreeSet<&Element> = new.iter().map(|(element, _)| element).collect();
    let mut merged = Vec::new();
    let mut rest = old.iter().peekable();
    for (element, value) in new {
        if known.contains_key(element) {
            while let Some((passed, item)) = rest.next_if(|(e, _)| e != element) {
                if !coming.contains(passed) {
                    merged.push((*item).clone());
                }
            }
            rest.next_if(|(e, _)| e == element);
        }
        merged.push(match known.get(element) {
            Some(item) => merge(at.item(), item, value),
            None => (*value).clone(),
        });
    }
    merged.extend(
        rest.filter(|(element, _)| !coming.contains(element))
            .map(|(_, item)| (*item).clone()),
    );
    merged
}

// === fields taken out ===

/// Takes the members of a set, and all below them, out of a value.
pub(crate) fn remove(at: NodeRef<'_>, value: &mut Value, set: &FieldSet) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, child| {
                let element = Element::field(name);
                if set.members.contains(&element) {
                    return false;
                }
                if let Some(below) = set.children.get(&element) {
                    remove(at.child(name), child, below);
                }
                true
            });
        }
        Value::Array(items) => items.retain_mut(|item| {
            let Some(element) = element(at, item) else {
                return true;
            };
            if set.members.contains(&element) {
                return false;
            }
            if let Some(below) = set.children.get(&element) {
                remove(at.item(), item, below);
            }
            true
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::schema::{Definitions, Schema, SchemaRef, compile::compile};

    fn schema() -> Schema {
        let node = compile(&json!({"type": "object", "properties": {
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "struct": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
            "one": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}},
            "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "proto"],
                "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "proto": {"type": "string", "default": "TCP"}, "v": {"type": "integer"},
                }}},
        }}));
        Schema {
            root: Arc::new(SchemaRef::Inline(Box::new(node.expect("schema")))),
            definitions: Arc::new(Definitions::new()),
        }
    }

    #[test]
    fn the_fields_of_a_value_stop_at_what_is_atomic() {
        let schema = schema();
        let set = field_set(
            schema.at_root(),
            &json!({
                "map": {"k": "v"}, "struct": {"a": 1}, "one": {"k": "v"},
                "set": ["x"], "list": ["x"], "items": [{"name": "a", "v": 1}],
            }),
        );
        assert_eq!(
            set.encode(),
            json!({
                "f:map": {"f:k": {}}, "f:struct": {"f:a": {}}, "f:one": {}, "f:set": {"v:\"x\"": {}}, "f:list": {},
                "f:items": {"k:{\"name\":\"a\",\"proto\":\"TCP\"}": {".": {}, "f:name": {}, "f:v": {}}},
            })
        );
    }

    #[test]
    fn a_comparison_names_what_was_added_changed_and_removed() {
        let schema = schema();
        let found = compare(
            schema.at_root(),
            &json!({"map": {"k": "v", "gone": "x"}, "set": ["x"], "items": [{"name": "a", "v": 1}]}),
            &json!({"map": {"k": "w"}, "set": ["x", "y"], "struct": {"a": 1},
                    "items": [{"name": "a", "v": 1, "proto": "UDP"}]}),
        );
        assert_eq!(
            found.added.paths(),
            [
                ".items[name=\"a\",proto=\"UDP\"]",
                ".items[name=\"a\",proto=\"UDP\"].name",
                ".items[name=\"a\",proto=\"UDP\"].proto",
                ".items[name=\"a\",proto=\"UDP\"].v",
                ".set[=\"y\"]",
                ".struct",
                ".struct.a",
            ]
        );
        assert_eq!(found.modified.paths(), [".map.k"]);
        assert_eq!(
            found.removed.paths(),
            [
                ".items[name=\"a\",proto=\"TCP\"]",
                ".items[name=\"a\",proto=\"TCP\"].name",
                ".items[name=\"a\",proto=\"TCP\"].v",
                ".map.gone",
            ]
        );
    }

    #[test]
    fn items_are_merged_by_key_in_the_order_of_the_applied_list() {
        let schema = schema();
        let merged = merge(
            schema.at_root(),
            &json!({"items": [{"name": "x"}, {"name": "a", "v": 1}, {"name": "y"}, {"name": "b"}], "list": ["1"], "set": ["p", "q"]}),
            &json!({"items": [{"name": "b", "v": 2}, {"name": "a"}, {"name": "n"}], "list": ["2"], "set": ["q", "r"]}),
        );
        assert_eq!(
            merged,
            json!({
                "items": [{"name": "x"}, {"name": "y"}, {"name": "b", "v": 2}, {"name": "a", "v": 1}, {"name": "n"}],
                "list": ["2"], "set": ["p", "q", "r"],
            })
        );
    }

    #[test]
    fn members_are_taken_out_with_all_below_them() {
        let schema = schema();
        let mut value =
            json!({"map": {"k": "v", "l": "w"}, "items": [{"name": "a"}, {"name": "b", "v": 1}]});
        let set = FieldSet::parse(&json!({
            "f:map": {"f:k": {}},
            "f:items": {"k:{\"name\":\"a\",\"proto\":\"TCP\"}": {".": {}, "f:name": {}},
                        "k:{\"name\":\"b\",\"proto\":\"TCP\"}": {"f:v": {}}},
        }));
        remove(schema.at_root(), &mut value, &set);
        assert_eq!(value, json!({"map": {"l": "w"}, "items": [{"name": "b"}]}));
    }
}
