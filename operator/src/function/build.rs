//! Step three: what a Function should have. Pure.

use std::collections::BTreeSet;

use fermata_crds::{Function, Revision, RevisionSpec, Scale, names};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt as _;

use super::{
    dereference::Inputs,
    revisions::{Current, Revisions},
    valid::Valid,
    validate::Invalid,
};
use crate::{
    children,
    inherited::Inherited,
    observed::service::ObservedService,
    options::Options,
    plan::{self, ChildPlan},
};

/// What is to be done for a Function.
pub(crate) struct Prepared {
    pub(crate) revisions: Revisions,
    /// Name of the Revision of the present template; while that is invalid, of the last valid one.
    pub(crate) current: Option<String>,
    /// A Revision to be made.
    pub(crate) create: Option<Revision>,
    /// Revisions that lost their owner and are taken over.
    pub(crate) adopt: Vec<Revision>,
    /// Revisions whose scale, labels and annotations have to follow the Function's.
    pub(crate) follow: Vec<Revision>,
    pub(crate) service: ChildPlan<Service>,
    /// Revisions that are no longer needed.
    pub(crate) surplus: Vec<std::sync::Arc<Revision>>,
}

/// Decides what to do for a Function. An invalid one keeps what it has.
pub(crate) fn build(
    inputs: &Inputs,
    valid: Result<&Valid, &Invalid>,
    options: &Options,
) -> Prepared {
    let function = &*inputs.function;
    let name = function.name_any();
    let uid = function.uid().unwrap_or_default();
    let status = function.status.as_ref();
    let revisions = Revisions::new(&name, &uid, inputs.revisions.clone());

    let (current, create) = match valid {
        Ok(valid) => match revisions.current(&valid.hash, status) {
            Current::Existing(revision) => (Some(revision.name_any()), None),
            Current::New(name) => {
                let revision = valid.revision(function, &name);
                (Some(name), Some(revision))
            }
        },
        Err(_) => {
            let last = status.and_then(|status| status.latest_created_revision.clone());
            (last.filter(|name| revisions.get(name).is_some()), None)
        }
    };
    let serving = revisions
        .serving(current.as_deref(), status)
        .map(|revision| revision.name_any());
    let followers = [&current, &serving].into_iter().flatten();
    let followers: BTreeSet<&String> = followers.collect();
    let orphans: BTreeSet<String> = revisions
        .orphans()
        .map(|orphan| orphan.name_any())
        .collect();
    let follower = |revision: &Revision| {
        let follows = followers.contains(&revision.name_any());
        let valid = valid.ok().filter(|_| follows);
        let scale = valid.map_or(&revision.spec.scale, |valid| &valid.scale);
        following(revision, function, scale)
    };
    let adopt = revisions
        .orphans()
        .map(|orphan| bound(orphan, follower(orphan)))
        .collect();
    let follow = followers
        .iter()
        .filter(|name| !orphans.contains(**name))
        .filter_map(|name| {
            let revision = revisions.get(name)?;
            let wanted = follower(revision);
            (!follows(revision, function, &wanted)).then_some(wanted)
        })
        .collect();
    let surplus = {
        let mut keep: BTreeSet<String> = [&current, &serving]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if let Some(status) = status {
            let targets = status.traffic.iter().map(|target| target.revision.clone());
            keep.extend(targets);
            keep.extend(status.latest_created_revision.clone());
        }
        let limit = function.spec.revision_history_limit();
        revisions.surplus(limit, &keep, &inputs.deployments)
    };
    Prepared {
        revisions,
        current,
        create,
        adopt,
        follow,
        service: service_plan(function, inputs.service.as_deref(), options),
        surplus,
    }
}

/// The Revision with this scale and the Function's labels and annotations. Nothing else of it changes.
fn following(revision: &Revision, function: &Function, scale: &Option<Scale>) -> Revision {
    let name = revision.name_any();
    let spec = RevisionSpec {
        scale: scale.clone(),
        ..revision.spec.clone()
    };
    let mut labels = children::labels(&function.name_any(), Some(&name));
    let hash = revision.labels().get_key_value(names::TEMPLATE_HASH_LABEL);
    labels.extend(hash.map(|(label, hash)| (label.clone(), hash.clone())));
    let mut following = Revision::new(&name, spec);
    following.metadata = children::metadata(function, &name, labels);
    Inherited::of(function).put_sealed(&mut following.metadata);
    following
}

/// Whether the Revision is as it is wanted.
fn follows(revision: &Revision, function: &Function, wanted: &Revision) -> bool {
    let mut labels = wanted.labels().iter();
    revision.spec.scale() == wanted.spec.scale()
        && labels.all(|(label, value)| revision.labels().get(label) == Some(value))
        && Inherited::of(function).is_on(revision)
}

/// The write of a Revision that is taken over. Nothing happens if somebody else changes it first.
fn bound(orphan: &Revision, mut adopted: Revision) -> Revision {
    let (uid, version) = (orphan.uid(), orphan.resource_version());
    children::bind(
        &mut adopted.metadata,
        &uid.unwrap_or_default(),
        &version.unwrap_or_default(),
    );
    adopted
}

fn service_plan(
    function: &Function,
    live: Option<&ObservedService>,
    options: &Options,
) -> ChildPlan<Service> {
    plan::plan(service(function, options), live, |wanted, live| {
        let content = live.live.as_ref();
        content.is_some_and(|content| content.holds(wanted))
    })
}

/// The Service that leads in-cluster callers to the gateway, which routes by the Host they ask for
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#externalname>).
fn service(function: &Function, options: &Options) -> Service {
    let name = function.name_any();
    let mut metadata = children::metadata(function, &name, children::labels(&name, None));
    Inherited::of(function).put(&mut metadata);
    children::sealed(Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ExternalName".to_owned()),
            external_name: Some(options.gateway_service.clone()),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

#[cfg(test)]
mod tests;
