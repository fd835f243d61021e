//! Builds that do not come to an image, and what runs meanwhile.

use fermata_crds::Runtime;
use fermata_tests::{Cluster, Space, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use serde_json::json;

use crate::world::{HANDLER, answering, jobs, names, source, told};

#[tokio::test]
async fn a_build_that_fails_keeps_the_old_revision_and_is_not_tried_again() {
    let space = Space::new().await;
    answering(&space, "hello", source("1.0", HANDLER, ""), "hello 1.0").await;
    let broken = source("1.0", HANDLER, "nothing-has-this-name==9\n");
    space
        .function("hello", json!({"source": broken, "scale": {"min": 1}}))
        .await;
    let message = space.fails("hello", "BuildFailed").await;
    assert!(
        message.contains("No matching distribution found for nothing-has-this-name==9"),
        "{message}"
    );
    let told = told(&space, "hello", "BuildFailed").await;
    assert!(told.contains("cannot be built"), "{told}");
    space.answers("hello", "hello 1.0").await;
    assert_eq!(
        names(&jobs(&space, "hello").await),
        ["hello-00001-build", "hello-00002-build"]
    );
    // What failed stays failed when the Job is forgotten.
    let uid = jobs(&space, "hello").await[1].metadata.uid.clone();
    space
        .api::<k8s_openapi::api::batch::v1::Job>()
        .delete("hello-00002-build", &DeleteParams::background())
        .await
        .expect("deleted");
    eventually("the Job is gone", async || {
        match jobs(&space, "hello").await.len() {
            1 => Ok(()),
            count => Err(format!("{count} Jobs")),
        }
    })
    .await;
    answering(&space, "hello", source("3.0", HANDLER, ""), "hello 3.0").await;
    let left = jobs(&space, "hello").await;
    assert_eq!(names(&left), ["hello-00001-build", "hello-00003-build"]);
    assert!(left.iter().all(|job| job.metadata.uid != uid));
}

#[tokio::test]
async fn a_build_that_takes_more_memory_than_it_may_is_killed_and_told() {
    let space = Space::new().await;
    let runtimes = Api::<Runtime>::all(space.client.clone());
    let mut greedy = runtimes.get("python").await.expect("the Runtime python");
    let name = format!("greedy-{}", space.name);
    greedy.metadata = ObjectMeta {
        name: Some(name.clone()),
        ..Default::default()
    };
    let build = greedy.spec.build.as_mut().expect("it builds");
    // Bytes that are written are memory; the kernel gives what is not.
    let script = "python3 -c \"x = b'x' * (160 << 20)\" && touch $FERMATA_TARGET/done";
    build.command = ["fermata-invoker", "build", "--", "sh", "-c", script]
        .map(ToOwned::to_owned)
        .to_vec();
    build.inputs = None;
    let made = runtimes.create(&PostParams::default(), &greedy).await;
    made.expect("a Runtime");
    let source = |memory: &str| {
        let resources = json!({"limits": {"memory": memory}, "requests": {"memory": "16Mi"}});
        json!({"runtime": name, "build": {"resources": resources},
            "files": {"main.py": "def handle(request):\n    return 'built'\n"}})
    };
    space
        .function("hello", json!({"source": source("64Mi")}))
        .await;
    let message = space.fails("hello", "BuildFailed").await;
    assert!(message.contains("source.build.resources"), "{message}");
    let (reason, message) = space.condition("hello", "Built", "False").await;
    assert_eq!(reason, "BuildFailed");
    assert!(message.contains("source.build.resources"), "{message}");
    // It was the kernel.
    let of_build = ListParams::default().labels("fermata.dev/image-build=hello-00001");
    let pods = space.api::<Pod>().list(&of_build).await;
    let pods = serde_json::to_value(pods.expect("pods").items).expect("JSON");
    let states = &pods[0]["status"]["initContainerStatuses"];
    assert_eq!(
        states[0]["state"]["terminated"]["reason"], "OOMKilled",
        "{pods}"
    );
    // With enough it succeeds.
    answering(&space, "hello", source("512Mi"), "built").await;
    let gone = runtimes.delete(&name, &DeleteParams::default()).await;
    gone.expect("deleted");
}

#[tokio::test]
async fn a_registry_that_is_away_delays_what_is_new_and_stops_nothing() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    answering(space, "hello", source("1.0", HANDLER, ""), "hello 1.0").await;
    cluster.stop("registry");
    space
        .function(
            "late",
            json!({"source": source("1.0", HANDLER, ""), "scale": {"min": 1}}),
        )
        .await;
    let message = told(space, "late", "RegistryUnreachable").await;
    assert!(
        message.contains("cannot be pushed now") && message.contains("tried again"),
        "{message}"
    );
    space.answers("hello", "hello 1.0").await;
    cluster.start("registry");
    space.ready("late").await;
    space.answers("late", "hello 1.0").await;
}

#[tokio::test]
async fn a_quota_counts_builds_and_is_told() {
    let space = Space::new().await;
    let quota = |jobs: &str| {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
            "spec": {"hard": {"count/jobs.batch": jobs}}})
    };
    space.apply(&quota("0")).await;
    // Until the quota is counted, everything is refused or allowed: the cluster says when.
    eventually("the quota is counted", async || {
        let quota = space
            .api::<k8s_openapi::api::core::v1::ResourceQuota>()
            .get("few")
            .await
            .expect("a quota");
        match quota.status.and_then(|status| status.used) {
            Some(used) if !used.is_empty() => Ok(()),
            used => Err(format!("{used:?}")),
        }
    })
    .await;
    space
        .function("hello", json!({"source": source("1.0", HANDLER, "")}))
        .await;
    let message = told(&space, "hello", "QuotaExceeded").await;
    assert!(message.contains("exceeded quota: few"), "{message}");
    space.apply(&quota("5")).await;
    // Something that changes is looked at at once; else it takes two minutes.
    space
        .function("hello", json!({"source": source("2.0", HANDLER, "")}))
        .await;
    space.ready("hello").await;
    space.answers("hello", "hello 2.0").await;
}
