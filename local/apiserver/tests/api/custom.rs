//! Custom resources: rules, defaults, unknown fields, status and scale.

use http::Request;
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    requests::{apply, call, send, typed},
};

const FUNCTIONS: &str = "/apis/fermata.dev/v1alpha1/namespaces/~/functions";

fn function(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn the_rules_of_a_function_are_kept_with_their_sentences() {
    let (_cluster, client) = cluster().await;
    for (spec, sentence) in [
        (
            json!({}),
            "spec: Invalid value: give exactly one of image (a container image) and source (code that a runtime runs)",
        ),
        (
            json!({"image": "x", "port": 0}),
            "spec.port: Invalid value: 0: port must be between 1 and 65535",
        ),
        (
            json!({"image": "x", "port": 70000}),
            "spec.port: Invalid value: 70000: port must be between 1 and 65535",
        ),
        (
            json!({"image": "x", "concurrency": 5_000_000_000_u64}),
            "spec.concurrency: Invalid value: 5000000000: concurrency must be between 0 (no limit) and 1000",
        ),
        (
            json!({"image": "x", "concurrency": 5_000_000_000_u64}),
            "spec.concurrency in body should be less than or equal to 4",
        ),
        (
            json!({"image": "x", "scale": {"max": 1, "min": 2}}),
            "spec.scale: Invalid value: scale.max must be at least scale.min",
        ),
        (
            json!({"image": "x", "port": "y"}),
            "spec.port: Invalid value: \"string\": spec.port in body must be of type integer: \"string\"",
        ),
        (
            json!({"image": "x", "env": [{"name": "A"}, {"name": "A"}]}),
            "spec.env[1]: Duplicate value: {\"name\":\"A\"}",
        ),
    ] {
        let (code, body) = call(&client, "POST", FUNCTIONS, function("x", spec.clone())).await;
        assert_eq!(
            (code, body["reason"].as_str()),
            (422, Some("Invalid")),
            "{spec} {body}"
        );
        let message = body["message"].as_str().unwrap();
        assert!(
            message.starts_with("Function.fermata.dev \"x\" is invalid: "),
            "{message}"
        );
        assert!(message.contains(sentence), "{message}");
        assert!(!body["details"]["causes"].as_array().unwrap().is_empty());
    }
    let good = function("x", json!({"image": "x:1", "scale": {"min": 1}}));
    let (code, body) = call(&client, "POST", FUNCTIONS, good).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!(body["metadata"]["generation"], 1);
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped() {
    let (_cluster, client) = cluster().await;
    let odd = function(
        "x",
        json!({"image": "x", "immage": "y", "scale": {"mni": 1}}),
    );
    let (code, body) = call(
        &client,
        "POST",
        &format!("{FUNCTIONS}?fieldValidation=Strict"),
        odd.clone(),
    )
    .await;
    assert_eq!(code, 400);
    assert_eq!(
        body["message"],
        "Function in version \"v1alpha1\" cannot be handled as a Function: strict decoding error: unknown field \"spec.immage\", unknown field \"spec.scale.mni\""
    );
    let request = Request::post(FUNCTIONS)
        .body(odd.to_string().into_bytes())
        .unwrap();
    let response = send(&client, request).await;
    assert_eq!(response.status(), 201);
    let warnings: Vec<&str> = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(
        warnings,
        [
            r#"299 - "unknown field \"spec.immage\"""#,
            r#"299 - "unknown field \"spec.scale.mni\"""#
        ]
    );
    assert_eq!(response.body()["spec"], json!({"image": "x", "scale": {}}));
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let (_cluster, client) = cluster().await;
    let path = format!("{FUNCTIONS}/x");
    let mut new = function("x", json!({"image": "x"}));
    new["status"] = json!({"url": "http://no"});
    let (_, created) = call(&client, "POST", FUNCTIONS, new).await;
    assert_eq!(created.get("status"), None, "a status cannot be created");
    let status = json!({"status": {"url": "http://x"}, "spec": {"image": "other"}});
    let (code, written) = call(&client, "PATCH", &format!("{path}/status"), status).await;
    assert_eq!(code, 200);
    assert_eq!(written["status"]["url"], "http://x");
    assert_eq!(written["spec"]["image"], "x");
    assert_eq!(written["metadata"]["generation"], 1);
    let spec = json!({"status": {"url": "http://y"}, "spec": {"image": "y"}});
    let (_, written) = call(&client, "PATCH", &path, spec).await;
    assert_eq!(written["status"]["url"], "http://x");
    assert_eq!(written["metadata"]["generation"], 2);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let (_, written) = call(&client, "PATCH", &path, label).await;
    assert_eq!(
        written["metadata"]["generation"], 2,
        "labels are not the spec"
    );

    // Two writers of one status, each with its fields: as the operator and the gateway do.
    let status = format!("{path}/status");
    let base = json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "x"}});
    let mut operator = base.clone();
    operator["status"] = json!({"replicas": 1, "conditions": [{
        "type": "Ready", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z",
    }]});
    let (code, body) = apply(&client, &status, "fermata-operator", true, operator.clone()).await;
    assert_eq!(code, 200, "{body}");
    let mut gateway = base;
    gateway["status"] = json!({"lastColdStart": {"time": "2024-01-01T00:00:00Z", "duration": "12ms", "revision": "x-00001"}});
    let (code, body) = apply(&client, &status, "fermata-gateway", true, gateway).await;
    assert_eq!(code, 200, "{body}");
    let (_, body) = apply(&client, &status, "fermata-operator", true, operator).await;
    assert_eq!(body["status"]["lastColdStart"]["duration"], "12ms");
    assert_eq!(body["status"]["replicas"], 1);
    assert_eq!(body["status"]["url"], "http://x");
}

#[tokio::test]
async fn the_scale_of_a_function_is_its_least_number_of_replicas() {
    let (cluster, client) = cluster().await;
    let new = function("f", json!({"image": "x:1", "scale": {"max": 3}}));
    assert_eq!(call(&client, "POST", FUNCTIONS, new).await.0, 201);
    let kubectl = cluster.kubectl();
    kubectl.run(&["scale", "fn/f", "--replicas=2"]).await;
    let (_, scale) = call(&client, "GET", &format!("{FUNCTIONS}/f/scale"), Value::Null).await;
    assert_eq!(
        (
            scale["kind"].as_str(),
            scale["spec"]["replicas"].as_i64(),
            scale["status"]["replicas"].as_i64()
        ),
        (Some("Scale"), Some(2), Some(0))
    );
    let (_, found) = call(&client, "GET", &format!("{FUNCTIONS}/f"), Value::Null).await;
    assert_eq!(found["spec"]["scale"], json!({"max": 3, "min": 2}));
    // The rules of the manifest hold.
    let refused = kubectl.fail(&["scale", "fn/f", "--replicas=4"]).await;
    assert!(
        refused.contains("scale.max must be at least scale.min"),
        "{refused}"
    );
}

#[tokio::test]
async fn strategic_merge_is_for_built_in_kinds() {
    let (_cluster, client) = cluster().await;
    call(
        &client,
        "POST",
        FUNCTIONS,
        function("x", json!({"image": "x"})),
    )
    .await;
    let path = format!("{FUNCTIONS}/x");
    let (code, body) = typed(
        &client,
        "PATCH",
        &path,
        "application/strategic-merge-patch+json",
        json!({}),
    )
    .await;
    assert_eq!(
        (code, body["reason"].as_str()),
        (415, Some("UnsupportedMediaType"))
    );
    let (code, _) = call(&client, "PUT", &path, function("x", json!({"image": "y"}))).await;
    assert_eq!(
        code, 422,
        "an update of a custom resource says what it updates"
    );
}
