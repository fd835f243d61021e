//! Pod Security Admission: what namespaces let their pods do.

use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    requests::{call, eventually, send},
};

const PODS: &str = "/api/v1/namespaces/~/pods";
const LABEL: &str = "pod-security.kubernetes.io";

/// What the restricted standard says of a container `c` that says nothing.
const UNSAID: &str = r#""restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#;

/// Labels the namespace of the test.
async fn label(client: &Client, labels: Value) {
    let path = "/api/v1/namespaces/~";
    let patch = json!({"metadata": {"labels": labels}});
    let (code, body) = call(client, "PATCH", path, patch).await;
    assert_eq!(code, 200, "{body}");
}

fn pod(spec: Value, context: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "x"}, "spec": {
        "schedulerName": "nobody",
        "containers": [{"name": "c", "image": "i", "securityContext": context}],
    }});
    for (field, value) in spec.as_object().unwrap() {
        match field.strip_prefix("container.") {
            Some(field) => pod["spec"]["containers"][0][field] = value.clone(),
            None => pod["spec"][field] = value.clone(),
        }
    }
    pod
}

/// A security context of a container that the restricted standard accepts, with changes.
fn hardened(change: Value) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
    });
    for (field, value) in change.as_object().unwrap() {
        context[field] = value.clone();
    }
    context
}

/// Tries to create a pod; the code and what is said of it.
async fn try_pod(client: &Client, pod: Value) -> (u16, String) {
    let path = format!("{PODS}?dryRun=All");
    let (code, body) = call(client, "POST", &path, pod).await;
    let message = body["message"].as_str().unwrap_or_default();
    let said = message.split_once("violates PodSecurity ");
    (code, said.map_or(message, |(_, said)| said).to_owned())
}

#[tokio::test]
async fn restricted_pods_do_without_privileges() {
    let (_cluster, client) = cluster().await;
    label(&client, json!({format!("{LABEL}/enforce"): "restricted"})).await;
    // The labels may take a moment to reach the check.
    eventually("the labels to count", async || {
        (try_pod(&client, pod(json!({}), json!({}))).await.0 == 403).then_some(())
    })
    .await;
    let good = pod(json!({}), hardened(json!({})));
    assert_eq!(try_pod(&client, good).await, (201, String::new()));
    let (_, body) = call(&client, "POST", PODS, pod(json!({}), json!({}))).await;
    assert_eq!(
        body["message"],
        format!("pods \"x\" is forbidden: violates PodSecurity {UNSAID}")
    );
    assert_eq!(body["reason"], "Forbidden");
    for (spec, context, words) in [
        (
            json!({}),
            json!({"privileged": true, "allowPrivilegeEscalation": true}),
            r#"privileged (container "c" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)"#,
        ),
        (
            json!({}),
            json!({"capabilities": {"add": ["SYS_TIME", "NET_BIND_SERVICE", "NET_ADMIN"]}}),
            r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "NET_ADMIN", "SYS_TIME" in securityContext.capabilities.add)"#,
        ),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "nfs": {"server": "a", "path": "/"}}, {"name": "z", "emptyDir": {}}]}),
            json!({}),
            r#"restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")"#,
        ),
        (
            json!({"securityContext": {"runAsNonRoot": false, "runAsUser": 0}}),
            json!({"runAsNonRoot": false, "runAsUser": 0}),
            r#"runAsNonRoot != true (pod and container "c" must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod and container "c" must not set runAsUser=0)"#,
        ),
        (
            json!({"securityContext": {"runAsNonRoot": false}}),
            json!({}),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            json!({}),
            r#"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
    ] {
        let tried = try_pod(&client, pod(spec, hardened(context))).await;
        assert_eq!(tried, (403, format!("\"restricted:latest\": {words}")));
    }
    // In a user namespace of its own a pod may be root, and no more than that.
    let root = json!({"runAsNonRoot": false, "runAsUser": 0});
    let own = json!({"hostUsers": false, "securityContext": root});
    let tried = try_pod(&client, pod(own.clone(), hardened(root.clone()))).await;
    assert_eq!(tried, (201, String::new()));
    let (code, said) = try_pod(
        &client,
        pod(own, hardened(json!({"procMount": "Unmasked"}))),
    )
    .await;
    assert_eq!(code, 403);
    assert_eq!(
        said,
        r#""restricted:latest": procMount (container "c" must not set securityContext.procMount to "Unmasked")"#
    );
    let two = json!({"metadata": {"name": "x"}, "spec": {"containers": [
        {"name": "a", "image": "i", "securityContext": hardened(json!({"runAsNonRoot": null}))},
        {"name": "b", "image": "i", "securityContext": hardened(json!({"runAsNonRoot": null}))},
    ]}});
    assert_eq!(
        try_pod(&client, two).await.1,
        r#""restricted:latest": runAsNonRoot != true (pod or containers "a", "b" must set securityContext.runAsNonRoot=true)"#
    );
}

#[tokio::test]
async fn baseline_pods_stay_in_their_container() {
    let (_cluster, client) = cluster().await;
    let labels = json!({format!("{LABEL}/enforce"): "baseline", format!("{LABEL}/enforce-version"): "v1.30"});
    label(&client, labels).await;
    let says = async |version: &str| {
        eventually("the labels to count", async || {
            let tried = try_pod(&client, pod(json!({"hostPID": true}), json!({}))).await;
            let words = format!("\"baseline:{version}\": host namespaces (hostPID=true)");
            (tried == (403, words)).then_some(())
        })
        .await;
    };
    says("v1.30").await;
    assert_eq!(try_pod(&client, pod(json!({}), json!({}))).await.0, 201);
    label(
        &client,
        json!({format!("{LABEL}/enforce-version"): "latest"}),
    )
    .await;
    says("latest").await;
    for (spec, context, words) in [
        (
            json!({"hostNetwork": true, "hostPID": true, "hostIPC": true}),
            json!({}),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
            json!({}),
            r#"hostPath volumes (volume "v")"#,
        ),
        (
            json!({"container.ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 81}]}),
            json!({}),
            r#"hostPort (container "c" uses hostPorts 80, 81)"#,
        ),
        (
            json!({"container.livenessProbe": {"httpGet": {"port": 80, "host": "1.2.3.4"}}}),
            json!({}),
            r#"probe or lifecycle host (container "c" uses probe or lifecycle host "1.2.3.4")"#,
        ),
        (
            json!({}),
            json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}),
            r#"non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)"#,
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "bad", "user": "u"}}}),
            json!({}),
            r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "bad"; user may not be set)"#,
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            json!({"seccompProfile": {"type": "Unconfined"}}),
            r#"seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}, {"name": "net.ipv4.x", "value": "1"}, {"name": "kernel.foo", "value": "1"}]}}),
            json!({}),
            "forbidden sysctls (net.ipv4.x, kernel.foo)",
        ),
        (
            json!({}),
            json!({"appArmorProfile": {"type": "Unconfined"}}),
            r#"forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")"#,
        ),
    ] {
        let tried = try_pod(&client, pod(spec, context)).await;
        assert_eq!(tried, (403, format!("\"baseline:latest\": {words}")));
    }
}

/// The warnings of an answer.
async fn warnings(client: &Client, path: &str, body: Value) -> (u16, Vec<String>) {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    let response = send(client, request).await;
    let headers = response.headers().get_all("warning").iter();
    let texts = headers.map(|text| text.to_str().unwrap().replace("\\\"", "\""));
    (response.status().as_u16(), texts.collect())
}

#[tokio::test]
async fn a_standard_that_is_not_enforced_is_warned_of() {
    let (_cluster, client) = cluster().await;
    let expected = vec![format!("299 - \"would violate PodSecurity {UNSAID}\"")];
    let deployments = "/apis/apps/v1/namespaces/~/deployments";
    let deployment = |name: &str| {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        json!({"metadata": {"name": name}, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec},
        }})
    };
    label(&client, json!({format!("{LABEL}/warn"): "restricted"})).await;
    let pods = format!("{PODS}?dryRun=All");
    eventually("the labels to count", async || {
        let warned = warnings(&client, &pods, pod(json!({}), json!({}))).await;
        (warned == (201, expected.clone())).then_some(())
    })
    .await;
    let good = pod(json!({}), hardened(json!({})));
    assert_eq!(warnings(&client, &pods, good).await, (201, vec![]));
    let warned = warnings(&client, deployments, deployment("one")).await;
    assert_eq!(warned, (201, expected.clone()));
    // Workloads are not refused: their pods will be.
    let labels = json!({format!("{LABEL}/warn"): null, format!("{LABEL}/enforce"): "restricted"});
    label(&client, labels).await;
    eventually("the labels to count", async || {
        (try_pod(&client, pod(json!({}), json!({}))).await.0 == 403).then_some(())
    })
    .await;
    let warned = warnings(&client, deployments, deployment("two")).await;
    assert_eq!(warned, (201, expected));
}

#[tokio::test]
async fn labels_that_are_no_standard_are_refused() {
    let (_cluster, client) = cluster().await;
    let labels =
        json!({format!("{LABEL}/enforce-version"): "x", format!("{LABEL}/warn"): "strict"});
    let new = json!({"metadata": {"generateName": "api-", "labels": labels}});
    let (code, body) = call(&client, "POST", "/api/v1/namespaces", new).await;
    assert_eq!(code, 422, "{body}");
    let message = body["message"].as_str().unwrap();
    assert!(
        message.ends_with(r#"is invalid: [metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: "x": must be "latest" or "v1.x", metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "strict": must be one of privileged, baseline, restricted]"#),
        "{message}"
    );
}
