//! What the tests make and look at.

use fermata_crds::{Revision, RevisionBuild};
use fermata_tests::{Cluster, SYSTEM, Space, eventually, wheel};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{ResourceExt as _, api::ListParams};
use serde_json::{Value, json};

pub(crate) const HANDLER: &str =
    "import greeting\ndef handle(request):\n    return greeting.WORDS\n";

/// Source whose one dependency is a wheel among its files.
pub(crate) fn source(version: &str, handler: &str, more: &str) -> Value {
    let words = format!("WORDS = 'hello {version}'\n");
    json!({
        "runtime": "python",
        "files": {
            "main.py": handler,
            "requirements.txt": format!("--no-index\n--find-links wheels\ngreeting=={version}\n{more}"),
        },
        "binaryFiles": {
            format!("wheels/greeting-{version}-py3-none-any.whl"): wheel("greeting", version, &words),
        },
    })
}

/// Applies a function and waits until it answers this.
pub(crate) async fn answering(
    space: &Space,
    name: &str,
    source: Value,
    text: &str,
) -> RevisionBuild {
    space
        .function(name, json!({"source": source, "scale": {"min": 1}}))
        .await;
    space.ready(name).await;
    space.answers(name, text).await;
    build(space, name).await
}

/// What the newest Revision's status says of its image.
pub(crate) async fn build(space: &Space, name: &str) -> RevisionBuild {
    let newest: Option<Revision> = space.revisions(name).await.pop();
    let status = newest
        .and_then(|revision| revision.status)
        .unwrap_or_default();
    status.build.unwrap_or_default()
}

/// The Jobs of a function, by name.
pub(crate) async fn jobs(space: &Space, name: &str) -> Vec<Job> {
    let of_function = ListParams::default().labels(&format!("fermata.dev/function={name}"));
    let mut jobs = space
        .api::<Job>()
        .list(&of_function)
        .await
        .expect("Jobs can be listed")
        .items;
    jobs.sort_by_key(kube::ResourceExt::name_any);
    jobs
}

/// The names of all containers of a Job's pod.
pub(crate) fn containers(job: &Job) -> Vec<String> {
    let pod = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref())
        .expect("a pod");
    let all = pod.init_containers.iter().flatten().chain(&pod.containers);
    all.map(|container| container.name.clone()).collect()
}

/// The instances of a function that are not on their way out.
pub(crate) async fn instances(space: &Space, name: &str) -> Vec<Pod> {
    let selector = format!("fermata.dev/function={name},fermata.dev/revision");
    let pods = space
        .api::<Pod>()
        .list(&ListParams::default().labels(&selector))
        .await;
    let mut pods = pods.expect("pods can be listed").items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    pods
}

/// How many init containers the instances of a function have.
pub(crate) fn init_containers(pods: &[Pod]) -> usize {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    specs
        .map(|spec| spec.init_containers.iter().flatten().count())
        .sum()
}

/// Installs the chart with other values than it has, until the test is over.
pub(crate) fn install(cluster: &Cluster, values: &str) {
    let chart = fermata_tests::repository()
        .join("charts/fermata")
        .display()
        .to_string();
    cluster.helm(&[
        "upgrade",
        "fermata",
        &chart,
        "--namespace",
        SYSTEM,
        "--reuse-values",
        "--wait",
        "--timeout=3m",
        "--set",
        values,
    ]);
}

/// The repository of the test's namespace.
pub(crate) fn repository(space: &Space) -> String {
    let registry =
        std::env::var("FERMATA_TEST_REGISTRY").expect("cargo xtask test gives the registry");
    format!("{registry}/functions/{}", space.name)
}

/// Waits until the condition Built has a reason.
pub(crate) async fn told(space: &Space, name: &str, reason: &str) -> String {
    eventually(&format!("{name} is told {reason}"), async || {
        let status = space.get(name).await.status.unwrap_or_default();
        match fermata_crds::conditions::find(&status.conditions, "Built") {
            Some(built) if built.reason == reason => Ok(built.message.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// The names of Jobs.
pub(crate) fn names(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.name_any()).collect()
}
