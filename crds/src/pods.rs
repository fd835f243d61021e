//! Which pods are a Revision's. The gateway sends requests to them and the operator judges by them, so both
//! take the decision here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names::REVISION_LABEL;

/// The label by which a Deployment tells its ReplicaSets apart.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The Revision that a pod belongs to: the one that its label names, if the pod is controlled by the
/// ReplicaSet of that Revision's Deployment. Labels alone are for everybody to write, who may then take
/// requests that are not theirs; what only says to be controlled by a ReplicaSet is collected as garbage,
/// or taken over by it.
#[must_use]
pub fn revision_of(pod: &ObjectMeta) -> Option<&str> {
    let labels = pod.labels.as_ref()?;
    let revision = labels.get(REVISION_LABEL)?;
    let hash = labels.get(TEMPLATE_HASH)?;
    let owners = pod.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let (name, own_hash) = owner.name.rsplit_once('-')?;
    let is_own = owner.kind == "ReplicaSet"
        && owner.api_version == "apps/v1"
        && name == revision
        && own_hash == hash;
    is_own.then_some(revision)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(hash: &str, owners: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(json!({
            "name": "hello-00001-7c5d-x",
            "labels": { "fermata.dev/revision": "hello-00001", "pod-template-hash": hash },
            "ownerReferences": owners,
        }))
        .expect("metadata")
    }

    fn owner(kind: &str, name: &str, controller: bool) -> serde_json::Value {
        json!([{
            "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": controller,
        }])
    }

    #[test]
    fn only_pods_of_the_revisions_replica_set_are_its_own() {
        let own = pod("7c5d", owner("ReplicaSet", "hello-00001-7c5d", true));
        assert_eq!(revision_of(&own), Some("hello-00001"));
        for other in [
            pod("7c5d", json!([])),
            pod("7c5d", owner("ReplicaSet", "hello-00001-7c5d", false)),
            pod("7c5d", owner("ReplicaSet", "thief-00001-7c5d", true)),
            pod("7c5d", owner("ReplicaSet", "hello-00001-0000", true)),
            pod("7c5d", owner("Job", "hello-00001-7c5d", true)),
            ObjectMeta::default(),
        ] {
            assert_eq!(revision_of(&other), None, "{other:?}");
        }
    }
}
