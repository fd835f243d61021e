//! What a client can find out: groups, kinds, OpenAPI, metadata alone.

use futures::{StreamExt as _, pin_mut};
use http::Request;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Discovery,
    api::PostParams,
    core::PartialObjectMeta,
    discovery::Scope,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};

use crate::{
    cluster::{cluster, serves},
    requests::{PATIENCE, call, eventually, send},
};

#[tokio::test]
async fn both_forms_of_discovery_tell_the_same() {
    let (_cluster, client) = cluster().await;
    // One group after the other is asked for; one that another test defined may go meanwhile.
    let old = eventually("a walk through all groups", async || {
        Discovery::new(client.clone()).run().await.ok()
    })
    .await;
    let new = Discovery::new(client.clone())
        .run_aggregated()
        .await
        .unwrap();
    for discovery in [old, new] {
        let group = discovery.get("fermata.dev").unwrap();
        let (function, capabilities) = group.recommended_kind("Function").unwrap();
        assert_eq!(
            (function.plural.as_str(), function.version.as_str()),
            ("functions", "v1alpha1")
        );
        assert_eq!(capabilities.scope, Scope::Namespaced);
        assert!(
            capabilities
                .subresources
                .iter()
                .any(|(one, _)| one.plural == "status")
        );
        let apps = discovery.get("apps").unwrap();
        let (_, capabilities) = apps.recommended_kind("Deployment").unwrap();
        assert!(
            capabilities
                .subresources
                .iter()
                .any(|(one, _)| one.plural == "scale")
        );
        assert!(discovery.get("").unwrap().recommended_kind("Pod").is_some());
    }
}

#[tokio::test]
async fn metadata_can_be_watched_alone() {
    let (_cluster, client) = cluster().await;
    let api: Api<Secret> = Api::default_namespaced(client.clone());
    let create = async |name: &str| {
        let new =
            serde_json::from_value(json!({"metadata": {"name": name}, "stringData": {"a": "b"}}))
                .unwrap();
        api.create(&PostParams::default(), &new).await.unwrap();
    };
    create("one").await;
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let metadata: Api<PartialObjectMeta<Secret>> = Api::default_namespaced(client.clone());
        let events = watcher(metadata, config).applied_objects();
        pin_mut!(events);
        let next = tokio::time::timeout(PATIENCE, events.next());
        let one = next.await.unwrap().unwrap().unwrap();
        assert_eq!(one.metadata.name.as_deref(), Some("one"));
    }
}

#[tokio::test]
async fn every_reference_of_every_document_leads_somewhere() {
    let (_cluster, client) = cluster().await;
    let (_, index) = call(&client, "GET", "/openapi/v3", Value::Null).await;
    let paths = index["paths"].as_object().unwrap();
    assert!(paths.contains_key("apis/fermata.dev/v1alpha1"));
    // What other tests define comes and goes.
    let lasting = paths
        .iter()
        .filter(|(path, _)| !path.contains(".example.com"));
    for (path, entry) in lasting {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let (code, document) = call(&client, "GET", url, Value::Null).await;
        assert_eq!(code, 200, "{url}");
        // Documents of paths without resources have none.
        let none = serde_json::Map::new();
        let schemas = document["components"]["schemas"].as_object();
        let schemas = schemas.unwrap_or(&none);
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{path}: {name}");
        }
        for operations in document["paths"].as_object().unwrap().values() {
            let parameters = operations["patch"]["parameters"].as_array();
            let has =
                |name: &str| parameters.is_none_or(|all| all.iter().any(|one| one["name"] == name));
            assert!(has("fieldValidation") && has("dryRun"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_definition_shows_in_discovery_and_goes_with_it() {
    let (cluster, client) = cluster().await;
    let path = "/apis/fermata.dev/v1alpha1";
    let (_, list) = call(&client, "GET", path, Value::Null).await;
    let names = list["resources"].as_array().unwrap().iter();
    let mut names: Vec<&str> = names.map(|one| one["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "functions",
            "functions/scale",
            "functions/status",
            "revisions",
            "revisions/status",
            "runtimes"
        ]
    );

    let group = cluster.group();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {
            "group": group, "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    let (code, body) = call(&client, "POST", definitions, definition).await;
    assert_eq!(code, 201, "{body}");
    serves(&client, &group, "v1", "things").await;
    let definition = format!("{definitions}/things.{group}");
    call(&client, "DELETE", &definition, Value::Null).await;
    eventually("the group to go", async || {
        let (code, _) = call(&client, "GET", &format!("/apis/{group}/v1"), Value::Null).await;
        (code == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn reviews_answer_and_what_cannot_be_given_is_refused() {
    let (_cluster, client) = cluster().await;
    let review = json!({"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, body) = call(&client, "POST", path, review).await;
    assert_eq!(
        (code, body["status"]["allowed"].as_bool()),
        (201, Some(true))
    );
    assert_eq!(call(&client, "GET", path, Value::Null).await.0, 405);
    let (_, body) = call(
        &client,
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        json!({}),
    )
    .await;
    let user = &body["status"]["userInfo"];
    assert!(
        user["username"]
            .as_str()
            .is_some_and(|name| !name.is_empty()),
        "{body}"
    );
    let groups = user["groups"].as_array().unwrap();
    assert!(groups.contains(&json!("system:authenticated")), "{body}");
    let request = Request::get("/api/v1/pods")
        .header("accept", "image/png")
        .body(Vec::new())
        .unwrap();
    assert_eq!(send(&client, request).await.status(), 406);
}
