//! Builds that do not come to an image, and what runs meanwhile.

use fermata_tests::{Cluster, Space, eventually};
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
        .delete("hello-00002-build", &kube::api::DeleteParams::background())
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
