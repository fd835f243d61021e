//! Custom resources: schemas, defaults, rules, subresources, and the life of a definition.

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, cluster, serves},
    requests::{PATIENCE, apply, call, eventually, send, typed},
};

const FUNCTIONS: &str = "/apis/fermata.dev/v1alpha1/namespaces/~/functions";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn function(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": spec})
}

/// The path of a definition of Things that is the test's own.
fn path_of(cluster: &Cluster) -> String {
    format!("{DEFINITIONS}/things.{}", cluster.group())
}

/// The path of the Things in a version.
fn things(cluster: &Cluster, version: &str) -> String {
    format!("/apis/{}/{version}/namespaces/~/things", cluster.group())
}

/// An object that says that it is a Thing.
fn thing(cluster: &Cluster, mut object: Value) -> Value {
    object["apiVersion"] = json!(format!("{}/v1", cluster.group()));
    object["kind"] = json!("Thing");
    object
}

/// Defines Things, and waits until they can be used.
async fn define(cluster: &Cluster, client: &Client) -> Value {
    let new = definition(cluster, thing_schema());
    let (code, body) = call(client, "POST", DEFINITIONS, new).await;
    assert_eq!(code, 201, "{body}");
    serves(client, &cluster.group(), "v1beta1", "things").await;
    let (_, body) = call(client, "GET", &path_of(cluster), Value::Null).await;
    body
}

fn definition(cluster: &Cluster, schema: Value) -> Value {
    let group = cluster.group();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                 "subresources": {"status": {}, "scale": {
                     "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                 }}},
                {"name": "v1beta1", "served": true, "storage": false, "schema": {"openAPIV3Schema": schema}},
            ],
        },
    })
}

fn thing_schema() -> Value {
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "default": 2},
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed cannot be changed"}]},
            "nested": {"type": "object", "default": {}, "properties": {"deep": {"type": "boolean", "default": true}}},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
    }})
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
async fn a_definition_is_served_at_once_in_all_its_versions_with_defaults_and_transition_rules() {
    let (cluster, client) = cluster().await;
    let body = define(&cluster, &client).await;
    let group = cluster.group();
    let conditions = body["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|one| one["type"] == "Established" && one["status"] == "True")
    );
    assert_eq!(body["status"]["storedVersions"], json!(["v1"]));

    let things = &things(&cluster, "v1");
    let new = thing(
        &cluster,
        json!({"metadata": {"name": "t"}, "spec": {"fixed": "a"}}),
    );
    let (code, body) = call(&client, "POST", things, new).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!(
        body["spec"],
        json!({"replicas": 2, "fixed": "a", "nested": {"deep": true}})
    );
    let (code, body) = call(
        &client,
        "PATCH",
        &format!("{things}/t"),
        json!({"spec": {"fixed": "b"}}),
    )
    .await;
    assert_eq!(code, 422);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("fixed cannot be changed"),
        "{body}"
    );

    let (_, body) = call(
        &client,
        "GET",
        &format!("{}/t", self::things(&cluster, "v1beta1")),
        Value::Null,
    )
    .await;
    assert_eq!(body["apiVersion"], format!("{group}/v1beta1"));
    let (_, body) = call(
        &client,
        "GET",
        &format!("/apis/{group}/v1beta1/things"),
        Value::Null,
    )
    .await;
    assert_eq!(
        (body["kind"].as_str(), body["apiVersion"].as_str()),
        (Some("ThingList"), Some(&*format!("{group}/v1beta1")))
    );
    assert_eq!(body["items"][0]["apiVersion"], format!("{group}/v1beta1"));

    let scale = format!("{things}/t/scale");
    let (_, body) = call(&client, "GET", &scale, Value::Null).await;
    assert_eq!(
        (body["kind"].as_str(), body["spec"]["replicas"].as_i64()),
        (Some("Scale"), Some(2))
    );
    let (code, body) = call(&client, "PATCH", &scale, json!({"spec": {"replicas": 7}})).await;
    assert_eq!((code, body["spec"]["replicas"].as_i64()), (200, Some(7)));
    let (code, _) = call(&client, "PATCH", &scale, json!({"spec": {"replicas": -1}})).await;
    assert_eq!(code, 422);
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
async fn rules_that_became_stricter_leave_untouched_values_alone() {
    let (cluster, client) = cluster().await;
    define(&cluster, &client).await;
    let things = &things(&cluster, "v1");
    let new = thing(
        &cluster,
        json!({"metadata": {"name": "t"}, "spec": {"fixed": "a", "replicas": 1}}),
    );
    assert_eq!(call(&client, "POST", things, new).await.0, 201);
    let mut stricter = thing_schema();
    let spec = &mut stricter["properties"]["spec"];
    spec["properties"]["fixed"]["minLength"] = json!(5);
    spec["properties"]["replicas"]["x-kubernetes-validations"] =
        json!([{"rule": "self % 2 == 0", "message": "replicas must be even"}]);
    let (_, mut stored) = call(&client, "GET", &path_of(&cluster), Value::Null).await;
    stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = stricter;
    let path = path_of(&cluster);
    assert_eq!(call(&client, "PUT", &path, stored).await.0, 200);

    let path = format!("{things}/t");
    eventually("the new rules to count", async || {
        let odd = json!({"spec": {"replicas": 3}});
        let tried = format!("{path}?dryRun=All");
        (call(&client, "PATCH", &tried, odd).await.0 == 422).then_some(())
    })
    .await;
    let status = json!({"status": {"replicas": 1}});
    let (code, body) = call(&client, "PATCH", &format!("{path}/status"), status).await;
    assert_eq!(code, 200, "{body}");
    let (code, body) = call(&client, "PATCH", &path, json!({"spec": {"replicas": 3}})).await;
    assert_eq!(code, 422);
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("replicas must be even"), "{message}");
    assert!(!message.contains("chars long"), "{message}");
    let (code, _) = call(&client, "PATCH", &path, json!({"spec": {"replicas": 4}})).await;
    assert_eq!(code, 200);
    let new = thing(
        &cluster,
        json!({"metadata": {"name": "u"}, "spec": {"fixed": "a", "replicas": 4}}),
    );
    assert_eq!(
        call(&client, "POST", things, new).await.0,
        422,
        "a new object keeps all rules"
    );
}

#[tokio::test]
async fn a_definition_that_makes_no_sense_is_refused() {
    let (cluster, client) = cluster().await;
    let refused = async |change: fn(&mut Value)| {
        let mut bad = definition(&cluster, thing_schema());
        change(&mut bad);
        let (code, body) = call(&client, "POST", DEFINITIONS, bad).await;
        assert_eq!(code, 422, "{body}");
        body["message"].as_str().unwrap().to_owned()
    };
    assert!(
        refused(|d| d["metadata"]["name"] = json!("x.other.example.com"))
            .await
            .contains("must be spec.names.plural")
    );
    assert!(
        refused(|d| d["spec"]["scope"] = json!("Galaxy"))
            .await
            .contains("supported values")
    );
    assert!(
        refused(|d| d["spec"]["versions"][1]["storage"] = json!(true))
            .await
            .contains("exactly one version")
    );
    assert!(
        refused(|d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["fixed"]["pattern"] = json!("("))
            .await
            .contains("must be a valid regular expression")
    );
    assert!(
        refused(
            |d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
                json!([{"rule": "self.("}])
        )
        .await
        .contains("compilation failed")
    );
}

#[tokio::test]
async fn a_definition_goes_after_its_objects_and_takes_them_with_it() {
    let (cluster, client) = cluster().await;
    define(&cluster, &client).await;
    let things = &things(&cluster, "v1");
    for name in ["free", "held"] {
        let finalizers = if name == "held" {
            json!(["example.com/hold"])
        } else {
            json!([])
        };
        let new = thing(
            &cluster,
            json!({"metadata": {"name": name, "finalizers": finalizers}}),
        );
        assert_eq!(call(&client, "POST", things, new).await.0, 201);
    }
    let path = path_of(&cluster);
    let (code, body) = call(&client, "DELETE", &path, Value::Null).await;
    assert_eq!(code, 200);
    assert!(!body["metadata"]["deletionTimestamp"].is_null());
    eventually("the free object to go", async || {
        (call(&client, "GET", &format!("{things}/free"), Value::Null)
            .await
            .0
            == 404)
            .then_some(())
    })
    .await;
    let (code, body) = call(
        &client,
        "POST",
        things,
        thing(&cluster, json!({"metadata": {"name": "late"}})),
    )
    .await;
    assert_eq!(code, 403, "{body}");
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .ends_with("create not allowed while custom resource definition is terminating"),
        "{body}"
    );
    assert_eq!(
        call(&client, "GET", &path, Value::Null).await.0,
        200,
        "the held object holds it"
    );
    call(
        &client,
        "PATCH",
        &format!("{things}/held"),
        json!({"metadata": {"finalizers": null}}),
    )
    .await;
    eventually("the definition to go", async || {
        (call(&client, "GET", &path, Value::Null).await.0 == 404).then_some(())
    })
    .await;
    eventually("its objects to be unknown", async || {
        (call(&client, "GET", things, Value::Null).await.0 == 404).then_some(())
    })
    .await;
    // And it can come back, empty.
    define(&cluster, &client).await;
    let (_, body) = call(&client, "GET", things, Value::Null).await;
    assert_eq!(body["items"], json!([]));
}

#[tokio::test]
async fn watches_of_a_definition_that_changes_end_so_that_clients_start_anew() {
    let (cluster, client) = cluster().await;
    define(&cluster, &client).await;
    let request = Request::get(format!("/apis/{}/v1/things?watch=1", cluster.group()))
        .body(kube::client::Body::empty())
        .unwrap();
    let watch = client.send(request).await.unwrap();
    assert_eq!(watch.status(), 200);
    let change = json!({"spec": {"names": {"shortNames": ["thi"]}}});
    call(&client, "PATCH", &path_of(&cluster), change).await;
    let end = tokio::time::timeout(PATIENCE, watch.into_body().collect_bytes());
    end.await.expect("the watch to end").unwrap();
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
