//! What is to be done about a Revision's children. Pure.

use fermata_crds::Revision;
use fermata_daemon::watch::Key;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::ResourceExt as _;

use super::{build::Desired, dereference::Inputs, start};
use crate::{
    children::{self, APPLIED_ANNOTATION},
    drift::Accepted,
    observed::deployment::ObservedDeployment,
    plan::{self, ChildPlan},
};

/// What is to be done for a Revision: first about the source, which the pods mount.
#[derive(Debug, PartialEq)]
pub(crate) struct Prepared {
    /// Only for source functions.
    pub(crate) config_map: Option<ChildPlan<ConfigMap>>,
    pub(crate) deployment: ChildPlan<Deployment>,
}

/// Decides what to do. `live` is the Deployment with the Revision's name.
pub(crate) fn plan(
    desired: Desired,
    inputs: &Inputs,
    live: Option<&ObservedDeployment>,
    accepted: &Accepted,
) -> Prepared {
    let config_map = desired.config_map.map(|wanted| {
        // Its content never changes, so that only the labels and the owner can have.
        plan::plan(wanted, inputs.config_map.as_deref(), |wanted, live| {
            live.labels == children::own_labels(wanted.labels())
        })
    });
    let key = Key::of(&*inputs.revision);
    let mut deployment = plan::plan(desired.deployment, live, |wanted, live| {
        live.live.holds(wanted) || accepted.covers(&key, &digest_of(wanted), &live.live)
    });
    match (&mut deployment, live) {
        (ChildPlan::Create(deployment), _) => {
            let replicas = start::replicas_of(&inputs.revision, inputs.serving_ready);
            set_replicas(deployment, Some(replicas));
        }
        (ChildPlan::Repair(deployment), Some(live)) => keep_replicas(deployment, live),
        (ChildPlan::Adopt(deployment), Some(live)) => set_replicas(deployment, Some(live.wanted)),
        _ => {}
    }
    Prepared {
        config_map,
        deployment,
    }
}

/// The replicas belong to whoever scales. Until somebody does, leaving them out of an apply would
/// take them away, so they are sent as they are, together with the version they were read at: if
/// somebody scales in between, the apply is refused instead of undoing it.
pub(crate) fn keep_replicas(deployment: &mut Deployment, live: &ObservedDeployment) {
    deployment.metadata.uid = Some(live.uid.clone());
    set_replicas(deployment, (!live.scaled_by_others).then_some(live.wanted));
    if !live.scaled_by_others {
        deployment.metadata.resource_version = Some(live.resource_version.clone());
    }
}

fn set_replicas(deployment: &mut Deployment, replicas: Option<i32>) {
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = replicas;
    }
}

/// The digest of what is applied.
pub(crate) fn digest_of(deployment: &Deployment) -> String {
    let annotations = deployment.annotations();
    annotations
        .get(APPLIED_ANNOTATION)
        .cloned()
        .unwrap_or_default()
}

/// Whether the Deployment is this Revision's.
pub(crate) fn owns(revision: &Revision, deployment: &ObservedDeployment) -> bool {
    deployment.is_controlled_by(&revision.uid().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{fixtures::revision, observed, options::Options, revision::build};

    fn inputs(scale: &str) -> Inputs {
        let spec = format!("{{ functionName: hello, template: {{ image: a }}, scale: {scale} }}");
        Inputs {
            revision: Arc::new(revision(&spec)),
            function: None,
            deployment: None,
            config_map: None,
            pods: Vec::new(),
            job: None,
            build_pods: Vec::new(),
            serving_ready: Some(3),
        }
    }

    fn desired(inputs: &Inputs) -> Desired {
        build::build(&inputs.revision, &Options::default(), None).expect("a pod that may be")
    }

    /// The Deployment as it is after it was written, with this change.
    fn live(inputs: &Inputs, change: impl FnOnce(&mut Deployment)) -> ObservedDeployment {
        let mut live = desired(inputs).deployment;
        live.metadata.uid = Some("live".to_owned());
        live.metadata.resource_version = Some("7".to_owned());
        set_replicas(&mut live, Some(2));
        change(&mut live);
        observed::deployment::observe(live)
    }

    fn planned(inputs: &Inputs, live: Option<&ObservedDeployment>) -> ChildPlan<Deployment> {
        plan(desired(inputs), inputs, live, &Accepted::default()).deployment
    }

    fn replicas(deployment: &Deployment) -> Option<i32> {
        deployment.spec.as_ref()?.replicas
    }

    #[test]
    fn a_new_deployment_begins_as_large_as_what_it_will_replace() {
        let inputs = inputs("{ initial: 1, max: 20 }");
        let ChildPlan::Create(made) = planned(&inputs, None) else {
            panic!("it is not made");
        };
        assert_eq!(replicas(&made), Some(3));
    }

    #[test]
    fn what_is_as_wanted_is_kept_and_what_is_not_keeps_its_replicas() {
        let inputs = inputs("{ initial: 1 }");
        let kept = live(&inputs, |_| {});
        assert_eq!(planned(&inputs, Some(&kept)), ChildPlan::Keep);
        let changed = live(&inputs, |deployment| {
            deployment.annotations_mut().clear();
        });
        let ChildPlan::Repair(repaired) = planned(&inputs, Some(&changed)) else {
            panic!("it is not repaired");
        };
        assert_eq!(replicas(&repaired), Some(2));
        assert_eq!(repaired.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn one_that_lost_its_owner_is_taken_over_with_its_replicas() {
        let inputs = inputs("{ initial: 1 }");
        let orphan = live(&inputs, |deployment| {
            deployment.metadata.owner_references = None;
        });
        let ChildPlan::Adopt(adopted) = planned(&inputs, Some(&orphan)) else {
            panic!("it is not taken over");
        };
        assert_eq!(replicas(&adopted), Some(2));
        assert_eq!(adopted.metadata.uid.as_deref(), Some("live"));
    }
}
