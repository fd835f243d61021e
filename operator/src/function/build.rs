//! Step three: what a Function should have. Pure.

use std::collections::BTreeSet;

use fermata_crds::{Function, Revision, RevisionSpec, Scale, names};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt as _;

use super::{
    dereference::Seen,
    revisions::{Current, Revisions},
    validate::{Invalid, Valid},
};
use crate::{children, observed::service::ObservedService, options::Options};

/// What is to be done for a Function.
pub(crate) struct Prepared {
    pub(crate) revisions: Revisions,
    /// Name of the Revision of the present template; while that is invalid, of the last valid one.
    pub(crate) current: Option<String>,
    /// A Revision to be made.
    pub(crate) create: Option<Revision>,
    /// Revisions that lost their owner and are taken over.
    pub(crate) adopt: Vec<Revision>,
    /// Revisions whose scale has to follow the Function's.
    pub(crate) rescale: Vec<Revision>,
    pub(crate) service: ServicePlan,
    /// Revisions that are no longer needed.
    pub(crate) surplus: Vec<std::sync::Arc<Revision>>,
}

/// What is to be done about the Function's Service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ServicePlan {
    /// It is as it should be.
    Keep,
    /// It has to be made.
    Create(Box<Service>),
    /// Somebody changed it, or it lost its owner.
    Repair(Box<Service>),
    /// The name is taken.
    Foreign,
}

/// Decides what to do for a Function. An invalid one keeps what it has.
pub(crate) fn build(seen: &Seen, valid: Result<&Valid, &Invalid>, options: &Options) -> Prepared {
    let function = &*seen.function;
    let name = function.name_any();
    let uid = function.uid().unwrap_or_default();
    let status = function.status.as_ref();
    let revisions = Revisions::new(&name, &uid, seen.revisions.clone());

    let (current, create) = match valid {
        Ok(valid) => match revisions.current(&valid.hash, status) {
            Current::Existing(revision) => (Some(revision.name_any()), None),
            Current::New(name) => {
                let revision = revision(function, &name, valid);
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
    let adopt = revisions
        .orphans()
        .map(|orphan| {
            let follows = followers.contains(&orphan.name_any());
            let scale = valid.ok().filter(|_| follows).map(|valid| &valid.scale);
            adopted(orphan, function, scale.unwrap_or(&orphan.spec.scale))
        })
        .collect();
    let rescale = valid.map_or_else(
        |_| Vec::new(),
        |valid| {
            let followers = followers.iter().filter(|name| !orphans.contains(**name));
            followers
                .filter_map(|name| rescaled(revisions.get(name)?, function, valid))
                .collect()
        },
    );
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
        revisions.surplus(limit, &keep, &seen.deployments)
    };
    Prepared {
        revisions,
        current,
        create,
        adopt,
        rescale,
        service: service_plan(function, seen.service.as_deref(), options),
        surplus,
    }
}

/// The Revision of a valid template.
pub(super) fn revision(function: &Function, name: &str, valid: &Valid) -> Revision {
    let mut labels = children::labels(&function.name_any(), Some(name));
    labels.insert(
        names::TEMPLATE_HASH_LABEL.to_owned(),
        valid.hash.as_str().to_owned(),
    );
    let spec = RevisionSpec {
        function_name: function.name_any(),
        template: valid.template.clone(),
        runtime: valid.runtime.clone(),
        scale: valid.scale.clone(),
    };
    let mut revision = Revision::new(name, spec);
    revision.metadata = children::metadata(function, name, labels);
    revision
}

/// The Revision with the Function's scale, if it has another one. Nothing else of it changes.
fn rescaled(revision: &Revision, function: &Function, valid: &Valid) -> Option<Revision> {
    let defaults = |scale: &Option<Scale>| scale.clone().unwrap_or_default();
    if defaults(&revision.spec.scale) == defaults(&valid.scale) {
        return None;
    }
    Some(with_scale(revision, function, &valid.scale))
}

/// The Revision that lost its owner, under this one. Nothing happens if somebody else changes it first.
fn adopted(orphan: &Revision, function: &Function, scale: &Option<Scale>) -> Revision {
    let mut adopted = with_scale(orphan, function, scale);
    let (uid, version) = (orphan.uid(), orphan.resource_version());
    children::bind(
        &mut adopted.metadata,
        &uid.unwrap_or_default(),
        &version.unwrap_or_default(),
    );
    adopted
}

fn with_scale(revision: &Revision, function: &Function, scale: &Option<Scale>) -> Revision {
    let mut scaled = Revision::new(
        &revision.name_any(),
        RevisionSpec {
            scale: scale.clone(),
            ..revision.spec.clone()
        },
    );
    scaled.metadata = children::metadata(
        function,
        &revision.name_any(),
        revision.metadata.labels.clone().unwrap_or_default(),
    );
    scaled
}

fn service_plan(
    function: &Function,
    live: Option<&ObservedService>,
    options: &Options,
) -> ServicePlan {
    let mut service = service(function, options);
    let Some(live) = live else {
        return ServicePlan::Create(Box::new(service));
    };
    let own = live.is_controlled_by(&function.uid().unwrap_or_default());
    let orphan = live.is_orphan(&children::labels(&function.name_any(), None));
    match &live.live {
        _ if !own && !orphan => ServicePlan::Foreign,
        // It is made anew once it is gone.
        _ if live.deleting => ServicePlan::Keep,
        Some(content) if own && content.holds(&service) => ServicePlan::Keep,
        _ => {
            if orphan {
                children::bind(&mut service.metadata, &live.uid, &live.resource_version);
            }
            ServicePlan::Repair(Box::new(service))
        }
    }
}

/// The Service that leads in-cluster callers to the gateway, which routes by the Host they ask for
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#externalname>).
fn service(function: &Function, options: &Options) -> Service {
    let name = function.name_any();
    children::sealed(Service {
        metadata: children::metadata(function, &name, children::labels(&name, None)),
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
