use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::*;
use crate::{
    fixtures::{function, inputs},
    function::validate::validate,
    observed,
};

fn plan(inputs: &Inputs) -> Prepared {
    let valid = validate(inputs, &Options::default(), Timestamp::UNIX_EPOCH);
    build(inputs, valid.as_ref(), &Options::default())
}

#[test]
fn a_new_function_gets_its_first_revision_and_a_service() {
    let inputs = inputs(function("{ image: a, scale: { max: 3 } }"));
    let plan = plan(&inputs);
    let revision = plan.create.expect("a revision");
    assert_eq!(revision.name_any(), "hello-00001");
    assert_eq!(plan.current.as_deref(), Some("hello-00001"));
    insta::assert_yaml_snapshot!(revision);
    let ChildPlan::Create(service) = plan.service else {
        panic!("no service");
    };
    insta::assert_yaml_snapshot!(service);
}

#[test]
fn a_changed_scale_follows_into_the_revision_and_nothing_else_changes() {
    let mut inputs = inputs(function("{ image: a }"));
    let first = plan(&inputs).create.expect("a revision");
    inputs.revisions = vec![Arc::new(first.clone())];
    assert!(plan(&inputs).follow.is_empty());

    inputs.function = Arc::new(function("{ image: a, scale: { min: 2 } }"));
    let again = plan(&inputs);
    assert!(again.create.is_none());
    let [rescaled] = again.follow.as_slice() else {
        panic!("not one revision");
    };
    assert_eq!(rescaled.spec.scale().min(), 2);
    assert_eq!(rescaled.spec.template, first.spec.template);
    assert_eq!(rescaled.metadata.labels, first.metadata.labels);
}

#[test]
fn labels_and_annotations_follow_into_the_service_and_the_revision() {
    let mut inputs = inputs(function("{ image: a }"));
    let first = plan(&inputs).create.expect("a revision");
    inputs.revisions = vec![Arc::new(first.clone())];
    let labelled = |key: &str| {
        let mut function = function("{ image: a }");
        function.labels_mut().insert(key.into(), "shop".into());
        function
            .annotations_mut()
            .insert("note".into(), "hi".into());
        Arc::new(function)
    };
    inputs.function = labelled("team");
    let labelled_plan = plan(&inputs);
    let [following] = labelled_plan.follow.as_slice() else {
        panic!("not one revision");
    };
    assert_eq!(following.labels()["team"], "shop");
    assert_eq!(following.annotations()["note"], "hi");
    assert_eq!(following.spec, first.spec);
    assert_eq!(
        following.labels()[names::TEMPLATE_HASH_LABEL],
        first.labels()[names::TEMPLATE_HASH_LABEL]
    );
    let ChildPlan::Create(service) = labelled_plan.service else {
        panic!("no service");
    };
    assert_eq!(service.labels()["team"], "shop");
    assert_eq!(service.annotations()["note"], "hi");

    // As it is wanted, and then with one that is gone.
    inputs.revisions = vec![Arc::new(following.clone())];
    assert!(plan(&inputs).follow.is_empty());
    inputs.function = labelled("kubernetes.io/team");
    let [following] = plan(&inputs).follow.try_into().expect("one revision");
    assert!(!following.labels().contains_key("team"));
    assert!(!following.labels().contains_key("kubernetes.io/team"));
}

#[test]
fn a_revision_that_lost_its_owner_is_taken_over_in_one_write() {
    let mut inputs = inputs(function("{ image: a }"));
    let mut orphan = plan(&inputs).create.expect("a revision");
    orphan.metadata.owner_references = None;
    orphan.metadata.uid = Some("orphan-uid".into());
    orphan.metadata.resource_version = Some("7".into());
    inputs.revisions = vec![Arc::new(orphan.clone())];
    inputs.function = Arc::new(function("{ image: a, scale: { max: 3 } }"));
    let plan = plan(&inputs);
    assert!(plan.create.is_none() && plan.follow.is_empty());
    assert_eq!(plan.current.as_deref(), Some("hello-00001"));
    let [adopted] = plan.adopt.as_slice() else {
        panic!("not one revision");
    };
    assert_eq!(adopted.owner_references()[0].uid, "function-uid");
    assert_eq!(adopted.spec.scale().max(), 3);
    assert_eq!(adopted.spec.template, orphan.spec.template);
    let bound = (adopted.uid(), adopted.resource_version());
    assert_eq!(bound, (Some("orphan-uid".into()), Some("7".into())));
}

#[test]
fn an_invalid_function_keeps_what_it_has() {
    let mut inputs = inputs(function("{ image: a }"));
    let first = plan(&inputs).create.expect("a revision");
    inputs.revisions = vec![Arc::new(first)];
    let mut broken = function("{ image: b, timeouts: { request: 1s, firstByte: 2s } }");
    broken.status = Some(fermata_crds::FunctionStatus {
        latest_created_revision: Some("hello-00001".into()),
        ..Default::default()
    });
    inputs.function = Arc::new(broken);
    let plan = plan(&inputs);
    assert!(plan.create.is_none() && plan.follow.is_empty() && plan.surplus.is_empty());
    assert_eq!(plan.current.as_deref(), Some("hello-00001"));
}

#[test]
fn a_service_is_repaired_when_it_is_ours_and_left_alone_when_not() {
    let mut inputs = inputs(function("{ image: a }"));
    let ChildPlan::Create(service) = plan(&inputs).service else {
        panic!("no service");
    };
    let mut with = |change: fn(&mut Service)| {
        let mut live = (*service).clone();
        change(&mut live);
        inputs.service = Some(Arc::new(observed::service::observe(live)));
        plan(&inputs).service
    };
    assert_eq!(with(|_| {}), ChildPlan::Keep);
    assert_eq!(
        with(|live| live.spec.get_or_insert_default().session_affinity = Some("None".into())),
        ChildPlan::Keep
    );
    let repaired = with(|live| {
        live.spec.get_or_insert_default().external_name = Some("elsewhere".into());
    });
    assert!(matches!(repaired, ChildPlan::Repair(_)));
    let adopted = with(|live| live.metadata.owner_references = None);
    assert!(matches!(adopted, ChildPlan::Adopt(_)));
    let foreign = with(|live| {
        live.metadata.owner_references = None;
        live.labels_mut().clear();
    });
    assert_eq!(foreign, ChildPlan::Foreign);
    let of_another = with(|live| {
        let owners = live.metadata.owner_references.iter_mut().flatten();
        owners.for_each(|owner| owner.uid = "another".to_owned());
    });
    assert_eq!(of_another, ChildPlan::Foreign);
}

/// Whatever the API may hold, it is built, or refused with a sentence; it does not panic.
#[test]
fn fuzz_no_object_makes_the_operator_panic() {
    use std::sync::atomic::{AtomicU32, Ordering};

    use fermata_crds::{
        Function, Revision,
        sample::{self, Sampler},
    };

    static BUILT: AtomicU32 = AtomicU32::new(0);
    let functions = Sampler::of::<Function>();
    let revisions = Sampler::of::<Revision>();
    bolero::check!().with_type::<u64>().for_each(|seed| {
        let mut choose = sample::choices(*seed);
        let function = functions.object("default", "hello", &mut choose);
        if let Ok(function) = serde_json::from_value::<Function>(function) {
            let inputs = inputs(function);
            let options = Options::default();
            let now = "2026-11-26T12:00:00Z".parse().expect("a time");
            let valid = validate(&inputs, &options, now);
            let prepared = build(&inputs, valid.as_ref(), &options);
            if let Some(revision) = prepared.create {
                BUILT.fetch_add(1, Ordering::Relaxed);
                let _ = crate::revision::build::build(&revision, &Options::default(), None);
            }
            if let Err(invalid) = valid {
                assert!(!invalid.to_string().is_empty());
            }
        }
        let revision = revisions.object("default", "hello-00001", &mut choose);
        if let Ok(revision) = serde_json::from_value::<Revision>(revision) {
            let _ = crate::revision::build::build(&revision, &Options::default(), None);
        }
    });
    assert!(BUILT.load(Ordering::Relaxed) > 5, "few objects were valid");
}
