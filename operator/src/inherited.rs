//! What the children of a Function take over of its labels and annotations. Its pods take nothing:
//! an edit of metadata alone must not restart them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt as _};

use crate::{children::APPLIED_ANNOTATION, digest::digest};

/// Domains whose labels and annotations are about the object they stand on: Fermata's own, and those by
/// which Kubernetes, kubectl and Helm keep their books.
const BOUND_DOMAINS: [&str; 4] = ["fermata.dev", "kubernetes.io", "k8s.io", "helm.sh"];

/// Labels and annotations that an object hands down.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Inherited {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

// === impl Inherited ===

impl Inherited {
    /// What the object hands down.
    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        let free = |map: &BTreeMap<String, String>| {
            let free = map.iter().filter(|(key, _)| !is_bound(key));
            free.map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        Self {
            labels: free(object.labels()),
            annotations: free(object.annotations()),
        }
    }

    /// Puts it onto a child whose apply carries a digest of the whole.
    pub(crate) fn put(&self, metadata: &mut ObjectMeta) {
        let labels = metadata.labels.get_or_insert_default();
        labels.extend(self.labels.clone());
        if !self.annotations.is_empty() {
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.extend(self.annotations.clone());
        }
    }

    /// Puts it onto a child together with a digest of it, so that what is not handed down any more is
    /// seen to have gone. Without anything to hand down there is no digest.
    pub(crate) fn put_sealed(&self, metadata: &mut ObjectMeta) {
        self.put(metadata);
        if let Some(digest) = self.digest() {
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.insert(APPLIED_ANNOTATION.to_owned(), digest);
        }
    }

    /// Whether the child has what was put onto it with its digest, and nothing else of the kind.
    pub(crate) fn is_on<K: Resource>(&self, child: &K) -> bool {
        let holds = |there: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
            let mut wanted = wanted.iter();
            wanted.all(|(key, value)| there.get(key) == Some(value))
        };
        child.annotations().get(APPLIED_ANNOTATION) == self.digest().as_ref()
            && holds(child.labels(), &self.labels)
            && holds(child.annotations(), &self.annotations)
    }

    fn digest(&self) -> Option<String> {
        let empty = self.labels.is_empty() && self.annotations.is_empty();
        (!empty).then(|| digest(&serde_json::json!([self.labels, self.annotations])))
    }
}

fn is_bound(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    BOUND_DOMAINS.iter().any(|bound| {
        let above = domain.strip_suffix(bound);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::function;

    fn labelled(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Inherited {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let mut function = function("image: a");
        function.metadata.labels = Some(map(labels));
        function.metadata.annotations = Some(map(annotations));
        Inherited::of(&function)
    }

    #[test]
    fn bookkeeping_stays_where_it_is() {
        let kept = labelled(
            &[
                ("team", "shop"),
                ("example.com/cost", "7"),
                ("mykubernetes.io/x", "y"),
                ("fermata.dev/function", "other"),
                ("app.kubernetes.io/managed-by", "Helm"),
            ],
            &[
                ("example.com/owner", "me"),
                ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
                ("meta.helm.sh/release-name", "shop"),
                ("kubernetes.io/description", "x"),
            ],
        );
        let labels: Vec<&str> = kept.labels.keys().map(String::as_str).collect();
        assert_eq!(labels, ["example.com/cost", "mykubernetes.io/x", "team"]);
        let annotations: Vec<&str> = kept.annotations.keys().map(String::as_str).collect();
        assert_eq!(annotations, ["example.com/owner"]);
    }

    #[test]
    fn what_goes_from_the_parent_is_missed_on_the_child() {
        let both = labelled(&[("team", "shop")], &[("note", "hi")]);
        let one = labelled(&[("team", "shop")], &[]);
        let none = labelled(&[], &[]);
        let child = |inherited: &Inherited| {
            let mut child = function("image: a");
            inherited.put_sealed(&mut child.metadata);
            child
        };
        for (put, wanted, is_on) in [
            (&both, &both, true),
            (&both, &one, false),
            (&one, &both, false),
            (&both, &none, false),
            (&none, &none, true),
        ] {
            assert_eq!(wanted.is_on(&child(put)), is_on, "{put:?} {wanted:?}");
        }
        let mut edited = child(&both);
        edited.labels_mut().insert("more".into(), "x".into());
        assert!(both.is_on(&edited), "what others add is theirs");
        edited.labels_mut().insert("team".into(), "x".into());
        assert!(!both.is_on(&edited));
    }
}
