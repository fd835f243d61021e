//! Deletion: grace, finalizers, propagation, namespaces, preconditions, collections, evictions.

use serde_json::{Value, json};

use crate::support::{call, server, typed};

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn pod(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

#[tokio::test]
async fn a_running_pod_gets_its_grace_and_goes_when_the_node_says_so() {
    let (server, client) = server().await;
    let path = format!("{PODS}/p");
    call(&client, "POST", PODS, pod("p", Some("node"))).await;
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
    server.shutdown().await;
}

#[tokio::test]
async fn a_pod_that_runs_nowhere_or_is_finished_goes_at_once() {
    let (server, client) = server().await;
    call(&client, "POST", PODS, pod("unbound", None)).await;
    call(&client, "POST", PODS, pod("done", Some("node"))).await;
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
    server.shutdown().await;
}

#[tokio::test]
async fn a_finalizer_holds_an_object_and_no_new_one_can_be_added() {
    let (server, client) = server().await;
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
    server.shutdown().await;
}

#[tokio::test]
async fn propagation_is_told_to_the_garbage_collector() {
    let (server, client) = server().await;
    for (policy, finalizers) in [
        ("Foreground", json!(["foregroundDeletion"])),
        ("Orphan", json!(["orphan"])),
    ] {
        let path = format!("{CONFIG_MAPS}/x");
        call(
            &client,
            "POST",
            CONFIG_MAPS,
            json!({"metadata": {"name": "x"}}),
        )
        .await;
        let (_, marked) = call(
            &client,
            "DELETE",
            &path,
            json!({"propagationPolicy": policy}),
        )
        .await;
        assert_eq!(marked["metadata"]["finalizers"], finalizers, "{policy}");
        // Background takes the other policies back.
        call(
            &client,
            "DELETE",
            &path,
            json!({"propagationPolicy": "Background"}),
        )
        .await;
        assert_eq!(call(&client, "GET", &path, Value::Null).await.0, 404);
    }
    let (code, _) = call(
        &client,
        "DELETE",
        &format!("{CONFIG_MAPS}/x"),
        json!({"propagationPolicy": "Sideways"}),
    )
    .await;
    assert_eq!(code, 400);
    server.shutdown().await;
}

#[tokio::test]
async fn preconditions_and_dry_runs_delete_nothing() {
    let (server, client) = server().await;
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
                .contains("Precondition failed")
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
    server.shutdown().await;
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let (server, client) = server().await;
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
    let (_, left) = call(&client, "GET", CONFIG_MAPS, Value::Null).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        call(&client, "DELETE", "/api/v1/configmaps", Value::Null)
            .await
            .0,
        405
    );
    server.shutdown().await;
}

#[tokio::test]
async fn a_namespace_waits_for_its_controller_and_takes_nothing_new() {
    let (server, client) = server().await;
    let path = "/api/v1/namespaces/team";
    let (_, made) = call(
        &client,
        "POST",
        "/api/v1/namespaces",
        json!({"metadata": {"name": "team"}}),
    )
    .await;
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "team"
    );
    let (_, marked) = call(&client, "DELETE", path, Value::Null).await;
    assert_eq!(marked["status"]["phase"], "Terminating");
    let inside = "/api/v1/namespaces/team/configmaps";
    let (code, body) = call(&client, "POST", inside, json!({"metadata": {"name": "x"}})).await;
    assert_eq!((code, body["reason"].as_str()), (403, Some("Forbidden")));
    assert_eq!(
        body["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    let mut done = marked;
    done["spec"]["finalizers"] = json!([]);
    let (code, _) = call(&client, "PUT", &format!("{path}/finalize"), done).await;
    assert_eq!(code, 200);
    assert_eq!(call(&client, "GET", path, Value::Null).await.0, 404);
    let (code, body) = call(&client, "POST", inside, json!({"metadata": {"name": "x"}})).await;
    assert_eq!(
        (code, body["message"].as_str()),
        (404, Some("namespaces \"team\" not found"))
    );
    assert_eq!(
        call(&client, "DELETE", "/api/v1/namespaces/default", Value::Null)
            .await
            .0,
        403
    );
    server.shutdown().await;
}

#[tokio::test]
async fn an_eviction_respects_the_disruption_budget() {
    let (server, client) = server().await;
    for name in ["one", "two"] {
        call(&client, "POST", PODS, pod(name, Some("node"))).await;
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        call(&client, "PATCH", &format!("{PODS}/{name}/status"), ready).await;
    }
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
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
    assert_eq!(evict("one").await.0, 201);
    let (code, body) = evict("two").await;
    assert_eq!(
        (code, body["reason"].as_str()),
        (429, Some("TooManyRequests"))
    );
    assert_eq!(body["details"]["causes"][0]["reason"], "DisruptionBudget");
    let (_, two) = call(&client, "GET", &format!("{PODS}/two"), Value::Null).await;
    assert!(two["metadata"].get("deletionTimestamp").is_none());
    server.shutdown().await;
}
