//! Definitions of custom resources: their versions, rules and lives.

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, cluster, serves},
    requests::{PATIENCE, call, eventually},
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

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
