//! What takes webhooks asks for looks, and can do nothing else.

use fermata_crds::Function;
use fermata_tests::{Cluster, SYSTEM, Space};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{OPERATOR, disguised, lines, rights, with};

const WEBHOOKS: &str = "system:serviceaccount:fermata-system:fermata-webhooks";

/// Patches a Function as what takes webhooks; the patch is not kept.
async fn patches(client: &Client, space: &Space, name: &str, patch: Value) -> Result<(), String> {
    let functions = Api::<Function>::namespaced(client.clone(), &space.name);
    let parameters = PatchParams::default().dry_run();
    let patched = functions
        .patch(name, &parameters, &Patch::Merge(patch))
        .await;
    patched.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_takes_webhooks_has_rights_on_functions_alone() {
    let cluster = Cluster::new().await;
    let own = lines(&["functions.fermata.dev [get list watch patch]"]);
    for namespace in [cluster.space.name.as_str(), SYSTEM] {
        assert_eq!(rights(&cluster, WEBHOOKS, namespace), own, "{namespace}");
    }
    let client = cluster.space.platform.client_as(Some(WEBHOOKS)).await;
    let secrets = Api::<Secret>::namespaced(client, &cluster.space.name);
    let refused = secrets.get("hook").await.unwrap_err().to_string();
    assert!(refused.contains("cannot get resource"), "{refused}");
}

#[tokio::test]
async fn what_takes_webhooks_changes_one_annotation() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let source = |git: Value| json!({"source": {"runtime": "python", "git": git}});
    let url = "https://git.example/shop";
    let hooked = source(json!({"url": url, "webhook": {"secretName": "hook"}}));
    space.function("hooked", hooked).await;
    space.function("plain", source(json!({"url": url}))).await;
    let client = space.platform.client_as(Some(WEBHOOKS)).await;
    let look = json!({"metadata": {"annotations": {"fermata.dev/look": "now"}}});
    patches(&client, space, "hooked", look.clone())
        .await
        .expect("it may ask for a look");
    for (name, patch) in [
        ("plain", look),
        (
            "hooked",
            json!({"metadata": {"annotations": {"fermata.dev/build": "now"}}}),
        ),
        (
            "hooked",
            json!({"metadata": {"annotations": {"fermata.dev/look": "x".repeat(65)}}}),
        ),
        ("hooked", json!({"metadata": {"labels": {"a": "b"}}})),
        (
            "hooked",
            json!({"metadata": {"finalizers": ["a.example/b"]}}),
        ),
        ("hooked", json!({"spec": {"scale": {"max": 1}}})),
        (
            "hooked",
            json!({"spec": {"source": {"git": {"url": "https://other.example/shop"}}}}),
        ),
    ] {
        let refused = patches(&client, space, name, patch.clone()).await;
        let refused = refused.expect_err(&patch.to_string());
        assert!(refused.contains("fermata-webhooks"), "{patch}: {refused}");
    }
}

#[tokio::test]
async fn nothing_else_runs_beside_the_platform() {
    let cluster = Cluster::new().await;
    let client = cluster.space.platform.client_as(Some(OPERATOR)).await;
    let deployments = Api::<Deployment>::namespaced(client, SYSTEM);
    let applied = async |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let parameters = PatchParams::apply("fermata-operator").force().dry_run();
        let patch = Patch::Apply(object);
        let applied = deployments.patch(&name, &parameters, &patch).await;
        applied.map(|_| ()).map_err(|error| error.to_string())
    };
    let pod = "/spec/template/spec";
    let own = with(
        disguised("webhooks-00999"),
        "/metadata/labels/fermata.dev~1function",
        json!("webhooks"),
    );
    let own = with(
        own,
        &format!("{pod}/serviceAccountName"),
        json!("fermata-webhooks"),
    );
    let container = json!({"name": "function", "image": "ghcr.io/fermata-dev/git-server:0.1.0",
        "command": ["fermata", "__webhooks"]});
    let containers = format!("{pod}/containers");
    let own = with(own, &containers, json!([container]));
    applied(&own).await.expect("it runs what takes webhooks");
    let other = |field: &str, value: Value| {
        let mut container = container.clone();
        container[field] = value;
        (containers.clone(), json!([container]))
    };
    let shell = json!({"exec": {"command": ["sh"]}});
    for (pointer, value) in [
        (
            format!("{pod}/serviceAccountName"),
            json!("fermata-gateway"),
        ),
        other("image", json!("ghcr.io/fermata-dev/git-server-not:0.1.0")),
        other("command", json!(["sh", "-c", "true"])),
        other("args", json!(["--kubeconfig=x"])),
        other("lifecycle", json!({"preStop": shell})),
        other("lifecycle", json!({"postStart": shell})),
        (
            "/metadata/labels/fermata.dev~1function".to_owned(),
            json!("other"),
        ),
    ] {
        let object = with(own.clone(), &pointer, value.clone());
        let refused = applied(&object).await.expect_err(&pointer);
        assert!(
            refused.contains("fermata.dev/functions=allowed"),
            "{pointer} {value}: {refused}"
        );
    }
}
