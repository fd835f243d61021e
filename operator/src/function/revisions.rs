//! Which Revision is current, which one gets the requests, and which ones are no longer needed.
//! Pure.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use fermata_crds::{FunctionStatus, Revision, names};
use kube::ResourceExt as _;

use super::hash::TemplateHash;
use crate::{cache::controller_uid, children, observed::deployment::ObservedDeployment};

/// The Revision of the Function's present template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Current {
    /// It exists, perhaps because an old template came back.
    Existing(Arc<Revision>),
    /// It has to be made, under this name.
    New(String),
}

/// The Revisions of one Function.
pub(crate) struct Revisions {
    function: String,
    /// All that name the Function, newest first.
    all: Vec<Arc<Revision>>,
    /// Those that belong to it and not to a deleted Function of the same name, newest first; also
    /// those that such a Function left without an owner.
    own: Vec<Arc<Revision>>,
}

// === impl Revisions ===

impl Revisions {
    pub(crate) fn new(function: &str, uid: &str, mut all: Vec<Arc<Revision>>) -> Self {
        all.sort_by_key(|revision| std::cmp::Reverse(number(function, revision)));
        let own = all
            .iter()
            .filter(|revision| {
                (controller_uid(&***revision) == Some(uid) || is_orphan(function, revision))
                    && revision.metadata.deletion_timestamp.is_none()
            })
            .cloned()
            .collect();
        Self {
            function: function.to_owned(),
            all,
            own,
        }
    }

    pub(crate) fn own(&self) -> &[Arc<Revision>] {
        &self.own
    }

    /// Those that are to be taken over: they lost their owner.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = &Arc<Revision>> {
        let own = self.own.iter();
        own.filter(|revision| is_orphan(&self.function, revision))
    }

    /// Takes in a Revision that was just made or changed.
    pub(crate) fn put(&mut self, revision: Arc<Revision>) {
        let name = revision.name_any();
        for list in [&mut self.all, &mut self.own] {
            match list.iter_mut().find(|other| other.name_any() == name) {
                Some(other) => *other = revision.clone(),
                None => list.insert(0, revision.clone()),
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Revision>> {
        self.own.iter().find(|revision| revision.name_any() == name)
    }

    /// The Revision of a template: the one that has its digest, else a new one under the next free
    /// number. Numbers that were ever told in the status are not used again.
    pub(crate) fn current(&self, hash: &TemplateHash, status: Option<&FunctionStatus>) -> Current {
        let existing = self.own.iter().find(|revision| {
            revision
                .labels()
                .get(names::TEMPLATE_HASH_LABEL)
                .map(String::as_str)
                == Some(hash.as_str())
        });
        if let Some(revision) = existing {
            return Current::Existing(revision.clone());
        }
        let told = status.into_iter().flat_map(|status| {
            [
                &status.latest_created_revision,
                &status.latest_ready_revision,
            ]
        });
        let told = told
            .flatten()
            .filter_map(|name| names::revision_number(&self.function, name));
        let existing = self
            .all
            .iter()
            .filter_map(|revision| number(&self.function, revision));
        let next = told.chain(existing).max().unwrap_or(0).saturating_add(1);
        Current::New(names::revision_name(&self.function, next))
    }

    /// The Revision that gets the requests: the current one once it has been ready; until then the
    /// one that had them. A Revision that was overtaken before it was ready never gets any, unless
    /// there is no other.
    pub(crate) fn serving(
        &self,
        current: Option<&str>,
        status: Option<&FunctionStatus>,
    ) -> Option<&Arc<Revision>> {
        let proven = |name: &str| self.get(name).filter(|revision| has_been_ready(revision));
        current
            .and_then(proven)
            .or_else(|| proven(status?.latest_ready_revision.as_deref()?))
            .or_else(|| self.own.iter().find(|revision| has_been_ready(revision)))
    }

    /// The Revisions beyond the limit, oldest first. One that is current, has requests or had them
    /// a moment ago, or still has replicas is never among them.
    pub(crate) fn surplus(
        &self,
        limit: u32,
        keep: &BTreeSet<String>,
        deployments: &HashMap<String, Arc<ObservedDeployment>>,
    ) -> Vec<Arc<Revision>> {
        let history = self
            .own
            .iter()
            .filter(|revision| !keep.contains(&revision.name_any()));
        let mut surplus: Vec<_> = history
            .skip(usize::try_from(limit).unwrap_or(usize::MAX))
            .filter(|revision| is_at_rest(revision, deployments))
            .cloned()
            .collect();
        surplus.reverse();
        surplus
    }
}

pub(crate) fn has_been_ready(revision: &Revision) -> bool {
    revision
        .status
        .as_ref()
        .is_some_and(|status| status.has_been_ready)
}

/// Whether the Revision is one of this Function's that lost its owner.
fn is_orphan(function: &str, revision: &Revision) -> bool {
    let wanted = children::labels(function, Some(&revision.name_any()));
    children::is_orphan(controller_uid(revision), revision.labels(), &wanted)
}

fn is_at_rest(revision: &Revision, deployments: &HashMap<String, Arc<ObservedDeployment>>) -> bool {
    let deployment = deployments.get(&revision.name_any());
    let replicas = revision.status.as_ref().and_then(|status| status.replicas);
    replicas.unwrap_or(0) == 0
        && deployment.is_none_or(|deployment| deployment.wanted == 0 && deployment.replicas == 0)
}

fn number(function: &str, revision: &Revision) -> Option<u64> {
    names::revision_number(function, &revision.name_any())
}

#[cfg(test)]
mod tests {
    use fermata_crds::Template;
    use serde_json::json;

    use super::*;

    fn hash(image: &str) -> TemplateHash {
        let template = Template {
            image: Some(image.to_owned()),
            ..Template::default()
        };
        TemplateHash::of(&template, None, None, None)
    }

    fn revision(number: u64, uid: &str, image: &str, ready: bool) -> Arc<Revision> {
        let revision = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Revision",
            "metadata": {
                "name": names::revision_name("hello", number),
                "labels": {names::TEMPLATE_HASH_LABEL: hash(image).as_str()},
                "ownerReferences": [{"apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
                    "name": "hello", "uid": uid, "controller": true}],
            },
            "spec": {"functionName": "hello", "template": {"image": image}},
            "status": {"hasBeenReady": ready},
        });
        Arc::new(serde_json::from_value(revision).expect("a Revision"))
    }

    fn revisions(all: &[(u64, &str, &str, bool)]) -> Revisions {
        let all = all
            .iter()
            .map(|&(number, uid, image, ready)| revision(number, uid, image, ready));
        Revisions::new("hello", "me", all.collect())
    }

    fn status(created: &str, ready: &str) -> FunctionStatus {
        FunctionStatus {
            latest_created_revision: Some(created.into()),
            latest_ready_revision: Some(ready.into()),
            ..FunctionStatus::default()
        }
    }

    #[test]
    fn numbers_count_up_past_everything_that_ever_was() {
        let new = |name: &str| Current::New(name.to_owned());
        assert_eq!(revisions(&[]).current(&hash("a"), None), new("hello-00001"));
        let known = revisions(&[(9, "me", "a", true), (10, "me", "b", true)]);
        assert_eq!(known.current(&hash("c"), None), new("hello-00011"));
        let told = status("hello-00041", "hello-00010");
        assert_eq!(known.current(&hash("c"), Some(&told)), new("hello-00042"));
        let left = revisions(&[(3, "predecessor", "a", true)]);
        assert_eq!(left.current(&hash("a"), None), new("hello-00004"));
    }

    #[test]
    fn what_a_deleted_function_left_behind_is_its_successors_and_nothing_else() {
        let orphan = |change: fn(&mut Revision)| {
            let mut orphan = (*revision(1, "gone", "a", true)).clone();
            orphan.metadata.owner_references = None;
            let labels = children::labels("hello", Some("hello-00001"));
            orphan.labels_mut().extend(labels);
            change(&mut orphan);
            let known = Revisions::new("hello", "me", vec![Arc::new(orphan)]);
            (known.own().len(), known.orphans().count())
        };
        assert_eq!(orphan(|_| {}), (1, 1));
        let foreign: [fn(&mut Revision); 4] = [
            |orphan| orphan.labels_mut().clear(),
            |orphan| {
                let label = names::FUNCTION_LABEL.to_owned();
                orphan.labels_mut().insert(label, "other".to_owned());
            },
            |orphan| {
                let label = names::REVISION_LABEL.to_owned();
                orphan.labels_mut().insert(label, "hello-00002".to_owned());
            },
            |orphan| {
                orphan.metadata.owner_references = revision(1, "another", "a", true)
                    .metadata
                    .owner_references
                    .clone();
            },
        ];
        for change in foreign {
            assert_eq!(orphan(change), (0, 0));
        }
    }

    #[test]
    fn a_template_that_comes_back_finds_its_revision() {
        let known = revisions(&[(1, "me", "a", true), (2, "me", "b", true)]);
        let Current::Existing(revision) = known.current(&hash("a"), None) else {
            panic!("a new revision");
        };
        assert_eq!(revision.name_any(), "hello-00001");
    }

    #[test]
    fn requests_move_only_to_a_current_revision_that_has_been_ready() {
        let serving = |known: &Revisions, current: &str, told: &FunctionStatus| {
            let serving = known.serving(Some(current), Some(told));
            serving.map(|revision| revision.name_any())
        };
        let told = status("hello-00002", "hello-00001");
        let known = revisions(&[(1, "me", "a", true), (2, "me", "b", false)]);
        assert_eq!(
            serving(&known, "hello-00002", &told).as_deref(),
            Some("hello-00001")
        );
        let known = revisions(&[(1, "me", "a", true), (2, "me", "b", true)]);
        assert_eq!(
            serving(&known, "hello-00002", &told).as_deref(),
            Some("hello-00002")
        );
        // 2 became ready after 3 had overtaken it.
        let overtaken = revisions(&[
            (1, "me", "a", true),
            (2, "me", "b", true),
            (3, "me", "c", false),
        ]);
        assert_eq!(
            serving(&overtaken, "hello-00003", &told).as_deref(),
            Some("hello-00001")
        );
        // The one that served is gone.
        let told = status("hello-00003", "hello-00000");
        assert_eq!(
            serving(&overtaken, "hello-00003", &told).as_deref(),
            Some("hello-00002")
        );
        assert_eq!(serving(&revisions(&[]), "hello-00001", &told), None);
    }

    #[test]
    fn the_oldest_beyond_the_limit_go_but_none_that_is_needed() {
        let known = revisions(&[
            (1, "me", "a", true),
            (2, "me", "b", true),
            (3, "me", "c", true),
            (4, "me", "d", true),
            (5, "other", "e", true),
        ]);
        let keep = BTreeSet::from(["hello-00004".to_owned(), "hello-00001".to_owned()]);
        let surplus = |limit, deployments: &HashMap<_, _>| -> Vec<String> {
            let surplus = known.surplus(limit, &keep, deployments);
            surplus.iter().map(|revision| revision.name_any()).collect()
        };
        let none = HashMap::new();
        assert_eq!(surplus(0, &none), ["hello-00002", "hello-00003"]);
        assert_eq!(surplus(1, &none), ["hello-00002"]);
        assert!(surplus(2, &none).is_empty());

        let running = json!({"metadata": {"name": "hello-00002"},
            "spec": {"replicas": 0, "selector": {}, "template": {}}, "status": {"replicas": 1}});
        let running = serde_json::from_value(running).expect("a Deployment");
        let running = Arc::new(crate::observed::deployment::observe(running));
        let deployments = HashMap::from([("hello-00002".to_owned(), running)]);
        assert_eq!(surplus(0, &deployments), ["hello-00003"]);
    }
}
