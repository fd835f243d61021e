//! Functions whose source is in a git repository. The test plays the pod that looks.

use fermata_crds::{Function, Revision, conditions};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{World, revisions};

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";

const GIT: &str = "
source: { runtime: python, git: { url: 'https://example.com/shop', ref: main, path: a, secretName: reader } }
scale: { initial: 0 }
";

/// Lets the pod that looks end so, when it is there.
async fn answer(world: &World, code: i32, message: &str) -> Pod {
    let pod = world
        .until::<Pod>("hello-look", "unanswered", |pod| {
            pod.status
                .as_ref()
                .is_none_or(|status| status.container_statuses.is_none())
        })
        .await;
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [{
        "name": "look", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "message": message,
            "finishedAt": jiff::Timestamp::now().to_string()}}}]}});
    let pods = world.api::<Pod>();
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(status));
    let patched = pods.patch_status("hello-look", &parameters, &patch).await;
    patched.expect("a status");
    pod
}

async fn look_again(world: &World, text: &str) {
    let patch = json!({"metadata": {"annotations": {"fermata.dev/look": text}}});
    let functions = world.api::<Function>();
    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    let patched = functions.patch("hello", &parameters, &patch).await;
    patched.expect("an annotation");
}

#[tokio::test]
async fn a_pod_looks_and_the_commit_is_part_of_the_revision() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", GIT).await;
    let resolved = ("Unknown", "LookingUp");
    world.condition("hello", conditions::READY, resolved).await;
    assert!(revisions(&world, "hello").await.is_empty());
    let pod = answer(&world, 0, FIRST).await;
    let spec = pod.spec.expect("a spec");
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    assert!(
        !pod.metadata
            .labels
            .unwrap()
            .contains_key("fermata.dev/function")
    );

    world.ready("hello").await;
    let revision = world
        .until::<Revision>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(revision.spec.commit.as_deref(), Some(FIRST));
    world.until_gone::<Pod>("hello-look").await;
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let init = pod.init_containers.expect("init containers");
    assert_eq!(init[0].name, "fermata-fetch");
    let mounts = |name: &str| {
        let containers = init.iter().chain(&pod.containers);
        let mounting = containers.filter(|container| {
            let mut mounts = container.volume_mounts.iter().flatten();
            mounts.any(|mount| mount.name == name)
        });
        mounting
            .map(|container| container.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(mounts("fermata-git"), ["fermata-fetch"]);
    assert_eq!(mounts("fermata-source"), ["fermata-fetch", "function"]);
    let maps = world.api::<ConfigMap>().get_opt("hello-00001").await;
    assert!(maps.expect("an answer").is_none());
    world.end().await;
}

#[tokio::test]
async fn another_commit_is_another_revision_and_a_failure_keeps_the_old_one() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", GIT).await;
    answer(&world, 0, FIRST).await;
    world.ready("hello").await;
    for (text, commit, revision) in [("1", SECOND, "hello-00002"), ("2", FIRST, "hello-00001")] {
        world.until_gone::<Pod>("hello-look").await;
        look_again(&world, text).await;
        answer(&world, 0, commit).await;
        world.serves("hello", revision).await;
    }
    assert_eq!(revisions(&world, "hello").await.len(), 2);

    world.until_gone::<Pod>("hello-look").await;
    look_again(&world, "3").await;
    answer(&world, 66, "fermata: there is no branch").await;
    let failed = ("False", "RefNotFound");
    let message = world
        .condition("hello", conditions::SOURCE_RESOLVED, failed)
        .await;
    assert!(message.starts_with("there is no branch"), "{message}");
    world.ready("hello").await;
    world.serves("hello", "hello-00001").await;
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_undecided_and_what_is_forbidden_is_told() {
    let world = World::start().await;
    world.create_runtime().await;
    world.refuse("/pods", 403, "Forbidden", "quota is used up");
    world.apply("hello", GIT).await;
    let refused = ("False", "LookFailed");
    let message = world.condition("hello", conditions::READY, refused).await;
    assert!(message.contains("quota is used up"), "{message}");
    world.allow();
    look_again(&world, "1").await;
    answer(&world, 75, "fermata: away").await;
    let away = ("Unknown", "RepositoryUnreachable");
    world.condition("hello", conditions::READY, away).await;
    world.end().await;
}

#[tokio::test]
async fn a_commit_in_the_manifest_is_not_looked_up() {
    let world = World::start().await;
    world.create_runtime().await;
    world
        .apply(
            "hello",
            &GIT.replace("ref: main", &format!("ref: '{FIRST}'")),
        )
        .await;
    world.ready("hello").await;
    let revision = world
        .until::<Revision>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(revision.spec.commit.as_deref(), Some(FIRST));
    assert!(!world.writes().iter().any(|line| line.contains("/pods")));
    world.end().await;
}

#[tokio::test]
async fn the_pod_goes_when_the_source_is_in_git_no_more() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", GIT).await;
    world.until::<Pod>("hello-look", "there", |_| true).await;
    let files = "
source: { runtime: python, files: { main.py: 'def handle(r): return 1' } }
scale: { initial: 0 }
";
    world.apply("hello", files).await;
    world.until_gone::<Pod>("hello-look").await;
    world.ready("hello").await;
}
