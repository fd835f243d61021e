use k8s_openapi::api::core::v1::Container;
use serde_json::{Value, json};

use super::*;
use crate::{
    fixtures,
    observed::{job, pod},
};

const REGISTRY: &str = "r.example/fn";
const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

const BUILT: &str = "
functionName: hello
template: { source: { runtime: python, files: { main.py: 'x = 1', requirements.txt: foo } } }
runtime:
  image: example.com/python:1
  command: [fermata-invoker, python]
  build: { image: example.com/build:1, command: [b], target: /dependencies, inputs: [requirements.txt] }
";

const GIT: &str = "
functionName: hello
template:
  source: { runtime: python, git: { url: 'https://git.example/x', secretName: git } }
commit: '1111111111111111111111111111111111111111'
runtime: { image: example.com/python:1, command: [fermata-invoker, python] }
";

struct Scene {
    inputs: Inputs,
    options: Options,
    donors: Vec<Arc<Revision>>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn options() -> Options {
    let mut options = Options::default();
    options.builds.registry = Some(REGISTRY.to_owned());
    options
}

impl Scene {
    fn new(spec: &str) -> Self {
        Self {
            inputs: Inputs {
                revision: Arc::new(fixtures::revision(spec)),
                function: None,
                deployment: None,
                config_map: None,
                pods: Vec::new(),
                job: None,
                build_pods: Vec::new(),
                serving_ready: None,
            },
            options: options(),
            donors: Vec::new(),
        }
    }

    fn decide(&self, now: i64) -> Decision {
        let revision = &self.inputs.revision;
        let template = build::pod_template(revision, &self.options).expect("a pod");
        decide(
            &self.inputs,
            &template,
            |_| self.donors.clone(),
            &self.options,
            at(now),
        )
    }

    /// What was decided is what the status says from now on.
    fn keep(&mut self, decision: &Decision) {
        let outcomes: Vec<Outcome> = decision.outcome.clone().into_iter().collect();
        let status = fermata_crds::RevisionStatus {
            build: decision.status.clone(),
            conditions: conditions::merge(&[], &outcomes, None, Timestamp::UNIX_EPOCH),
            ..Default::default()
        };
        Arc::make_mut(&mut self.inputs.revision).status = Some(status);
    }

    fn start(&self) -> Start {
        match self.decide(0).next {
            Next::Start(start) => *start,
            other => panic!("{other:?}"),
        }
    }

    fn made(&self) -> k8s_openapi::api::batch::v1::Job {
        let revision = &self.inputs.revision;
        let template = build::pod_template(revision, &self.options).expect("a pod");
        super::job::build(revision, &template, &self.start(), &self.options)
    }

    /// The Job runs, or has ended like this at second 100.
    fn job(&mut self, condition: Option<(&str, &str)>) {
        self.inputs.job = None;
        let mut job = self.made();
        job.metadata.uid = Some("job-uid".into());
        let conditions = condition.map(|(kind, reason)| {
            json!([{"type": kind, "status": "True", "reason": reason, "lastTransitionTime": at(100).to_string()}])
        });
        job.status = serde_json::from_value(json!({"conditions": conditions})).expect("a status");
        self.inputs.job = Some(Arc::new(job::observe(job)));
    }

    /// Its pod has a container that ended like this.
    fn pod(&mut self, container: &str, exit_code: i32, message: &str) {
        let status = json!([{"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit_code, "message": message}}}]);
        let which = if container == "fermata-push" {
            "containerStatuses"
        } else {
            "initContainerStatuses"
        };
        let pod = json!({"metadata": {"name": "p", "labels": {"fermata.dev/image-build": "hello-00001"}},
            "spec": {"containers": []}, "status": {which: status}});
        let pod = pod::observe(serde_json::from_value(pod).expect("a Pod"));
        self.inputs.build_pods = vec![Arc::new(pod)];
    }
}

fn result(image: &str) -> String {
    json!({"image": image, "digest": DIGEST, "architecture": "amd64",
        "layers": {"dependencies": {"digest": DIGEST, "diffId": DIGEST, "size": 7}}})
    .to_string()
}

fn told(decision: &Decision) -> (Status, String) {
    let outcome = decision.outcome.as_ref().expect("a condition");
    (outcome.status, outcome.reason.clone())
}

fn fails(container: &str, exit_code: i32) -> (Decision, Scene) {
    let mut scene = Scene::new(BUILT);
    scene.job(Some(("Failed", "BackoffLimitExceeded")));
    scene.pod(container, exit_code, "a\nfermata: the last words\n");
    (scene.decide(101), scene)
}

#[test]
fn without_a_registry_or_anything_to_build_nothing_changes() {
    let mut scene = Scene::new(BUILT);
    scene.options = Options::default();
    assert_eq!(scene.decide(0), without());
    let plain = Scene::new("{ functionName: hello, template: { image: a } }");
    assert_eq!(plain.decide(0), without());
}

#[test]
fn an_image_is_built_and_then_run_also_when_the_registry_is_switched_off() {
    let mut scene = Scene::new(BUILT);
    assert_eq!(scene.start().attempt, 1);
    scene.job(None);
    assert_eq!(
        told(&scene.decide(0)),
        (Status::Unknown, reasons::BUILDING.to_owned())
    );
    assert!(scene.decide(0).is_pending());
    scene.job(Some(("Complete", "")));
    let image = format!("{REGISTRY}/default@{DIGEST}");
    scene.pod("fermata-push", 0, &result(&image));
    let decision = scene.decide(101);
    assert_eq!(told(&decision), (Status::True, reasons::BUILT.to_owned()));
    assert_eq!(
        decision.image().map(|image| &*image.reference),
        Some(&*image)
    );
    scene.keep(&decision);
    scene.inputs.job = None;
    assert_eq!(scene.decide(9999).next, decision.next);
    scene.options.builds.registry = None;
    assert_eq!(scene.decide(9999).next, decision.next);
    scene.options.builds.registry = Some("elsewhere.example".into());
    assert!(matches!(scene.decide(9999).next, Next::Start(_)));
}

#[test]
fn an_image_of_another_namespace_or_by_a_tag_is_not_run() {
    for image in [
        format!("{REGISTRY}/other@{DIGEST}"),
        format!("{REGISTRY}/default/x@{DIGEST}"),
        format!("evil.example/default@{DIGEST}"),
        format!("{REGISTRY}/default:latest"),
        format!("{REGISTRY}/default@sha256:1"),
    ] {
        let mut scene = Scene::new(BUILT);
        scene.job(Some(("Complete", "")));
        scene.pod("fermata-push", 0, &result(&image));
        let decision = scene.decide(101);
        assert_eq!(decision.image(), None, "{image}");
        assert_eq!(told(&decision).0, Status::Unknown, "{image}");
    }
}

#[test]
fn the_function_is_at_fault_once_and_a_registry_for_a_while() {
    let (decision, mut scene) = fails("fermata-build", 1);
    assert_eq!(
        told(&decision),
        (Status::False, reasons::BUILD_FAILED.to_owned())
    );
    assert_eq!(decision.next, Next::Wait(None));
    scene.keep(&decision);
    // The cluster has forgotten the Job.
    scene.inputs.job = None;
    assert_eq!(scene.decide(99_999).next, Next::Wait(None));
    assert_eq!(scene.decide(99_999).failure, decision.failure);

    for (container, exit_code, status, reason) in [
        (
            "fermata-build",
            75,
            Status::Unknown,
            reasons::REGISTRY_UNREACHABLE,
        ),
        (
            "fermata-push",
            75,
            Status::Unknown,
            reasons::REGISTRY_UNREACHABLE,
        ),
        (
            "fermata-fetch",
            75,
            Status::Unknown,
            reasons::REPOSITORY_UNREACHABLE,
        ),
        ("fermata-push", 77, Status::False, reasons::PUSH_REFUSED),
        // Such as for want of memory.
        (
            "fermata-push",
            137,
            Status::Unknown,
            reasons::REGISTRY_UNREACHABLE,
        ),
    ] {
        let (decision, mut scene) = fails(container, exit_code);
        assert_eq!(told(&decision), (status, reason.to_owned()));
        assert!(
            decision
                .failure
                .as_ref()
                .is_some_and(|failure| failure.message.ends_with("the last words"))
        );
        assert_eq!(decision.next, Next::Wait(Some(Duration::from_secs(9))));
        scene.keep(&decision);
        assert!(matches!(scene.decide(110).next, Next::Discard(_)));
        scene.inputs.job = None;
        assert_eq!(scene.start().attempt, 2);
    }
    assert_eq!(
        [1, 2, 3, 9].map(|attempt| retry(attempt).as_secs()),
        [10, 20, 40, 300]
    );
}

#[test]
fn who_is_evicted_or_late_is_built_again() {
    for reason in ["BackoffLimitExceeded", "DeadlineExceeded"] {
        let mut scene = Scene::new(BUILT);
        scene.job(Some(("Failed", reason)));
        assert_eq!(told(&scene.decide(101)).0, Status::Unknown);
        assert!(matches!(scene.decide(200).next, Next::Discard(_)));
    }
}

#[test]
fn a_pod_that_its_node_ended_is_not_at_fault_unless_it_was_too_large() {
    for (status, again) in [
        (
            json!({"reason": "Evicted", "message": "The node was low on resource: memory."}),
            true,
        ),
        (
            json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]}),
            true,
        ),
        (
            json!({"reason": "Evicted", "message": "Usage of EmptyDir volume \"fermata-build\" exceeds the limit \"4Gi\". "}),
            false,
        ),
        (json!({}), false),
    ] {
        let mut scene = Scene::new(BUILT);
        scene.job(Some(("Failed", "BackoffLimitExceeded")));
        let mut status = status;
        status["phase"] = json!("Failed");
        status["initContainerStatuses"] = json!([{"name": "fermata-build", "image": "", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 137}}}]);
        let pod = json!({"metadata": {"name": "p", "labels": {"fermata.dev/image-build": "hello-00001"}},
            "spec": {"containers": []}, "status": status});
        let pod = pod::observe(serde_json::from_value(pod).expect("a Pod"));
        scene.inputs.build_pods = vec![Arc::new(pod)];
        let expected = if again {
            Status::Unknown
        } else {
            Status::False
        };
        assert_eq!(told(&scene.decide(101)).0, expected, "{status}");
    }
}

#[test]
fn a_layer_whose_machines_do_not_come_is_used_no_more() {
    let mut scene = Scene::new(BUILT);
    scene.donors = vec![Arc::new(donor())];
    assert!(scene.start().reuse.is_some());
    scene.job(Some(("Failed", "DeadlineExceeded")));
    let decision = scene.decide(200);
    scene.keep(&decision);
    scene.inputs.job = None;
    assert_eq!((scene.start().reuse, scene.start().attempt), (None, 2));
}

/// A Revision that has built the layer.
fn donor() -> Revision {
    let mut donor = fixtures::revision(BUILT);
    let layer = fermata_crds::BuiltLayer {
        digest: DIGEST.into(),
        diff_id: DIGEST.into(),
        size: 7,
    };
    donor.status = Some(fermata_crds::RevisionStatus {
        build: Some(RevisionBuild {
            dependencies: Some(layer),
            architecture: Some("arm64".into()),
            ..RevisionBuild::default()
        }),
        ..Default::default()
    });
    donor
}

#[test]
fn a_layer_is_used_again_until_one_is_gone() {
    let donor = donor();
    let layer = donor
        .status
        .as_ref()
        .and_then(|status| status.build.clone());
    let layer = layer.and_then(|build| build.dependencies);
    let mut other = donor.clone();
    if let Some(build) = other
        .status
        .as_mut()
        .and_then(|status| status.build.as_mut())
    {
        build.dependencies = layer.clone().map(|layer| fermata_crds::BuiltLayer {
            digest: DIGEST.replace('a', "b"),
            ..layer
        });
    }
    let mut scene = Scene::new(BUILT);
    scene.donors = vec![Arc::new(other), Arc::new(donor)];
    assert_eq!(scene.start().reuse.map(|reuse| reuse.layer), layer);
    let spec = scene
        .made()
        .spec
        .expect("a spec")
        .template
        .spec
        .expect("a pod");
    assert_eq!(spec.init_containers, None);
    let nodes = spec.node_selector.expect("nodes");
    assert_eq!(
        nodes.get("kubernetes.io/arch").map(String::as_str),
        Some("arm64")
    );
    scene.job(Some(("Failed", "BackoffLimitExceeded")));
    scene.pod("fermata-push", 66, "gone");
    let decision = scene.decide(101);
    assert!(matches!(decision.next, Next::Discard(_)));
    scene.keep(&decision);
    scene.inputs.job = None;
    assert_eq!(scene.start().reuse, None);
    assert_eq!(scene.start().attempt, 1);
}

#[test]
fn a_job_of_somebody_else_is_left_alone() {
    let mut scene = Scene::new(BUILT);
    let mut job = scene.made();
    job.metadata.owner_references = None;
    scene.inputs.job = Some(Arc::new(job::observe(job)));
    let decision = scene.decide(0);
    assert_eq!(
        told(&decision),
        (Status::False, reasons::JOB_CONFLICT.to_owned())
    );
    assert!(matches!(decision.next, Next::Wait(Some(_))));
}

#[test]
fn the_key_is_that_of_what_the_dependencies_depend_on() {
    let key = |spec: &str| {
        let revision = fixtures::revision(spec);
        let template = build::pod_template(&revision, &options()).expect("a pod");
        key::of(&revision, &template)
    };
    let own = key(BUILT);
    for same in [
        BUILT.replace("x = 1", "x = 2"),
        BUILT.replace("python:1", "python:2"),
    ] {
        assert_eq!(key(&same), own, "{same}");
    }
    for other in [
        BUILT.replace("requirements.txt: foo", "requirements.txt: bar"),
        BUILT.replace("build:1", "build:2"),
        BUILT.replace("[b]", "[c]"),
        BUILT.replace("/dependencies", "/other"),
        BUILT.replace(
            "functionName: hello",
            "functionName: hello\nbuildRequested: now",
        ),
        BUILT.replace(
            "files: {",
            "build: { env: [{ name: A, value: b }] }, files: {",
        ),
        BUILT.replace(
            "template: {",
            "template: { podTemplate: { spec: { nodeSelector: { disk: fast } } },",
        ),
    ] {
        assert_ne!(key(&other), own, "{other}");
    }
}

/// Which containers mount a volume.
fn mounted(pod: &k8s_openapi::api::core::v1::PodSpec, volume: &str) -> Vec<String> {
    let all = pod.init_containers.iter().flatten().chain(&pod.containers);
    let has = |container: &&k8s_openapi::api::core::v1::Container| {
        container
            .volume_mounts
            .iter()
            .flatten()
            .any(|mount| mount.name == volume)
    };
    all.filter(has)
        .map(|container| container.name.clone())
        .collect()
}

#[test]
fn each_container_has_what_it_needs_and_no_more() {
    let mut scene = Scene::new(&GIT.replace(
        "command: [fermata-invoker, python] }",
        "command: [a], build: { image: b, command: [c], target: /dependencies } }",
    ));
    scene.options.builds.push_secret = Some("push".to_owned());
    let job = scene.made();
    assert_eq!(job.metadata.name.as_deref(), Some("hello-00001-build"));
    let spec = job.spec.expect("a spec");
    assert_eq!(
        (spec.backoff_limit, spec.ttl_seconds_after_finished),
        (Some(0), Some(3600))
    );
    let labels = spec
        .template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone())
        .expect("labels");
    assert!(!labels.contains_key("fermata.dev/revision"));
    let pod = spec.template.spec.clone().expect("a pod");
    assert_eq!(mounted(&pod, "fermata-git"), ["fermata-fetch"]);
    assert_eq!(mounted(&pod, "fermata-registry"), ["fermata-push"]);
    assert_eq!(pod.automount_service_account_token, Some(false));
    let violations = fermata_crds::pod_security::violations(
        fermata_crds::pod_security::Level::Restricted,
        &spec.template.metadata.clone().unwrap_or_default(),
        &pod,
    );
    assert!(violations.is_empty(), "{}", violations.len());
}

#[test]
fn what_is_built_depends_on_no_time() {
    let pod = Scene::new(BUILT)
        .made()
        .spec
        .expect("a spec")
        .template
        .spec
        .expect("a pod");
    let init = pod.init_containers.expect("a build");
    let env = init[0].env.as_ref().expect("variables");
    assert!(
        env.iter()
            .any(|variable| variable.name == "SOURCE_DATE_EPOCH")
    );
}

#[test]
fn a_job_is_restricted_whatever_the_function_may_do() {
    let spec = BUILT.replace(
        "template: {",
        "template: { security: { profile: baseline, runAsUser: 0 },",
    );
    let pod = Scene::new(&spec)
        .made()
        .spec
        .expect("a spec")
        .template
        .spec
        .expect("a pod");
    let context = pod.security_context.expect("a context");
    assert_eq!(
        (context.run_as_user, context.run_as_non_root),
        (Some(65532), Some(true))
    );
}

#[test]
fn an_image_is_run_without_anything_that_fetches_or_installs() {
    for spec in [BUILT, GIT] {
        let image = build::Image {
            reference: "r.example/x".into(),
            architecture: Some("amd64".into()),
        };
        let mut options = options();
        options.builds.push_secret = Some("push".to_owned());
        let desired =
            build::build(&fixtures::revision(spec), &options, Some(&image)).expect("built");
        let pod: Value = serde_json::to_value(desired.deployment).expect("JSON");
        let pod = &pod["spec"]["template"]["spec"];
        assert_eq!(pod["initContainers"], Value::Null);
        assert_eq!(pod["volumes"], Value::Null);
        assert_eq!(pod["containers"][0]["image"], "r.example/x");
        assert_eq!(pod["containers"][0]["workingDir"], "/function");
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "push"}]));
        assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/arch": "amd64"}));
    }
}

#[test]
fn what_fetches_builds_and_pushes_knows_the_proxy_and_the_function_does_not() {
    let mut scene = Scene::new(GIT);
    scene.options.proxy.https = Some("http://proxy:3128".to_owned());
    let pod = scene.made().spec.expect("a spec").template.spec;
    let pod = pod.expect("a pod");
    let init = pod.init_containers.iter().flatten();
    let proxy = |container: &Container| {
        let mut env = container.env.iter().flatten();
        let found = env.find(|variable| variable.name == "HTTPS_PROXY");
        found.and_then(|variable| variable.value.clone())
    };
    let known: Vec<_> = init.chain(&pod.containers).map(proxy).collect();
    assert!(known.len() > 1);
    assert!(
        known
            .iter()
            .all(|known| known.as_deref() == Some("http://proxy:3128")),
        "{known:?}"
    );
    let template = build::pod_template(&scene.inputs.revision, &scene.options);
    let template = template.expect("a pod").spec.expect("a pod");
    assert_eq!(proxy(&template.containers[0]), None);
}
