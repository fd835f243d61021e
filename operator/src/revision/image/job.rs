//! The Job that builds an image: it fetches, installs and pushes, each in a container of its own, which alone has the
//! credentials for it.

use std::{collections::BTreeMap, sync::Arc};

use fermata_crds::{BuiltLayer, Revision, names};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Affinity, Container, EnvVar, PodSecurityContext, PodSpec, PodTemplateSpec,
            ResourceRequirements, SeccompProfile, SecretVolumeSource, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::ResourceExt as _;

use super::{Start, repository};
use crate::{
    children,
    observed::job::{ATTEMPT_ANNOTATION, KEY_ANNOTATION, REUSE_ANNOTATION},
    options::Options,
    revision::build::{
        config_map, dependencies, env, fetch,
        pod::{ARCHITECTURE_LABEL, pull_secrets},
        security,
    },
};

/// Seconds that a push may take, and for the wait for a node and for images.
const PUSH_SECONDS: i64 = 600;
const START_SECONDS: i64 = 600;

/// Seconds that a fetch may take, its own limit and a margin.
const FETCH_SECONDS: i64 = 330;

/// Seconds that a Job is kept once it has ended, for its logs.
const KEPT_SECONDS: i32 = 3600;

/// The most that layers may take on the node.
const MOST_SCRATCH: &str = "4Gi";

/// A layer that is there already.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reuse {
    pub(crate) layer: BuiltLayer,
    /// What machines it is for.
    pub(crate) architecture: Option<String>,
}

/// The layer to use again: that of the newest Revision.
pub(super) fn reuse(mut donors: Vec<Arc<Revision>>) -> Option<Reuse> {
    donors.sort_by_key(|donor| donor.creation_timestamp().map(|time| time.0));
    donors.iter().rev().find_map(|donor| {
        let build = donor.status.as_ref()?.build.as_ref()?;
        Some(Reuse {
            layer: build.dependencies.clone()?,
            architecture: build.architecture.clone(),
        })
    })
}

/// The Job. `template` is the function's pod, which says on which nodes it may run.
pub(crate) fn build(
    revision: &Revision,
    template: &PodTemplateSpec,
    start: &Start,
    options: &Options,
) -> Job {
    let name = revision.name_any();
    let mut labels = children::labels(&revision.spec.function_name, Some(&name));
    labels.insert(names::IMAGE_BUILD_LABEL.to_owned(), name.clone());
    let mut metadata = children::metadata(revision, &names::build_job_name(&name), labels.clone());
    let mut annotations = BTreeMap::from([
        (KEY_ANNOTATION.to_owned(), start.key.clone()),
        (ATTEMPT_ANNOTATION.to_owned(), start.attempt.to_string()),
    ]);
    annotations.extend(
        start
            .reuse
            .iter()
            .map(|reuse| (REUSE_ANNOTATION.to_owned(), reuse.layer.digest.clone())),
    );
    metadata.annotations = Some(annotations);
    // By that label a Deployment finds its pods, and this is none of them.
    labels.remove(names::REVISION_LABEL);
    Job {
        metadata,
        spec: Some(JobSpec {
            active_deadline_seconds: Some(deadline(revision, start)),
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            ttl_seconds_after_finished: Some(KEPT_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(revision, template, start, options)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn deadline(revision: &Revision, start: &Start) -> i64 {
    let source = revision.spec.template.source.as_ref();
    let own = source.map(fermata_crds::Source::build).unwrap_or_default();
    let build = i64::try_from(own.timeout().as_secs()).unwrap_or(i64::MAX);
    let installs = revision.spec.build().is_some() && start.reuse.is_none();
    let fetch = fetch::of(revision).map_or(0, |_| FETCH_SECONDS);
    let build = if installs { build } else { 0 };
    build.saturating_add(fetch + PUSH_SECONDS + START_SECONDS)
}

fn pod(
    revision: &Revision,
    template: &PodTemplateSpec,
    start: &Start,
    options: &Options,
) -> PodSpec {
    let function = template.spec.clone().unwrap_or_default();
    let mut volumes = Vec::new();
    let mut init = Vec::new();
    if let Some((git, commit)) = fetch::of(revision) {
        volumes.extend(fetch::volumes(git));
        init.push(fetch::container(revision, git, commit, options));
    } else {
        volumes.push(config_map::volume(revision, names::SOURCE_VOLUME, |_| true));
    }
    if let Some(build) = revision.spec.build().filter(|_| start.reuse.is_none()) {
        volumes.extend(dependencies::volumes(revision, build));
        init.push(timeless(dependencies::container(revision, build, options)));
    }
    volumes.push(fetch::empty(names::PUSH_VOLUME, MOST_SCRATCH));
    volumes.extend(options.builds.push_secret.as_deref().map(credentials));
    let mut push = vec![push(revision, start, options)];
    init.iter_mut().chain(&mut push).for_each(security::harden);
    let mut node_selector = function.node_selector;
    if let Some(architecture) = start
        .reuse
        .as_ref()
        .and_then(|reuse| reuse.architecture.clone())
    {
        // The layer is for these machines only.
        let nodes = node_selector.get_or_insert_default();
        nodes
            .entry(ARCHITECTURE_LABEL.to_owned())
            .or_insert(architecture);
    }
    PodSpec {
        // What binds instances to other pods does not bind this one.
        affinity: function
            .affinity
            .and_then(|affinity| affinity.node_affinity)
            .map(|nodes| Affinity {
                node_affinity: Some(nodes),
                ..Affinity::default()
            }),
        automount_service_account_token: Some(false),
        containers: push,
        enable_service_links: Some(false),
        host_users: function.host_users,
        image_pull_secrets: pull_secrets(&revision.spec.template, options, None),
        init_containers: (!init.is_empty()).then_some(init),
        node_selector,
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: function.runtime_class_name,
        security_context: Some(security_context(revision, options)),
        termination_grace_period_seconds: Some(5),
        tolerations: function.tolerations,
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// Files of an image have no times: what a build writes down about them must not depend on those either. Python's byte
/// code is then known by what its source holds, and would else be made anew at each start.
fn timeless(mut container: Container) -> Container {
    let variables = container.env.get_or_insert_default();
    if variables
        .iter()
        .all(|variable| variable.name != "SOURCE_DATE_EPOCH")
    {
        // The first day that a zip can name.
        variables.push(env::variable("SOURCE_DATE_EPOCH", "315532800"));
    }
    container
}

/// As restricted asks, whatever the function itself may do: installing takes no more.
fn security_context(revision: &Revision, options: &Options) -> PodSecurityContext {
    let own = security::pod(&revision.spec.template, &options.functions);
    let local = own
        .seccomp_profile
        .filter(|profile| profile.type_ == "Localhost");
    PodSecurityContext {
        run_as_user: own
            .run_as_user
            .filter(|user| *user != 0)
            .or(options.functions.source_user.0),
        run_as_group: own.run_as_group.filter(|group| *group != 0),
        run_as_non_root: Some(true),
        seccomp_profile: Some(local.unwrap_or_else(|| SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        })),
        ..PodSecurityContext::default()
    }
}

/// The Secret for the registry. One that is not there is told by the program, at once and in words: a pod that waits
/// for it would say so only in events.
fn credentials(secret: &str) -> Volume {
    Volume {
        name: names::REGISTRY_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn push(revision: &Revision, start: &Start, options: &Options) -> Container {
    let builds = &options.builds;
    let runtime = revision.spec.runtime.as_ref();
    let build = revision.spec.build();
    let namespace = revision.namespace().unwrap_or_default();
    let registry = builds.registry.as_deref().unwrap_or_default();
    // A ConfigMap is mounted as a folder of links; what they lead to is in one of its own.
    let code = match fetch::of(revision) {
        Some(_) => names::SOURCE_PATH.to_owned(),
        None => format!("{}/..data", names::SOURCE_PATH),
    };
    let base = runtime
        .map(|runtime| runtime.image.as_str())
        .unwrap_or_default();
    let mut variables = vec![
        ("REPOSITORY", repository(registry, &namespace)),
        ("BASE", base.to_owned()),
        ("TAG", revision.name_any()),
        ("CODE", code),
        ("CODE_TARGET", names::SOURCE_PATH.to_owned()),
        ("PLAIN_HTTP", builds.plain_http.to_string()),
        ("SCRATCH", names::PUSH_PATH.to_owned()),
        ("TIMEOUT", PUSH_SECONDS.to_string()),
    ];
    let mut mounts = vec![
        fetch::mounted(names::SOURCE_VOLUME, names::SOURCE_PATH, true),
        fetch::mounted(names::PUSH_VOLUME, names::PUSH_PATH, false),
    ];
    match (build, &start.reuse) {
        (_, Some(reuse)) => {
            let layer = serde_json::to_string(&reuse.layer).unwrap_or_default();
            variables.push(("REUSE", layer));
        }
        (Some(build), None) => {
            variables.push(("DEPENDENCIES", names::INPUTS_PATH.to_owned()));
            variables.push(("TARGET", build.target.clone()));
            mounts.push(fetch::mounted(
                names::DEPENDENCIES_VOLUME,
                names::INPUTS_PATH,
                true,
            ));
        }
        (None, None) => {}
    }
    if builds.push_secret.is_some() {
        variables.push(("CREDENTIALS", names::REGISTRY_PATH.to_owned()));
        mounts.push(VolumeMount {
            read_only: Some(true),
            ..fetch::mounted(names::REGISTRY_VOLUME, names::REGISTRY_PATH, true)
        });
    }
    let variable = |(name, value): (&str, String)| {
        env::variable(&format!("FERMATA_PUSH_{name}"), &env::literal(&value))
    };
    let mut variables: Vec<EnvVar> = variables.into_iter().map(variable).collect();
    variables.extend(env::proxy(options));
    let mut container = Container {
        name: names::PUSH_CONTAINER.to_owned(),
        image: Some(builds.image.clone()),
        command: Some(vec!["fermata-push".to_owned()]),
        env: Some(variables),
        resources: Some(resources()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        working_dir: Some(names::PUSH_PATH.to_owned()),
        ..Container::default()
    };
    container
        .security_context
        .get_or_insert_default()
        .read_only_root_filesystem = Some(true);
    container
}

/// It reads, compresses and sends piece by piece.
fn resources() -> ResourceRequirements {
    let quantities = |pairs: [(&str, &str); 2]| {
        let pairs = pairs.into_iter();
        Some(
            pairs
                .map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())))
                .collect(),
        )
    };
    ResourceRequirements {
        requests: quantities([("cpu", "10m"), ("memory", "64Mi")]),
        limits: quantities([("cpu", "1"), ("memory", "512Mi")]),
        ..ResourceRequirements::default()
    }
}
