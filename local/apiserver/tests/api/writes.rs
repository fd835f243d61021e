//! Creation, updates and patches of built-in kinds, and what is checked on the way.

use http::Request;
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    fixtures::{CONFIG_MAPS, DEPLOYMENTS, deployment},
    requests::{apply, call, send, typed},
};

#[tokio::test]
async fn names_are_given_or_generated_and_must_be_names() {
    let (_cluster, client) = cluster().await;
    let (code, made) = call(
        &client,
        "POST",
        CONFIG_MAPS,
        json!({"metadata": {"generateName": "x-"}}),
    )
    .await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert_eq!(code, 201);
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
    for (metadata, code) in [
        (json!({}), 422),
        (json!({"name": "Not A Name"}), 422),
        (json!({"name": name}), 409),
        (json!({"name": "y", "namespace": "other"}), 400),
        (json!({"name": "y", "resourceVersion": "5"}), 500),
        (json!({"name": "y", "labels": {"a b": "c"}}), 422),
        (json!({"name": "y", "labels": {"a": "b c"}}), 422),
        (json!({"name": "y", "labels": ["a"]}), 400),
        (
            json!({"name": "y", "finalizers": ["no slash or dot?"]}),
            422,
        ),
    ] {
        let (found, body) = call(&client, "POST", CONFIG_MAPS, json!({"metadata": metadata})).await;
        assert_eq!(found, code, "{metadata} {body}");
        assert_eq!(body["kind"], "Status");
    }
}

#[tokio::test]
async fn bodies_that_are_none_are_refused() {
    let (_cluster, client) = cluster().await;
    for (content_type, body, code) in [
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", "{\"kind\":\"Pod\"}", 400),
        ("application/json", "{\"apiVersion\":\"v2\"}", 400),
        ("application/yaml", "a: [", 400),
        ("text/plain", "x", 415),
        ("application/vnd.kubernetes.protobuf", "x", 400),
    ] {
        let request = Request::post(CONFIG_MAPS)
            .header("content-type", content_type)
            .body(body.as_bytes().to_vec())
            .unwrap();
        let response = send(&client, request).await;
        assert_eq!(response.status().as_u16(), code, "{content_type} {body}");
        assert_eq!(response.body()["status"], "Failure");
    }
    let huge = json!({"metadata": {"name": "x"}, "data": {"a": "x".repeat(4 * 1024 * 1024)}});
    let (code, body) = call(&client, "POST", CONFIG_MAPS, huge).await;
    assert_eq!(
        (code, body["reason"].as_str()),
        (413, Some("RequestEntityTooLarge"))
    );
    let big = json!({"metadata": {"name": "x"}, "data": {"a": "x".repeat(2 * 1024 * 1024)}});
    assert_eq!(call(&client, "POST", CONFIG_MAPS, big).await.0, 422);
    let yaml = "metadata: {name: z}\ndata: {a: \"1\"}\n";
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", "application/yaml")
        .body(yaml.as_bytes().to_vec())
        .unwrap();
    let response = send(&client, request).await;
    assert_eq!(
        (
            response.status().as_u16(),
            response.body()["data"]["a"].as_str()
        ),
        (201, Some("1"))
    );
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_refused() {
    let (_cluster, client) = cluster().await;
    for (method, path, code) in [
        ("GET", "/api/v1/nothings", 404),
        ("GET", "/apis/nothing.example.com/v1", 404),
        ("GET", "/nothing", 404),
        ("GET", "/openapi/v3/apis/nothing/v1", 404),
        ("POST", "/api/v1/namespaces/~/configmaps/x", 405),
        ("PUT", CONFIG_MAPS, 405),
        ("POST", "/api/v1/pods", 405),
        ("GET", "/api/v1/namespaces/~/configmaps/x/status", 404),
        ("GET", "/api/v1/namespaces/~/configmaps/x", 404),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/~/deployments/x/scale",
            405,
        ),
    ] {
        let (found, body) = call(&client, method, path, json!({})).await;
        assert_eq!(found, code, "{method} {path}");
        // Where there is no resource at all, there is no Status either.
        assert!(
            body["status"] == "Failure" || body.is_string(),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_answers_and_stores_nothing() {
    let (_cluster, client) = cluster().await;
    let (code, body) = call(
        &client,
        "POST",
        &format!("{DEPLOYMENTS}?dryRun=All"),
        deployment("x"),
    )
    .await;
    assert_eq!(
        (code, body["spec"]["revisionHistoryLimit"].as_i64()),
        (201, Some(10))
    );
    assert_eq!(
        call(&client, "GET", &format!("{DEPLOYMENTS}/x"), Value::Null)
            .await
            .0,
        404
    );
    let (code, _) = call(
        &client,
        "POST",
        &format!("{DEPLOYMENTS}?dryRun=Some"),
        deployment("x"),
    )
    .await;
    assert_eq!(code, 422);
    call(&client, "POST", DEPLOYMENTS, deployment("x")).await;
    let (code, body) = call(
        &client,
        "PATCH",
        &format!("{DEPLOYMENTS}/x?dryRun=All"),
        json!({"spec": {"replicas": 9}}),
    )
    .await;
    assert_eq!((code, body["spec"]["replicas"].as_i64()), (200, Some(9)));
    let (_, body) = call(&client, "GET", &format!("{DEPLOYMENTS}/x"), Value::Null).await;
    assert_eq!(body["spec"]["replicas"], 1);
}

#[tokio::test]
async fn all_patches_change_what_they_name() {
    let (_cluster, client) = cluster().await;
    call(&client, "POST", DEPLOYMENTS, deployment("x")).await;
    let path = format!("{DEPLOYMENTS}/x");
    let patch = async |kind: &str, body: Value| typed(&client, "PATCH", &path, kind, body).await;
    let (code, body) = patch(
        "application/json-patch+json",
        json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 2}]),
    )
    .await;
    assert_eq!(
        (code, body["spec"]["replicas"].as_i64()),
        (200, Some(2)),
        "{body}"
    );
    let (code, body) = patch(
        "application/strategic-merge-patch+json",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "j"}]}}}}),
    )
    .await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(
        body["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let (code, body) = patch(
        "application/merge-patch+json",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "e", "image": "k"}]}}}}),
    )
    .await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(
        body["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for (kind, body, expected) in [
        (
            "application/json-patch+json",
            json!([{"op": "test", "path": "/spec/replicas", "value": 7}]),
            422,
        ),
        ("application/json-patch+json", json!([{"op": "fly"}]), 422),
        ("application/json-patch+json", json!({}), 400),
        ("application/merge-patch+json", json!([]), 400),
        (
            "application/merge-patch+json",
            json!({"metadata": {"resourceVersion": "1"}}),
            409,
        ),
        (
            "application/merge-patch+json",
            json!({"metadata": {"uid": "1"}}),
            422,
        ),
        (
            "application/merge-patch+json",
            json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
            422,
        ),
        (
            "application/merge-patch+json",
            json!({"spec": {"replicas": -1}}),
            422,
        ),
        (
            "application/merge-patch+json",
            json!({"spec": {"replicas": "x"}}),
            422,
        ),
        ("application/x-fantasy", json!({}), 415),
    ] {
        let (code, answer) = patch(kind, body.clone()).await;
        assert_eq!(code, expected, "{kind} {body} {answer}");
    }
}

#[tokio::test]
async fn an_apply_that_changes_nothing_writes_nothing() {
    let (_cluster, client) = cluster().await;
    let path = format!("{DEPLOYMENTS}/x");
    let (_, first) = apply(&client, &path, "one", false, deployment("x")).await;
    let (code, second) = apply(&client, &path, "one", false, deployment("x")).await;
    assert_eq!((code, &second), (200, &first));
    assert_eq!(first["metadata"]["generation"], 1);
    let (code, body) = typed(
        &client,
        "PATCH",
        &path,
        "application/apply-patch+yaml",
        deployment("x"),
    )
    .await;
    assert_eq!(code, 422, "{body}");
    let mut managed = deployment("x");
    managed["metadata"]["managedFields"] = first["metadata"]["managedFields"].clone();
    assert_eq!(apply(&client, &path, "one", false, managed).await.0, 400);
    let mut two = deployment("x");
    two["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    let (code, body) = apply(&client, &path, "two", false, two).await;
    assert_eq!(code, 409);
    assert_eq!(
        body["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"c\"].image"
    );
}
