//! Deletion: grace, finalizers, propagation, namespaces, preconditions, collections, evictions.

use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    fixtures::{CONFIG_MAPS, PODS},
    requests::{call, eventually, typed},
};

/// A pod that no scheduler takes, or one on a node that is not there.
fn pod(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]},
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

#[tokio::test]
async fn a_running_pod_gets_its_grace_and_goes_when_the_node_says_so() {
    let (_cluster, client) = cluster().await;
    let path = format!("{PODS}/p");
    call(&client, "POST", PODS, pod("p", Some("elsewhere"))).await;
    let (code, marked) = call(&client, "DELETE", &path, Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let (_, same) = call(&client, "DELETE", &path, json!({"gracePeriodSeconds": 60})).await;
    assert_eq!(same, marked, "a later deletion cannot take longer");
    let (_, sooner) = call(&client, "DELETE", &path, json!({"gracePeriodSeconds": 5})).await;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let (code, body) = call(&client, "POST", PODS, pod("p", None)).await;
    assert_eq!(code, 409);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .starts_with("object is being deleted: "),
        "{body}"
    );
    let (code, _) = call(&client, "DELETE", &path, json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(code, 200);
    assert_eq!(call(&client, "GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_pod_that_runs_nowhere_or_is_finished_goes_at_once() {
    let (_cluster, client) = cluster().await;
    call(&client, "POST", PODS, pod("unbound", None)).await;
    call(&client, "POST", PODS, pod("done", Some("elsewhere"))).await;
    call(
        &client,
        "PATCH",
        &format!("{PODS}/done/status"),
        json!({"status": {"phase": "Succeeded"}}),
    )
    .await;
    for name in ["unbound", "done"] {
        let path = format!("{PODS}/{name}");
        assert_eq!(call(&client, "DELETE", &path, Value::Null).await.0, 200);
        assert_eq!(
            call(&client, "GET", &path, Value::Null).await.0,
            404,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_finalizer_holds_an_object_and_no_new_one_can_be_added() {
    let (_cluster, client) = cluster().await;
    let path = format!("{CONFIG_MAPS}/x");
    let new = json!({"metadata": {"name": "x", "finalizers": ["example.com/hold"]}});
    call(&client, "POST", CONFIG_MAPS, new).await;
    let (code, marked) = call(&client, "DELETE", &path, Value::Null).await;
    assert_eq!((code, marked["kind"].as_str()), (200, Some("ConfigMap")));
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let (code, body) = call(&client, "PATCH", &path, more).await;
    assert_eq!(code, 422, "{body}");
    let (code, _) = call(
        &client,
        "PATCH",
        &path,
        json!({"metadata": {"finalizers": []}}),
    )
    .await;
    assert_eq!(code, 200);
    assert_eq!(call(&client, "GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_an_object_owns_goes_with_it_or_before_it_or_stays() {
    let (_cluster, client) = cluster().await;
    for (policy, finalizers) in [
        (
            "Foreground",
            json!(["example.com/hold", "foregroundDeletion"]),
        ),
        ("Orphan", json!(["example.com/hold", "orphan"])),
        ("Background", json!(["example.com/hold"])),
    ] {
        let name = policy.to_lowercase();
        let held = json!({"metadata": {"name": name, "finalizers": ["example.com/hold"]}});
        let (code, owner) = call(&client, "POST", CONFIG_MAPS, held).await;
        assert_eq!(code, 201, "{owner}");
        let owned = json!({"metadata": {"name": format!("{name}-child"), "ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": true,
        }]}});
        let (code, body) = call(&client, "POST", CONFIG_MAPS, owned).await;
        assert_eq!(code, 201, "{body}");
        let path = format!("{CONFIG_MAPS}/{name}");
        let how = json!({"propagationPolicy": policy});
        let (code, marked) = call(&client, "DELETE", &path, how).await;
        assert_eq!(code, 200, "{marked}");
        let mut found: Vec<Value> = marked["metadata"]["finalizers"].as_array().unwrap().clone();
        found.sort_by_key(ToString::to_string);
        assert_eq!(json!(found), finalizers, "{policy}");
        let release = json!([{"op": "test", "path": "/metadata/finalizers", "value": ["example.com/hold"]},
            {"op": "remove", "path": "/metadata/finalizers"}]);
        // The garbage collector takes its own finalizer away when its work is done.
        eventually("the owner to go", async || {
            let kind = "application/json-patch+json";
            let (code, _) = typed(&client, "PATCH", &path, kind, release.clone()).await;
            (code == 200 || code == 404).then_some(())
        })
        .await;
        eventually("the owner to be gone", async || {
            (call(&client, "GET", &path, Value::Null).await.0 == 404).then_some(())
        })
        .await;
        eventually("the child to be let go or to go", async || {
            let (code, child) = call(&client, "GET", &format!("{path}-child"), Value::Null).await;
            let orphaned = code == 200 && child["metadata"].get("ownerReferences").is_none();
            (if policy == "Orphan" {
                orphaned
            } else {
                code == 404
            })
            .then_some(())
        })
        .await;
    }
    let how = json!({"propagationPolicy": "Sideways"});
    let path = format!("{CONFIG_MAPS}/orphan-child");
    let (code, body) = call(&client, "DELETE", &path, how).await;
    assert_eq!(code, 422, "{body}");
}

#[tokio::test]
async fn preconditions_and_dry_runs_delete_nothing() {
    let (_cluster, client) = cluster().await;
    let path = format!("{CONFIG_MAPS}/x");
    let (_, made) = call(
        &client,
        "POST",
        CONFIG_MAPS,
        json!({"metadata": {"name": "x"}}),
    )
    .await;
    for wrong in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let (code, body) = call(&client, "DELETE", &path, json!({"preconditions": wrong})).await;
        assert_eq!((code, body["reason"].as_str()), (409, Some("Conflict")));
        assert!(
            body["message"]
                .as_str()
                .unwrap()
                .contains("in the precondition"),
            "{body}"
        );
    }
    let (code, _) = call(&client, "DELETE", &path, json!({"dryRun": ["All"]})).await;
    assert_eq!(code, 200);
    assert_eq!(
        call(&client, "GET", &path, Value::Null).await,
        (200, made.clone())
    );
    let right = json!({"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]});
    let (code, body) = call(&client, "DELETE", &path, json!({"preconditions": right})).await;
    assert_eq!((code, body["status"].as_str()), (200, Some("Success")));
    assert_eq!(body["details"]["uid"], made["metadata"]["uid"]);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let (_cluster, client) = cluster().await;
    for (name, app) in [("a", "one"), ("b", "one"), ("c", "two")] {
        let new = json!({"metadata": {"name": name, "labels": {"app": app}}});
        call(&client, "POST", CONFIG_MAPS, new).await;
    }
    let (code, body) = call(
        &client,
        "DELETE",
        &format!("{CONFIG_MAPS}?labelSelector=app%3Done"),
        Value::Null,
    )
    .await;
    assert_eq!((code, body["items"].as_array().unwrap().len()), (200, 2));
    let others = format!("{CONFIG_MAPS}?labelSelector=app");
    let (_, left) = call(&client, "GET", &others, Value::Null).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        call(&client, "DELETE", "/api/v1/configmaps", Value::Null)
            .await
            .0,
        405
    );
}

#[tokio::test]
async fn a_namespace_that_ends_takes_nothing_new_and_goes_after_what_is_in_it() {
    let (_cluster, client) = cluster().await;
    let namespaces = "/api/v1/namespaces";
    let (_, made) = call(
        &client,
        "POST",
        namespaces,
        json!({"metadata": {"generateName": "team-"}}),
    )
    .await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        name
    );
    let path = format!("{namespaces}/{name}");
    let inside = format!("{path}/configmaps");
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    assert_eq!(call(&client, "POST", &inside, held).await.0, 201);

    let (_, marked) = call(&client, "DELETE", &path, Value::Null).await;
    assert_eq!(marked["status"]["phase"], "Terminating");
    let (code, body) = call(&client, "POST", &inside, json!({"metadata": {"name": "x"}})).await;
    assert_eq!((code, body["reason"].as_str()), (403, Some("Forbidden")));
    assert_eq!(
        body["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    assert_eq!(
        body["message"],
        format!(
            "configmaps \"x\" is forbidden: unable to create new content in namespace {name} because it is being terminated"
        )
    );
    let free = json!({"metadata": {"finalizers": null}});
    let (code, _) = call(&client, "PATCH", &format!("{inside}/held"), free).await;
    assert_eq!(code, 200);
    eventually("the namespace to go", async || {
        (call(&client, "GET", &path, Value::Null).await.0 == 404).then_some(())
    })
    .await;
    // What admission knows of namespaces may be a moment old.
    let refused = eventually("admission to know of it", async || {
        let (code, body) = call(&client, "POST", &inside, json!({"metadata": {"name": "x"}})).await;
        (code == 404).then_some(body)
    })
    .await;
    assert_eq!(refused["message"], format!("namespaces {name:?} not found"));
    let (code, body) = call(&client, "DELETE", "/api/v1/namespaces/default", Value::Null).await;
    assert_eq!(code, 403, "{body}");
}

#[tokio::test]
async fn an_eviction_respects_the_disruption_budget() {
    let (_cluster, client) = cluster().await;
    for name in ["one", "two"] {
        call(&client, "POST", PODS, pod(name, Some("elsewhere"))).await;
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let (code, body) = call(&client, "PATCH", &format!("{PODS}/{name}/status"), ready).await;
        assert_eq!(code, 200, "{body}");
    }
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    let budgets = "/apis/policy/v1/namespaces/~/poddisruptionbudgets";
    assert_eq!(call(&client, "POST", budgets, budget).await.0, 201);
    let evict = async |name: &str| {
        let body =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        typed(
            &client,
            "POST",
            &format!("{PODS}/{name}/eviction"),
            "application/json",
            body,
        )
        .await
    };
    // Until its controller has seen the budget, it allows nothing.
    eventually("the first pod to be evicted", async || {
        let (code, body) = evict("one").await;
        (code == 201 && body["status"] == "Success").then_some(())
    })
    .await;
    let (code, body) = evict("two").await;
    assert_eq!(
        (code, body["reason"].as_str()),
        (429, Some("TooManyRequests"))
    );
    assert_eq!(
        body["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(body["details"]["causes"][0]["reason"], "DisruptionBudget");
    let (_, two) = call(&client, "GET", &format!("{PODS}/two"), Value::Null).await;
    assert!(two["metadata"].get("deletionTimestamp").is_none());
}

#[tokio::test]
async fn a_budget_without_a_selector_is_for_no_pods() {
    let (_cluster, client) = cluster().await;
    let budgets = "/apis/policy/v1/namespaces/~/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1}});
    assert_eq!(call(&client, "POST", budgets, budget).await.0, 201);
    let created = call(&client, "POST", PODS, pod("one", Some("elsewhere"))).await;
    assert_eq!(created.0, 201);
    // Only one that is healthy would be held back.
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let (code, body) = call(&client, "PATCH", &format!("{PODS}/one/status"), ready).await;
    assert_eq!(code, 200, "{body}");
    let path = format!("{PODS}/one/eviction");
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one"}});
    let (code, body) = typed(&client, "POST", &path, "application/json", body).await;
    assert_eq!(code, 201, "{body}");
}
