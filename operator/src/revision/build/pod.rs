//! The pod of a function: one container that listens on a port named http.

use std::collections::BTreeMap;

use fermata_crds::{Revision, SecurityLevel, Template, names, probes};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, Lifecycle, LifecycleHandler, LocalObjectReference, PodSpec,
        PodTemplateSpec, SleepAction, VolumeMount,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt as _;

use super::{
    Image, config_map, dependencies, env, fetch,
    overlay::{Overlay, OverlayError},
    security,
};
use crate::{children, options::Options};

/// How long a pod that was told to go still takes requests, in seconds, so that the gateways have
/// stopped sending by then. At most half of the grace period.
const PRE_STOP_SECONDS: i64 = 5;

/// The label of nodes that says what machines they are.
pub(crate) const ARCHITECTURE_LABEL: &str = "kubernetes.io/arch";

/// The pod template, with the user's own merged over it.
pub(crate) fn build(
    revision: &Revision,
    options: &Options,
    image: Option<&Image>,
) -> Result<PodTemplateSpec, OverlayError> {
    let template = &revision.spec.template;
    let name = revision.name_any();
    let overlay = Overlay::of(template)?;
    let grace_period = overlay
        .grace_period
        .unwrap_or_else(|| grace_period_seconds(template));
    let mut labels = children::labels(&revision.spec.function_name, Some(&name));
    labels.insert(
        "app.kubernetes.io/name".to_owned(),
        revision.spec.function_name.clone(),
    );
    let pod = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: build_annotation(revision),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(revision, grace_period, options, image)),
    };
    let mut pod = overlay.over(&pod)?;
    if let Some(spec) = &mut pod.spec {
        complete(spec, template);
        if let Some(architecture) = image.and_then(|image| image.architecture.clone()) {
            let nodes = spec.node_selector.get_or_insert_default();
            nodes
                .entry(ARCHITECTURE_LABEL.to_owned())
                .or_insert(architecture);
        }
    }
    Ok(pod)
}

/// What asked for another build of the same.
fn build_annotation(revision: &Revision) -> Option<BTreeMap<String, String>> {
    let requested = revision.spec.build_requested.clone()?;
    Some(BTreeMap::from([(
        names::BUILD_ANNOTATION.to_owned(),
        requested,
    )]))
}

/// What depends on the user's part of the pod.
fn complete(spec: &mut PodSpec, template: &Template) {
    // A token is mounted where an account is named, here or there.
    let named = spec.service_account_name.is_some();
    spec.automount_service_account_token.get_or_insert(named);
    let mut containers = spec.containers.iter_mut();
    let function = containers.find(|container| container.name == names::CONTAINER);
    // Kubernetes would probe every ten seconds; a new Revision should not wait that long for its first
    // request.
    if let Some(probe) = function.and_then(|function| function.readiness_probe.as_mut()) {
        probe.period_seconds.get_or_insert(1);
    }
    if template.security().profile() == SecurityLevel::Restricted {
        let init = spec.init_containers.iter_mut().flatten();
        init.chain(&mut spec.containers).for_each(security::harden);
    }
}

fn spec(
    revision: &Revision,
    grace_period: i64,
    options: &Options,
    image: Option<&Image>,
) -> PodSpec {
    let template = &revision.spec.template;
    let security_options = template.security();
    let mut volumes = template.volumes.clone().unwrap_or_default();
    let mut init = Vec::new();
    if image.is_some() {
        // Everything is in it.
    } else if let Some((git, commit)) = fetch::of(revision) {
        volumes.extend(fetch::volumes(git));
        init.push(fetch::container(revision, git, commit, options));
    } else if template.source.is_some() {
        volumes.push(config_map::volume(revision, names::SOURCE_VOLUME, |_| true));
    }
    if let Some(build) = revision.spec.build().filter(|_| image.is_none()) {
        volumes.extend(dependencies::volumes(revision, build));
        init.push(dependencies::container(revision, build, options));
    }
    PodSpec {
        init_containers: (!init.is_empty()).then_some(init),
        containers: vec![container(revision, grace_period, options, image)],
        volumes: (!volumes.is_empty()).then_some(volumes),
        service_account_name: template.service_account_name.clone(),
        // They cost each start time that grows with the number of Services, and nobody reads them.
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(template, options, image),
        security_context: Some(security::pod(template, &options.functions)),
        runtime_class_name: security_options.runtime_class_name,
        host_users: security_options.host_users,
        termination_grace_period_seconds: Some(grace_period),
        ..PodSpec::default()
    }
}

fn container(
    revision: &Revision,
    grace_period: i64,
    options: &Options,
    image: Option<&Image>,
) -> Container {
    let template = &revision.spec.template;
    let runtime = revision.spec.runtime.as_ref();
    let mut mounts = template.volume_mounts.clone().unwrap_or_default();
    let source = template.source.is_some();
    if source && image.is_none() {
        mounts.push(VolumeMount {
            name: names::SOURCE_VOLUME.to_owned(),
            mount_path: names::SOURCE_PATH.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
    let installs = revision.spec.build().filter(|_| image.is_none());
    mounts.extend(installs.map(dependencies::mount));
    Container {
        name: names::CONTAINER.to_owned(),
        image: image
            .map(|image| image.reference.clone())
            .or_else(|| runtime.map(|runtime| runtime.image.clone()))
            .or_else(|| template.image.clone()),
        command: runtime
            .map(|runtime| runtime.command.clone())
            .or_else(|| template.command.clone()),
        args: template.args.clone(),
        env: Some(env::build(revision, &options.gateway_url())),
        env_from: template.env_from.clone(),
        image_pull_policy: template.image_pull_policy.clone(),
        lifecycle: lifecycle(grace_period),
        liveness_probe: template.liveness_probe.clone(),
        ports: Some(vec![ContainerPort {
            name: Some(names::PORT_NAME.to_owned()),
            container_port: template.port().into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        readiness_probe: Some(probes::readiness(template)),
        resources: template
            .resources
            .clone()
            .or_else(|| options.functions.resources.clone()),
        startup_probe: probes::startup(template),
        // So that a crash is told with its last words, to everybody who sees the pod's status.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        working_dir: if source {
            Some(names::SOURCE_PATH.to_owned())
        } else {
            template.working_dir.clone()
        },
        ..Container::default()
    }
}

/// The wait before SIGTERM. Within half of the grace period, which a manifest may make short, so that the
/// function has time to finish as well.
fn lifecycle(grace_period: i64) -> Option<Lifecycle> {
    let seconds = PRE_STOP_SECONDS.min(grace_period / 2);
    (seconds > 0).then(|| Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    })
}

/// Those of the manifest, those of the Runtimes' images, and that of an image that was built.
pub(crate) fn pull_secrets(
    template: &Template,
    options: &Options,
    image: Option<&Image>,
) -> Option<Vec<LocalObjectReference>> {
    let mut secrets = template.image_pull_secrets.clone().unwrap_or_default();
    if template.source.is_some() {
        let own = image.and(options.builds.push_secret.as_ref());
        for name in options.functions.runtime_pull_secrets.iter().chain(own) {
            if secrets.iter().all(|secret| secret.name != *name) {
                secrets.push(LocalObjectReference { name: name.clone() });
            }
        }
    }
    (!secrets.is_empty()).then_some(secrets)
}

/// The longest request that may be running when the pod is told to go, and the time until it is
/// told, in whole seconds.
fn grace_period_seconds(template: &Template) -> i64 {
    let request = template.timeouts().request();
    let partial = u64::from(request.subsec_nanos() > 0);
    let seconds = i64::try_from(request.as_secs() + partial);
    seconds.map_or(i64::MAX, |seconds| seconds.saturating_add(PRE_STOP_SECONDS))
}
