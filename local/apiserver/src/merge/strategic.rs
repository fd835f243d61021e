//! Strategic merge patch
//! (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>).

use serde_json::{Map, Value};

use crate::{schema::NodeRef, status::Failure};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_ITEMS: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// `patch` merged into `target`, whose schema is at `at`.
pub(crate) fn strategic(at: NodeRef<'_>, target: &Value, patch: &Value) -> Result<Value, Failure> {
    let (Some(target), Some(patch)) = (target.as_object(), patch.as_object()) else {
        return Err(Failure::bad_request(
            "a strategic merge patch must be an object",
        ));
    };
    merge_object(at, target.clone(), patch).map(Value::Object)
}

fn merge_object(at: NodeRef<'_>, mut target: Object, patch: &Object) -> Result<Object, Failure> {
    match patch
        .get(DIRECTIVE)
        .map(|directive| directive.as_str().unwrap_or_default())
    {
        None | Some("merge") => {}
        Some("replace") => {
            let mut new = patch.clone();
            new.remove(DIRECTIVE);
            return Ok(new);
        }
        Some("delete") => return Ok(Object::new()),
        Some(other) => return Err(unknown(other)),
    }
    if let Some(retained) = patch.get(RETAIN) {
        let keys = list(retained, RETAIN)?;
        let retained = |name: &String| keys.iter().any(|key| key.as_str() == Some(name));
        if let Some(name) = patch
            .keys()
            .find(|name| !name.starts_with('$') && !retained(name))
        {
            return Err(Failure::bad_request(format!(
                "the patch sets {name:?}, which {RETAIN} does not list"
            )));
        }
        target.retain(|name, _| retained(name));
    }
    for (name, items) in directives(patch, DELETE_ITEMS) {
        let gone = list(items, DELETE_ITEMS)?;
        if let Some(Value::Array(items)) = target.get_mut(name) {
            items.retain(|item| !gone.contains(item));
        }
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let child = at.child(name);
        let order = patch.get(&format!("{ORDER}{name}"));
        let merged = match (target.get(name), value) {
            (_, Value::Null) => {
                target.remove(name);
                continue;
            }
            (Some(Value::Object(old)), Value::Object(new))
                if !at.node.is_some_and(|node| node.replaced.contains(name)) =>
            {
                Value::Object(merge_object(child, old.clone(), new)?)
            }
            (None | Some(_), Value::Object(new)) => {
                Value::Object(merge_object(child, Object::new(), new)?)
            }
            (old, Value::Array(new)) => {
                let old = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                Value::Array(merge_list(child, old, new, order)?)
            }
            (_, scalar) => scalar.clone(),
        };
        target.insert(name.clone(), merged);
    }
    // An order may come alone, when only the order changes.
    for (name, order) in directives(patch, ORDER) {
        if !patch.contains_key(name)
            && let Some(Value::Array(items)) = target.get(name)
        {
            let merged = merge_list(at.child(name), items, &[], Some(order))?;
            target.insert(name.to_owned(), Value::Array(merged));
        }
    }
    Ok(target)
}

fn merge_list(
    at: NodeRef<'_>,
    old: &[Value],
    new: &[Value],
    order: Option<&Value>,
) -> Result<Vec<Value>, Failure> {
    let patch = at.node.map(|node| &node.patch);
    if !patch.is_some_and(|patch| patch.merge) {
        return Ok(without_directives(new));
    }
    let key = patch.and_then(|patch| patch.merge_key.as_deref());
    if new.iter().any(|item| item[DIRECTIVE] == "replace") {
        return Ok(without_directives(new));
    }
    let merged = match key {
        None => {
            let mut merged = old.to_vec();
            for item in new {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            merged
        }
        Some(key) => merge_items(at, old, new, key)?,
    };
    match order {
        Some(order) => Ok(sort(old, merged, list(order, ORDER)?, key)),
        None => Ok(merged),
    }
}

fn merge_items(
    at: NodeRef<'_>,
    old: &[Value],
    new: &[Value],
    key: &str,
) -> Result<Vec<Value>, Failure> {
    let mut merged = old.to_vec();
    for item in new {
        let Some(patch) = item.as_object() else {
            return Err(Failure::bad_request(format!(
                "an item of a list that is merged by {key:?} must be an object"
            )));
        };
        let Some(value) = patch.get(key).filter(|value| !value.is_null()) else {
            return Err(Failure::bad_request(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        };
        let same = |item: &Value| item[key] == *value;
        match patch
            .get(DIRECTIVE)
            .map(|directive| directive.as_str().unwrap_or_default())
        {
            Some("delete") => merged.retain(|item| !same(item)),
            None | Some("merge") => match merged.iter().position(same) {
                Some(index) => {
                    let old = merged[index].as_object().cloned().unwrap_or_default();
                    merged[index] = Value::Object(merge_object(at.item(), old, patch)?);
                }
                None => merged.push(Value::Object(merge_object(
                    at.item(),
                    Object::new(),
                    patch,
                )?)),
            },
            Some(other) => return Err(unknown(other)),
        }
    }
    Ok(merged)
}

/// Items in the wanted order; those that it does not name go before the first named one that
/// followed them.
fn sort(old: &[Value], merged: Vec<Value>, order: &[Value], key: Option<&str>) -> Vec<Value> {
    let identity = |item: &Value| key.map_or_else(|| item.clone(), |key| item[key].clone());
    let wanted: Vec<Value> = order.iter().map(identity).collect();
    let place = |item: &Value| wanted.iter().position(|one| *one == identity(item));
    let before = |item: &Value| old.iter().position(|one| identity(one) == identity(item));
    let (mut named, rest): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(item).is_some());
    named.sort_by_key(|item| place(item));
    let mut from = 0;
    for item in rest {
        let mine = before(&item);
        let follows =
            |other: &Value| mine.is_some() && before(other).is_some_and(|index| Some(index) > mine);
        let at = (from..named.len())
            .find(|index| follows(&named[*index]))
            .unwrap_or(named.len());
        named.insert(at, item);
        from = at + 1;
    }
    named
}

fn without_directives(items: &[Value]) -> Vec<Value> {
    items
        .iter()
        .filter(|item| item.get(DIRECTIVE).is_none())
        .cloned()
        .collect()
}

fn directives<'a>(
    patch: &'a Object,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    patch
        .iter()
        .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value)))
}

fn list<'a>(value: &'a Value, directive: &str) -> Result<&'a [Value], Failure> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| Failure::bad_request(format!("the directive {directive} must be a list")))
}

fn unknown(directive: &str) -> Failure {
    Failure::bad_request(format!("unknown patch type in map: {directive:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::schemas::builtins;

    fn patched(target: Value, patch: Value) -> Value {
        let schema = builtins().schema("io.k8s.api.apps.v1.Deployment");
        let at = schema
            .at_root()
            .child("spec")
            .child("template")
            .child("spec");
        strategic(at, &target, &patch).expect("patched")
    }

    #[test]
    fn items_are_merged_by_their_key() {
        assert_eq!(
            patched(
                json!({"containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}]}),
                json!({"containers": [{"name": "a", "env": [{"name": "F", "value": "2"}]}, {"name": "b", "image": "y"}]}),
            ),
            json!({"containers": [
                {"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]},
                {"name": "b", "image": "y"},
            ]})
        );
    }

    #[test]
    fn items_and_fields_can_be_deleted_and_lists_replaced() {
        let target = json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n", "tolerations": [{"key": "x"}]});
        assert_eq!(
            patched(
                target.clone(),
                json!({"containers": [{"name": "a", "$patch": "delete"}], "nodeName": null, "tolerations": []})
            ),
            json!({"containers": [{"name": "b"}], "tolerations": []})
        );
        assert_eq!(
            patched(
                target,
                json!({"containers": [{"name": "c"}, {"$patch": "replace"}]})
            )["containers"],
            json!([{"name": "c"}])
        );
    }

    #[test]
    fn a_map_can_be_replaced() {
        assert_eq!(
            patched(
                json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}}),
                json!({"securityContext": {"$patch": "replace", "runAsUser": 3}}),
            ),
            json!({"securityContext": {"runAsUser": 3}})
        );
    }

    #[test]
    fn a_map_whose_strategy_is_to_be_replaced_is_not_merged() {
        let schema = builtins().schema("io.k8s.api.policy.v1.PodDisruptionBudget");
        let target = json!({"spec": {
            "minAvailable": 1,
            "selector": {"matchLabels": {"app": "a", "tier": "b"}},
        }});
        let patch = json!({"spec": {"selector": {"matchLabels": {"app": "c", "tier": null}}}});
        assert_eq!(
            strategic(schema.at_root(), &target, &patch).expect("patched"),
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "c"}}}})
        );
        let patch = json!({"spec": {"selector": {"matchExpressions": []}}});
        assert_eq!(
            strategic(schema.at_root(), &target, &patch).expect("patched")["spec"]["selector"],
            json!({"matchExpressions": []})
        );
    }

    #[test]
    fn retained_keys_drop_the_others() {
        assert_eq!(
            patched(
                json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
                json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}),
            ),
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})
        );
    }

    #[test]
    fn the_order_is_set_and_others_keep_their_neighbours() {
        assert_eq!(
            patched(
                json!({"containers": [{"name": "s"}, {"name": "a"}, {"name": "b"}, {"name": "t"}]}),
                json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "n"}],
                       "containers": [{"name": "n"}]}),
            ),
            json!({"containers": [{"name": "s"}, {"name": "b"}, {"name": "a"}, {"name": "n"}, {"name": "t"}]})
        );
    }

    #[test]
    fn scalars_of_a_merged_list_are_added_once_and_deleted_by_value() {
        let schema = builtins().schema("io.k8s.api.core.v1.Pod");
        let at = schema.at_root();
        let target = json!({"metadata": {"finalizers": ["a/x", "b/x"]}});
        let patch = json!({"metadata": {"finalizers": ["b/x", "c/x"], "$deleteFromPrimitiveList/finalizers": ["a/x"]}});
        assert_eq!(
            strategic(at, &target, &patch).expect("patched")["metadata"]["finalizers"],
            json!(["b/x", "c/x"])
        );
    }

    #[test]
    fn patches_that_make_no_sense_are_refused() {
        let schema = builtins().schema("io.k8s.api.apps.v1.Deployment");
        let at = schema
            .at_root()
            .child("spec")
            .child("template")
            .child("spec");
        for patch in [
            json!([]),
            json!({"$patch": "explode"}),
            json!({"containers": [{"image": "x"}]}),
            json!({"containers": ["x"]}),
            json!({"$retainKeys": "x"}),
        ] {
            let failure = strategic(at, &json!({}), &patch).expect_err("refused");
            assert_eq!(failure.code, 400, "{patch}");
        }
    }
}
