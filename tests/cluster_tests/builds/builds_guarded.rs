//! What the operator may do with Jobs, and who gets the credentials.

use std::io::Write as _;

use fermata_tests::Cluster;
use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::world::{HANDLER, answering, install, jobs, source, told};

const OPERATOR: &str = "system:serviceaccount:fermata-system:fermata-operator";

/// What the API server says to a Job of the operator's.
fn create(cluster: &Cluster, job: &Value) -> Result<String, String> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(job.to_string().as_bytes()).expect("written");
    let path = file.path().display().to_string();
    cluster.try_kubectl(&[
        "create",
        "--dry-run=server",
        "--as",
        OPERATOR,
        "--filename",
        &path,
    ])
}

/// The Job of a function, as it could be made again under the name of another Revision.
async fn job(cluster: &Cluster, function: &str) -> Value {
    let job: Job = jobs(&cluster.space, function).await.remove(0);
    let mut job = serde_json::to_value(&job).expect("JSON");
    job["apiVersion"] = json!("batch/v1");
    job["kind"] = json!("Job");
    let name = job["metadata"]["labels"]["fermata.dev/image-build"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let other = format!("{name}9");
    let mut owners = job["metadata"]["ownerReferences"].clone();
    owners[0]["name"] = json!(other);
    job["metadata"] = json!({"name": format!("{other}-build"), "namespace": cluster.space.name,
        "ownerReferences": owners, "labels": {"fermata.dev/image-build": other, "fermata.dev/function": function}});
    job["spec"]["selector"] = Value::Null;
    job["spec"]["template"]["metadata"] = json!({"labels": {"fermata.dev/function": function}});
    job["status"] = Value::Null;
    job
}

#[tokio::test]
async fn the_operator_makes_no_jobs_but_builds() {
    let cluster = Cluster::new().await;
    answering(
        &cluster.space,
        "hello",
        source("1.0", HANDLER, ""),
        "hello 1.0",
    )
    .await;
    let good = job(&cluster, "hello").await;
    create(&cluster, &good).expect("what it makes itself is allowed");
    for (pointer, value, says) in [
        (
            "/metadata/ownerReferences",
            json!([]),
            "build the image of a Revision",
        ),
        (
            "/metadata/ownerReferences/0/kind",
            json!("Function"),
            "build the image of a Revision",
        ),
        (
            "/metadata/name",
            json!("miner"),
            "build the image of a Revision",
        ),
        (
            "/metadata/labels",
            json!({}),
            "build the image of a Revision",
        ),
        ("/spec/backoffLimit", json!(6), "runs once"),
        ("/spec/parallelism", json!(5), "runs once"),
        (
            "/spec/template/spec/containers/0/command",
            json!(["sh"]),
            "fermata-push",
        ),
        (
            "/spec/template/spec/initContainers/0/name",
            json!("miner"),
            "fermata-push",
        ),
        (
            "/spec/template/spec/automountServiceAccountToken",
            json!(true),
            "restricted",
        ),
        (
            "/spec/template/spec/serviceAccountName",
            json!("admin"),
            "restricted",
        ),
        ("/spec/template/spec/hostNetwork", json!(true), "restricted"),
        (
            "/spec/template/spec/securityContext",
            json!({}),
            "restricted",
        ),
        (
            "/spec/template/spec/containers/0/securityContext",
            json!({"privileged": true}),
            "restricted",
        ),
        (
            "/spec/template/spec/volumes/0",
            json!({"name": "fermata-source", "hostPath": {"path": "/"}}),
            "restricted",
        ),
        (
            "/spec/template/spec/volumes/0",
            json!({"name": "fermata-source", "projected": {"sources": []}}),
            "restricted",
        ),
    ] {
        let mut bad = good.clone();
        let (parent, field) = pointer.rsplit_once('/').expect("a path");
        let parent = bad.pointer_mut(parent).expect("a parent");
        match parent {
            Value::Array(items) => items[field.parse::<usize>().expect("a number")] = value,
            other => other[field] = value,
        }
        let error = create(&cluster, &bad).expect_err(pointer);
        assert!(error.contains(says), "{pointer}: {error}");
    }
    // A Secret that the build itself would see.
    let mut bad = good.clone();
    let pod = &mut bad["spec"]["template"]["spec"];
    pod["volumes"]
        .as_array_mut()
        .expect("volumes")
        .push(json!({"name": "stolen", "secret": {"secretName": "push"}}));
    pod["initContainers"][0]["volumeMounts"]
        .as_array_mut()
        .expect("mounts")
        .push(json!({"name": "stolen", "mountPath": "/stolen"}));
    let error = create(&cluster, &bad).expect_err("a Secret");
    assert!(error.contains("never in the one that installs"), "{error}");

    let update = cluster.try_kubectl(&[
        "--as",
        OPERATOR,
        "--namespace",
        &cluster.space.name,
        "annotate",
        "job",
        "hello-00001-build",
        "a=b",
    ]);
    assert!(update.is_err_and(|error| error.contains("forbidden")));
}

#[tokio::test]
async fn a_job_of_somebody_else_is_left_alone_and_told() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let foreign: Job = serde_json::from_value(json!({
        "metadata": {"name": "hello-00001-build"},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "own", "image": "localhost/fermata-test-function:1"}]}}},
    }))
    .expect("a Job");
    space
        .api::<Job>()
        .create(&PostParams::default(), &foreign)
        .await
        .expect("a Job");
    space
        .function("hello", json!({"source": source("1.0", HANDLER, "")}))
        .await;
    let message = told(space, "hello", "JobConflict").await;
    assert!(message.contains("hello-00001-build"), "{message}");
    let still = space
        .api::<Job>()
        .get("hello-00001-build")
        .await
        .expect("it is there");
    assert_eq!(still.spec.and_then(|spec| spec.suspend), Some(true));
}

#[tokio::test]
async fn the_secret_for_the_registry_reaches_the_push_alone_and_is_missed_in_words() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    install(&cluster, "builds.pushSecretName=push");
    space
        .function(
            "hello",
            json!({"source": source("1.0", HANDLER, ""), "scale": {"min": 1}}),
        )
        .await;
    let message = told(space, "hello", "PushRefused").await;
    assert!(message.contains("has no .dockerconfigjson"), "{message}");
    // The registry asks nobody for a name: what is in it does not matter.
    let config =
        json!({"auths": {"registry.example.com": {"username": "me", "password": "s3cret"}}});
    space
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "push"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()}}))
        .await;
    space.ready("hello").await;
    space.answers("hello", "hello 1.0").await;
    let job = serde_json::to_value(&jobs(space, "hello").await[0]).expect("JSON");
    let pod = &job["spec"]["template"]["spec"];
    let mounts = |container: &Value| {
        container["volumeMounts"]
            .to_string()
            .contains("fermata-registry")
    };
    assert!(mounts(&pod["containers"][0]));
    assert!(!mounts(&pod["initContainers"][0]));
    install(&cluster, "builds.pushSecretName=");
}
