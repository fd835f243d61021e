//! The cases of <https://kubernetes.io/docs/reference/using-api/server-side-apply/>, on a real
//! schema.

use super::*;
use crate::{
    resource::{Resource, registry::Registry},
    status::Failure,
};

fn deployments() -> std::sync::Arc<Resource> {
    let registry = Registry::builtin();
    std::sync::Arc::clone(registry.find("apps", "v1", "deployments").unwrap())
}

fn writer<'a>(resource: &'a Resource, name: &str, operation: Operation, part: &str) -> Writer<'a> {
    Writer {
        at: resource.schema.at_root(),
        manager: Manager {
            name: name.to_owned(),
            operation,
            api_version: "apps/v1".to_owned(),
            subresource: part.to_owned(),
        },
        status: true,
        now: "2024-01-01T00:00:00Z".to_owned(),
    }
}

fn apply(live: &Value, name: &str, force: bool, config: Value) -> Result<Value, Failure> {
    let resource = deployments();
    let mut applied = writer(&resource, name, Operation::Apply, "").apply(live, &config, force)?;
    // What the server would add to a stored object.
    applied["metadata"]["uid"] = json!("1");
    Ok(applied)
}

fn update(live: &Value, name: &str, part: &str, change: impl FnOnce(&mut Value)) -> Value {
    let resource = deployments();
    let mut new = live.clone();
    change(&mut new);
    writer(&resource, name, Operation::Update, part).update(live, &mut new);
    new
}

fn fields(object: &Value, manager: &str) -> Value {
    let managed = object["metadata"]["managedFields"].as_array().unwrap();
    managed
        .iter()
        .find(|entry| entry["manager"] == manager)
        .map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn config(replicas: Option<u64>, containers: Value) -> Value {
    let mut spec = json!({"template": {"spec": {"containers": containers}}});
    if let Some(replicas) = replicas {
        spec["replicas"] = replicas.into();
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec})
}

#[test]
fn an_applier_owns_exactly_what_it_applies() {
    let object = apply(
        &json!({}),
        "one",
        false,
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "namespace": "n", "labels": {"app": "a"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": {"spec": {"containers": [
                {"name": "c", "image": "i", "ports": [{"containerPort": 80}]},
            ]}}},
        }),
    )
    .unwrap();
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "one", "operation": "Apply", "apiVersion": "apps/v1",
            "time": "2024-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:replicas": {}, "f:selector": {},
                    "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                        ".": {}, "f:name": {}, "f:image": {},
                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    }}}},
                },
            },
        }])
    );
}

#[test]
fn a_field_of_another_manager_is_a_conflict_unless_it_is_the_same_or_forced() {
    let one = apply(&json!({}), "one", false, config(Some(1), json!([]))).unwrap();
    let conflict = apply(&one, "two", false, config(Some(2), json!([]))).unwrap_err();
    assert_eq!((conflict.code, conflict.reason), (409, "Conflict"));
    assert_eq!(
        conflict.message,
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    assert_eq!(
        conflict.details.unwrap()["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.replicas"}])
    );
    let shared = apply(&one, "two", false, config(Some(1), json!([]))).unwrap();
    assert_eq!(fields(&shared, "one")["f:spec"]["f:replicas"], json!({}));
    assert_eq!(fields(&shared, "two")["f:spec"]["f:replicas"], json!({}));

    let forced = apply(&one, "two", true, config(Some(2), json!([]))).unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(fields(&forced, "one"), Value::Null);
    assert_eq!(fields(&forced, "two")["f:spec"]["f:replicas"], json!({}));
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = apply(&json!({}), "one", false, config(Some(1), json!([]))).unwrap();
    let live = update(&live, "hpa", "scale", |live| {
        live["spec"]["replicas"] = json!(5);
    });
    let live = apply(
        &live,
        "one",
        false,
        config(None, json!([{"name": "c", "image": "a"}])),
    )
    .unwrap();
    let conflict = apply(
        &live,
        "two",
        false,
        config(Some(3), json!([{"name": "c", "image": "b"}])),
    )
    .unwrap_err();
    assert_eq!(
        conflict.message,
        "Apply failed with 2 conflicts: conflicts with \"hpa\" with subresource \"scale\" using apps/v1:\n- .spec.replicas\nconflicts with \"one\":\n- .spec.template.spec.containers[name=\"c\"].image"
    );
}

#[test]
fn what_is_applied_no_longer_goes_unless_another_owns_it() {
    let containers =
        json!([{"name": "c", "image": "a", "env": [{"name": "E", "value": "1"}]}, {"name": "d"}]);
    let one = apply(&json!({}), "one", false, config(Some(1), containers)).unwrap();
    let both = apply(&one, "two", false, config(Some(1), json!([{"name": "d"}]))).unwrap();
    let left = apply(
        &both,
        "one",
        false,
        config(None, json!([{"name": "c", "image": "a"}])),
    )
    .unwrap();
    assert_eq!(left["spec"]["replicas"], 1, "two still owns it");
    assert_eq!(
        left["spec"]["template"]["spec"]["containers"],
        json!([{"name": "c", "image": "a"}, {"name": "d"}])
    );
    let gone = apply(&left, "two", false, config(None, json!([]))).unwrap();
    assert_eq!(gone["spec"].get("replicas"), None);
    assert_eq!(
        gone["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(fields(&gone, "two"), Value::Null);
}

#[test]
fn what_nobody_owns_stays() {
    let mut one = apply(
        &json!({}),
        "one",
        false,
        config(None, json!([{"name": "c"}])),
    )
    .unwrap();
    one["spec"]["revisionHistoryLimit"] = json!(10);
    one["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let again = apply(&one, "one", false, config(Some(2), json!([{"name": "c"}]))).unwrap();
    assert_eq!(again["spec"]["revisionHistoryLimit"], 10);
    assert_eq!(
        again["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"],
        "Always"
    );
    let without = apply(&again, "one", false, config(Some(2), json!([]))).unwrap();
    assert_eq!(
        without["spec"]["template"]["spec"].get("containers"),
        None,
        "an item goes with the defaults in it"
    );
}

#[test]
fn an_update_takes_what_it_changes_and_loses_what_it_removes() {
    let one = apply(
        &json!({}),
        "one",
        false,
        config(Some(1), json!([{"name": "c", "image": "a"}])),
    )
    .unwrap();
    let scaled = update(&one, "gateway", "scale", |live| {
        live["spec"]["replicas"] = json!(4);
    });
    assert_eq!(
        fields(&scaled, "gateway"),
        json!({"f:spec": {"f:replicas": {}}})
    );
    let entry = &scaled["metadata"]["managedFields"][1];
    assert_eq!(
        (entry["subresource"].as_str(), entry["operation"].as_str()),
        (Some("scale"), Some("Update"))
    );
    assert!(fields(&scaled, "one")["f:spec"].get("f:replicas").is_none());

    let kept = apply(
        &scaled,
        "one",
        false,
        config(None, json!([{"name": "c", "image": "a"}])),
    )
    .unwrap();
    assert_eq!(
        kept["spec"]["replicas"], 4,
        "the gateway's number is not the operator's"
    );

    let removed = update(&kept, "editor", "", |live| {
        live["spec"]["template"]["spec"]["containers"] = json!([]);
    });
    assert!(
        !fields(&removed, "one").to_string().contains("f:containers"),
        "{}",
        fields(&removed, "one")
    );
    assert_eq!(
        fields(&removed, "editor"),
        Value::Null,
        "a removal is owned by nobody"
    );
}

#[test]
fn an_update_without_a_change_owns_nothing() {
    let one = apply(&json!({}), "one", false, config(Some(1), json!([]))).unwrap();
    assert_eq!(update(&one, "two", "", |_| {}), one);
}

#[test]
fn status_belongs_to_the_status_subresource() {
    let live = json!({"metadata": {"name": "x", "uid": "1"}, "spec": {}, "status": {}});
    let main = update(&live, "one", "", |live| {
        live["status"]["replicas"] = json!(1);
    });
    assert_eq!(main["metadata"].get("managedFields"), None);
    let status = update(&live, "one", "status", |live| {
        live["status"]["replicas"] = json!(1);
    });
    assert_eq!(
        fields(&status, "one"),
        json!({"f:status": {"f:replicas": {}}})
    );
}

#[test]
fn the_first_apply_meets_what_was_there_before() {
    let live = json!({"metadata": {"name": "x", "uid": "1"}, "spec": {"replicas": 3}});
    let conflict = apply(&live, "one", false, config(Some(1), json!([]))).unwrap_err();
    assert!(
        conflict
            .message
            .contains("\"before-first-apply\" using apps/v1"),
        "{}",
        conflict.message
    );
}

#[test]
fn ownership_can_be_reset() {
    let one = apply(&json!({}), "one", false, config(Some(1), json!([]))).unwrap();
    let reset = update(&one, "two", "", |live| {
        live["metadata"]["managedFields"] = json!([{}]);
    });
    assert_eq!(reset["metadata"].get("managedFields"), None);
}

#[test]
fn the_number_of_updaters_is_bounded() {
    let mut live = json!({"metadata": {"name": "x", "uid": "1", "labels": {}}});
    for n in 0..15 {
        live = update(&live, &format!("m{n:02}"), "", |live| {
            live["metadata"]["labels"][format!("l{n}")] = json!("x");
        });
    }
    let managed = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managed.len(), 10);
    assert!(fields(&live, "ancient-changes").is_object());
}

#[test]
fn an_object_keeps_its_name_when_its_labels_are_applied_no_more() {
    let named = |labels: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": labels}});
    let live = apply(&json!({}), "one", false, named(json!({"app": "a"}))).unwrap();
    let live = apply(&live, "one", false, config(Some(1), json!([]))).unwrap();
    assert_eq!(live["metadata"]["name"], "x");
    assert_eq!(live["metadata"]["labels"], Value::Null);
    assert_eq!(live["spec"]["replicas"], 1);
}
