//! What is built once, and used by many.

use fermata_crds::Runtime;
use fermata_tests::{Cluster, Gateway, GitServer, Space, eventually};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::world::{
    HANDLER, answering, build, containers, init_containers, install, instances, jobs, names,
    repository, source,
};

#[tokio::test]
async fn a_function_is_built_once_and_its_instances_install_nothing() {
    let space = Space::new().await;
    let first = answering(&space, "hello", source("1.0", HANDLER, ""), "hello 1.0").await;
    let image = first.image.clone().expect("an image");
    assert!(
        image.starts_with(&format!("{}@sha256:", repository(&space))),
        "{image}"
    );
    let (reason, message) = space.condition("hello", "Built", "True").await;
    assert_eq!(
        (reason.as_str(), message),
        ("Built", format!("built into {image}"))
    );
    let pods = instances(&space, "hello").await;
    assert_eq!(init_containers(&pods), 0);
    let spec = pods[0].spec.as_ref().expect("a spec");
    assert_eq!(spec.containers[0].image.as_ref(), Some(&image));
    let made = jobs(&space, "hello").await;
    assert_eq!(names(&made), ["hello-00001-build"]);
    assert_eq!(containers(&made[0]), ["fermata-build", "fermata-push"]);

    // Other code takes the same layer over; so does another function, and the same files give the same image.
    let louder = HANDLER.replace("WORDS", "WORDS.upper()");
    let second = answering(&space, "hello", source("1.0", &louder, ""), "HELLO 1.0").await;
    assert_eq!(second.dependencies, first.dependencies);
    assert_ne!(second.image, first.image);
    let made = jobs(&space, "hello").await;
    assert_eq!(containers(made.last().expect("a Job")), ["fermata-push"]);
    let other = answering(&space, "other", source("1.0", HANDLER, ""), "hello 1.0").await;
    assert_eq!(other.image, first.image);
    assert_eq!(
        containers(&jobs(&space, "other").await[0]),
        ["fermata-push"]
    );

    // Other dependencies are built.
    let changed = answering(&space, "hello", source("2.0", HANDLER, ""), "hello 2.0").await;
    assert_ne!(changed.key, first.key);
    assert_eq!(
        containers(jobs(&space, "hello").await.last().expect("a Job")),
        ["fermata-build", "fermata-push"]
    );
}

#[tokio::test]
async fn a_newer_image_of_the_runtime_takes_the_layers_as_they_are() {
    let space = Space::new().await;
    let first = answering(&space, "hello", source("1.0", HANDLER, ""), "hello 1.0").await;
    let runtimes = Api::<Runtime>::all(space.client.clone());
    let mut newer = runtimes.get("python").await.expect("the Runtime python");
    let name = format!("newer-{}", space.name);
    newer.metadata = kube::api::ObjectMeta {
        name: Some(name.clone()),
        ..Default::default()
    };
    // The same by its tag is another one for whoever compares.
    let (repository, _) = newer.spec.image.split_once('@').expect("by digest");
    newer.spec.image = format!("{repository}:{}", env!("CARGO_PKG_VERSION"));
    runtimes
        .create(&PostParams::default(), &newer)
        .await
        .expect("a Runtime");
    let mut moved = source("1.0", HANDLER, "");
    moved["runtime"] = json!(name);
    let second = answering(&space, "hello", moved, "hello 1.0").await;
    assert_eq!(
        (&second.key, &second.dependencies),
        (&first.key, &first.dependencies)
    );
    assert_eq!(second.base, Some(newer.spec.image.clone()));
    assert_eq!(
        containers(jobs(&space, "hello").await.last().expect("a Job")),
        ["fermata-push"]
    );
    runtimes
        .delete(&newer.name_any(), &DeleteParams::default())
        .await
        .expect("deleted");
}

/// Deletes a function, its Revisions and Jobs, and its image with all layers from the registry: nothing is left that
/// another build could use.
async fn forget(space: &Space, name: &str, image: &str) {
    space.remove(name).await;
    eventually("Revisions and Jobs are gone", async || {
        let left = (
            space.revisions(name).await.len(),
            jobs(space, name).await.len(),
        );
        if left == (0, 0) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    let (repository, digest) = image.split_once('@').expect("by digest");
    let (host, path) = repository.split_once('/').expect("a host");
    let registry = Gateway {
        address: host.parse().expect("an address"),
    };
    let ask = async |method: Method, what: &str| {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v2/{path}/{what}"))
            .header("accept", "application/vnd.oci.image.manifest.v1+json")
            .body(Full::default());
        registry.send(request.expect("a request")).await
    };
    let manifest = format!("manifests/{digest}");
    let listed = ask(Method::GET, &manifest).await.ok().json();
    let layers = listed["layers"].as_array().expect("layers");
    let mut parts = vec![manifest];
    for part in layers.iter().chain([&listed["config"]]) {
        let digest = part["digest"].as_str().expect("a digest");
        parts.push(format!("blobs/{digest}"));
    }
    for part in parts {
        ask(Method::DELETE, &part).await.ok();
        let there = ask(Method::HEAD, &part).await;
        assert_eq!(there.status, StatusCode::NOT_FOUND, "{part}");
    }
}

#[tokio::test]
async fn what_is_built_again_from_nothing_is_the_same_to_the_bit() {
    let space = Space::new().await;
    let first = answering(&space, "hello", source("1.0", HANDLER, ""), "hello 1.0").await;
    let image = first.image.clone().expect("an image");
    for _ in 0..2 {
        forget(&space, "hello", &image).await;
        let again = answering(&space, "hello", source("1.0", HANDLER, ""), "hello 1.0").await;
        assert_eq!(
            containers(&jobs(&space, "hello").await[0]),
            ["fermata-build", "fermata-push"]
        );
        assert_eq!(again, first);
    }
}

#[tokio::test]
async fn source_in_git_is_fetched_once() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let git = GitServer::start(space.platform.api_address().await);
    git.commit(
        "shop",
        &[("main.py", "def handle(request): return 'from git'\n")],
    );
    let source = json!({"runtime": "python", "git": {"url": git.url("shop"), "ref": "main"}});
    answering(space, "hello", source, "from git").await;
    let pods = instances(space, "hello").await;
    assert_eq!(init_containers(&pods), 0);
    assert_eq!(
        containers(&jobs(space, "hello").await[0])[0],
        "fermata-fetch"
    );
}

#[tokio::test]
async fn an_image_stays_when_builds_are_switched_off_and_what_is_new_installs_for_itself() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let first = answering(space, "hello", source("1.0", HANDLER, ""), "hello 1.0").await;
    let before = instances(space, "hello").await;
    install(&cluster, "builds.registry=");
    answering(space, "plain", source("1.0", HANDLER, ""), "hello 1.0").await;
    assert_eq!(init_containers(&instances(space, "plain").await), 1);
    assert_eq!(build(space, "hello").await, first);
    let after = instances(space, "hello").await;
    assert_eq!(
        after[0].name_any(),
        before[0].name_any(),
        "it goes on running"
    );

    let registry = repository(space)
        .trim_end_matches(&space.name)
        .trim_end_matches('/')
        .to_owned();
    install(&cluster, &format!("builds.registry={registry}"));
    space.condition("plain", "Built", "True").await;
    eventually(
        "what runs is built, and goes over to the image",
        async || {
            let pods = instances(space, "plain").await;
            match init_containers(&pods) {
                0 if !pods.is_empty() => Ok(()),
                count => Err(format!("{count} init containers in {} pods", pods.len())),
            }
        },
    )
    .await;
    space.answers("plain", "hello 1.0").await;
}
