//! The Deployment of a Revision.

use std::collections::BTreeMap;

use fermata_crds::{Revision, names};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt as _;

use crate::{children, inherited::Inherited};

/// How long Kubernetes itself gives a Deployment to make progress, in seconds.
const PROGRESS_DEADLINE: i32 = 600;

/// The installation of dependencies has its own time before that of the start. Default: Kubernetes' own.
fn progress_deadline(revision: &Revision) -> Option<i32> {
    revision.spec.build()?;
    let build = revision.spec.template.source.as_ref()?.build();
    let seconds = i32::try_from(build.timeout().as_secs()).unwrap_or(i32::MAX);
    Some(seconds.saturating_add(PROGRESS_DEADLINE))
}

/// The Deployment, without its replicas.
pub(crate) fn build(revision: &Revision, pod: PodTemplateSpec, has_image: bool) -> Deployment {
    let name = revision.name_any();
    let selector = BTreeMap::from([(names::REVISION_LABEL.to_owned(), name.clone())]);
    let labels = children::labels(&revision.spec.function_name, Some(&name));
    let mut metadata = children::metadata(revision, &name, labels);
    Inherited::of(revision).put(&mut metadata);
    let deployment = Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            selector: LabelSelector {
                match_labels: Some(selector),
                match_expressions: None,
            },
            // The template changes only with a release of the operator. Then no replica goes
            // before another one has taken its place.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            progress_deadline_seconds: progress_deadline(revision).filter(|_| !has_image),
            // Revisions are the history that counts.
            revision_history_limit: Some(1),
            template: pod,
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    children::sealed(deployment)
}
