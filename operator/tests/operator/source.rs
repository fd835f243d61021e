//! Functions that are source code.

use fermata_crds::{Revision, conditions};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{World, revisions};

const INLINE: &str = "
source: { runtime: python, files: { main.py: 'def handle(r): return 1' } }
scale: { initial: 0 }
";

const MAPPED: &str = "
source: { runtime: python, configMap: { name: code } }
scale: { initial: 0 }
";

#[tokio::test]
async fn source_goes_into_a_config_map_that_never_changes() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", INLINE).await;
    world.ready("hello").await;
    let config_map = world
        .until::<ConfigMap>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(config_map.immutable, Some(true));
    assert_eq!(
        config_map.data.unwrap()["main.py"],
        "def handle(r): return 1"
    );
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(
        pod.containers[0].image.as_deref(),
        Some("example.com/python:1")
    );
    assert!(world.writes().len() <= 6, "{:#?}", world.writes());
    world.end().await;
}

#[tokio::test]
async fn a_missing_runtime_is_told_until_it_is_there() {
    let world = World::start().await;
    world.apply("hello", INLINE).await;
    let message = world
        .condition("hello", conditions::READY, ("False", "RuntimeNotFound"))
        .await;
    assert!(message.contains("no Runtime named python"), "{message}");
    assert!(revisions(&world, "hello").await.is_empty());
    world.create_runtime().await;
    world.ready("hello").await;
    world.end().await;
}

#[tokio::test]
async fn a_missing_or_empty_config_map_is_told_until_it_is_mended() {
    let world = World::start().await;
    world.create_runtime().await;
    world.apply("hello", MAPPED).await;
    let message = world
        .condition("hello", conditions::READY, ("False", "SourceNotFound"))
        .await;
    assert!(message.contains("no ConfigMap named code"), "{message}");
    world
        .create::<ConfigMap>(json!({"metadata": {"name": "code"}}))
        .await;
    world
        .condition("hello", conditions::READY, ("False", "InvalidSource"))
        .await;
    let code = json!({"binaryData": {"logo.png": "/w=="}, "data": {"main.py": "a"}});
    change_code(&world, code).await;
    world.ready("hello").await;
    let copy = world
        .until::<ConfigMap>("hello-00001", "there", |_| true)
        .await;
    assert_eq!(copy.binary_data.unwrap()["logo.png"].0, [0xff]);
    world.end().await;
}

#[tokio::test]
async fn what_names_dependencies_is_built_before_it_starts_and_an_annotation_builds_it_anew() {
    let world = World::start().await;
    world.create_runtime().await;
    let build = json!({"spec": {"build": {"image": "example.com/build:1", "command": ["build"],
        "inputs": ["requirements.txt"], "target": "/dependencies"}}});
    let runtimes = kube::Api::<fermata_crds::Runtime>::all(world.client.clone());
    let (params, build) = (PatchParams::default(), Patch::Merge(build));
    let patched = runtimes.patch("python", &params, &build).await;
    patched.expect("a Runtime that builds");
    let manifest = "
source: { runtime: python, files: { main.py: 'x', lib/a.py: 'y', requirements.txt: foo }, build: { env: [{ name: PIP_INDEX_URL, value: 'http://a' }] } }
scale: { initial: 0 }
";
    world.apply("hello", manifest).await;
    world.ready("hello").await;
    let deployment = world
        .until::<Deployment>("hello-00001", "there", |_| true)
        .await;
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let build = &pod.init_containers.unwrap()[0];
    assert_eq!(build.name, "fermata-build");
    let has = |env: &Option<Vec<k8s_openapi::api::core::v1::EnvVar>>, name: &str| {
        env.iter().flatten().any(|variable| variable.name == name)
    };
    assert!(has(&build.env, "PIP_INDEX_URL") && has(&build.env, "FERMATA_TARGET"));
    let function = &pod.containers[0];
    assert!(!has(&function.env, "PIP_INDEX_URL") && has(&function.env, "FERMATA_DEPENDENCIES"));
    let volumes = pod.volumes.unwrap();
    let paths = |name: &str| {
        let volume = volumes.iter().find(|volume| volume.name == name).unwrap();
        let items = volume.config_map.clone().unwrap().items.unwrap();
        items.into_iter().map(|item| item.path).collect::<Vec<_>>()
    };
    assert_eq!(paths("fermata-inputs"), ["requirements.txt"]);
    assert_eq!(
        paths("fermata-source"),
        ["lib/a.py", "main.py", "requirements.txt"]
    );

    let asked = json!({"metadata": {"annotations": {"fermata.dev/build": "now"}}});
    let functions = world.api::<fermata_crds::Function>();
    let patched = functions
        .patch("hello", &params, &Patch::Merge(asked))
        .await;
    patched.expect("an annotated Function");
    let again = world
        .until::<Deployment>("hello-00002", "there", |_| true)
        .await;
    let template = again.spec.unwrap().template;
    let annotations = template.metadata.unwrap().annotations.unwrap();
    assert_eq!(annotations["fermata.dev/build"], "now");
    world.end().await;
}

#[tokio::test]
async fn a_changed_config_map_makes_a_revision_and_a_changed_back_one_finds_it() {
    let world = World::start().await;
    world.create_runtime().await;
    world
        .create::<ConfigMap>(json!({"metadata": {"name": "code"}, "data": {"main.py": "a"}}))
        .await;
    world.apply("hello", MAPPED).await;
    world.serves("hello", "hello-00001").await;
    change_code(&world, json!({"data": {"main.py": "b"}})).await;
    world.serves("hello", "hello-00002").await;
    let revision = world
        .until::<Revision>("hello-00002", "there", |_| true)
        .await;
    let source = revision.spec.template.source.unwrap();
    assert_eq!(source.config_map, None);
    assert_eq!(source.files.unwrap()["main.py"], "b");
    change_code(&world, json!({"data": {"main.py": "a"}})).await;
    world.serves("hello", "hello-00001").await;
    assert_eq!(revisions(&world, "hello").await.len(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_config_map_is_read_once_for_each_change_and_again_when_no_revision_holds_it() {
    let world = World::start().await;
    let code = "/api/v1/namespaces/default/configmaps/code";
    world.create_runtime().await;
    world
        .create::<ConfigMap>(json!({"metadata": {"name": "code"}, "data": {"main.py": "a"}}))
        .await;
    world.apply("hello", MAPPED).await;
    world.serves("hello", "hello-00001").await;
    assert_eq!(world.reads(code), 1);

    // A new Revision of the same source takes it from the one before it.
    world.apply("hello", &format!("{MAPPED}port: 9000\n")).await;
    world.serves("hello", "hello-00002").await;
    let revision = world
        .until::<Revision>("hello-00002", "there", |_| true)
        .await;
    let source = revision.spec.template.source.unwrap();
    assert_eq!(source.files.unwrap()["main.py"], "a");
    assert_eq!(world.reads(code), 1);

    change_code(&world, json!({"data": {"main.py": "b"}})).await;
    world.serves("hello", "hello-00003").await;
    assert_eq!(world.reads(code), 2);

    world.delete::<Revision>("hello-00003").await;
    world.serves("hello", "hello-00004").await;
    assert_eq!(world.reads(code), 3);
    world.end().await;
}

async fn change_code(world: &World, patch: serde_json::Value) {
    let patched = world
        .api::<ConfigMap>()
        .patch("code", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.expect("a changed ConfigMap");
}
