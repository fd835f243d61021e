//! The pod that looks to which commit a reference leads. The operator itself runs no git and sees no credentials.

use std::collections::BTreeMap;

use fermata_crds::{Function, GitSource, names};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, LocalObjectReference, Pod, PodSecurityContext, PodSpec,
        ResourceRequirements, SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt as _;

use super::ASKED_ANNOTATION;
use crate::{children, options::Options, revision::build::fetch};

/// The most seconds that it may run.
const DEADLINE: i64 = 60;

/// The most that git may write, which for a look is nothing.
const MOST_SCRATCH: &str = "64Mi";

/// The name of a Function's pod, always the same: there is one at a time.
pub(crate) fn name(function: &str) -> String {
    format!("{function}-look")
}

/// The pod.
pub(crate) fn build(function: &Function, git: &GitSource, asked: &str, options: &Options) -> Pod {
    let own = function.name_any();
    // Not a function's labels: it is no pod of a Revision.
    let labels = BTreeMap::from([
        (names::LOOK_LABEL.to_owned(), own.clone()),
        (
            names::MANAGED_BY_LABEL.to_owned(),
            names::MANAGED_BY.to_owned(),
        ),
    ]);
    let mut metadata = children::metadata(function, &name(&own), labels);
    metadata.annotations = Some(BTreeMap::from([(
        ASKED_ANNOTATION.to_owned(),
        asked.to_owned(),
    )]));
    let mut volumes = vec![fetch::empty(names::FETCH_VOLUME, MOST_SCRATCH)];
    volumes.extend(fetch::credentials(git));
    Pod {
        metadata,
        spec: Some(PodSpec {
            active_deadline_seconds: Some(DEADLINE),
            automount_service_account_token: Some(false),
            containers: vec![container(git, options)],
            enable_service_links: Some(false),
            image_pull_secrets: pull_secrets(options),
            restart_policy: Some("Never".to_owned()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: options.functions.source_user.0,
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(1),
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn container(git: &GitSource, options: &Options) -> Container {
    let quantities = |pairs: [(&str, &str); 2]| {
        let pairs = pairs.into_iter();
        Some(
            pairs
                .map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())))
                .collect(),
        )
    };
    Container {
        name: "look".to_owned(),
        image: Some(options.git_image.clone()),
        command: Some(fetch::command(&["--look"])),
        env: Some(fetch::variables(git, options)),
        resources: Some(ResourceRequirements {
            requests: quantities([("cpu", "10m"), ("memory", "32Mi")]),
            limits: quantities([("cpu", "1"), ("memory", "256Mi")]),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(fetch::mounts(git)),
        working_dir: Some(names::FETCH_PATH.to_owned()),
        ..Container::default()
    }
}

fn pull_secrets(options: &Options) -> Option<Vec<LocalObjectReference>> {
    let names = &options.functions.runtime_pull_secrets;
    let secrets = names
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    (!names.is_empty()).then(|| secrets.collect())
}
