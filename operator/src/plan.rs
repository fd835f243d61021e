//! What is to be done about a child of a Function or of a Revision. Pure.

use kube::{Resource, ResourceExt as _};

use crate::{cache::controller_uid, children, observed::Observed};

/// What is to be done about a child.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ChildPlan<K> {
    /// It is as it should be, or on its way out: it is made anew once it is gone.
    Keep,
    /// It has to be made.
    Create(Box<K>),
    /// Somebody changed it.
    Repair(Box<K>),
    /// It lost its owner, and is taken over in the state it was seen in.
    Adopt(Box<K>),
    /// The name is somebody else's.
    Foreign,
}

/// Decides about a child that is wanted like this. `live` is what has its name now, and `holds` says whether
/// that still is what is wanted.
pub(crate) fn plan<K, O, S>(
    mut wanted: K,
    live: Option<&Observed<O, S>>,
    holds: impl FnOnce(&K, &Observed<O, S>) -> bool,
) -> ChildPlan<K>
where
    K: Resource<DynamicType = ()>,
{
    let Some(live) = live else {
        return ChildPlan::Create(Box::new(wanted));
    };
    let own = controller_uid(&wanted).is_some_and(|owner| live.is_controlled_by(owner));
    let orphan = live.is_orphan(&children::own_labels(wanted.labels()));
    if !own && !orphan {
        ChildPlan::Foreign
    } else if live.deleting || own && holds(&wanted, live) {
        ChildPlan::Keep
    } else if orphan {
        children::bind(wanted.meta_mut(), &live.uid, &live.resource_version);
        ChildPlan::Adopt(Box::new(wanted))
    } else {
        ChildPlan::Repair(Box::new(wanted))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::Time};

    use super::*;
    use crate::{fixtures::function, observed::service};

    /// The child of the Function `hello`, which carries a label of the Function's too.
    fn wanted() -> Service {
        let mut labels = children::labels("hello", None);
        labels.insert("team".to_owned(), "shop".to_owned());
        let function = function("{ image: a }");
        Service {
            metadata: children::metadata(&function, "hello", labels),
            ..Service::default()
        }
    }

    /// What is planned when the live object is the wanted one with this change.
    fn planned(is_as_wanted: bool, change: impl FnOnce(&mut Service)) -> ChildPlan<Service> {
        let mut live = wanted();
        live.metadata.uid = Some("live".to_owned());
        live.metadata.resource_version = Some("7".to_owned());
        change(&mut live);
        let live = service::observe(live);
        plan(wanted(), Some(&live), |_, _| is_as_wanted)
    }

    #[test]
    fn what_is_not_there_is_made() {
        let nothing = None::<&service::ObservedService>;
        let plan = plan(wanted(), nothing, |_, _| true);
        assert_eq!(plan, ChildPlan::Create(Box::new(wanted())));
    }

    #[test]
    fn a_child_is_kept_while_it_is_as_wanted_or_goes() {
        assert_eq!(planned(true, |_| {}), ChildPlan::Keep);
        assert_eq!(
            planned(false, |_| {}),
            ChildPlan::Repair(Box::new(wanted()))
        );
        let going = |live: &mut Service| {
            live.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        };
        assert_eq!(planned(false, going), ChildPlan::Keep);
    }

    #[test]
    fn an_orphan_is_taken_over_as_it_was_seen_whatever_labels_of_others_it_has() {
        for labels in [false, true] {
            let orphan = planned(true, |live| {
                live.metadata.owner_references = None;
                if labels {
                    live.labels_mut().remove("team");
                }
            });
            let ChildPlan::Adopt(adopted) = orphan else {
                panic!("{orphan:?}");
            };
            assert_eq!(adopted.metadata.uid.as_deref(), Some("live"));
            assert_eq!(adopted.metadata.resource_version.as_deref(), Some("7"));
        }
    }

    #[test]
    fn what_is_somebody_elses_is_left_alone() {
        let of_another = planned(true, |live| {
            for owner in live.owner_references_mut() {
                owner.uid = "another".to_owned();
            }
        });
        assert_eq!(of_another, ChildPlan::Foreign);
        let unlabelled = planned(true, |live| {
            live.metadata.owner_references = None;
            live.metadata.labels = None;
        });
        assert_eq!(unlabelled, ChildPlan::Foreign);
    }
}
