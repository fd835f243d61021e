//! Several replicas, of which one works.

use fermata_operator::Options;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::world::World;

fn replica(identity: &str) -> Options {
    Options {
        leader_elect: true,
        lease_namespace: "default".into(),
        identity: Some(identity.into()),
        ..Options::default()
    }
}

async fn holder(world: &World) -> String {
    let leases: Api<Lease> = world.api();
    let lease = leases.get_opt("fermata-operator").await.expect("an answer");
    let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
    spec.holder_identity.unwrap_or_default()
}

#[tokio::test]
async fn the_next_replica_takes_over_when_the_leader_stops() {
    let mut world = World::without_operator().await;
    world.start_operator(replica("one"));
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    assert_eq!(holder(&world).await, "one");
    world.start_operator(replica("two"));

    world.stop_operator().await;
    world
        .apply("next", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("next").await;
    assert_eq!(holder(&world).await, "two");
    world.end().await;
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_writes_no_more_and_ends() {
    let mut world = World::without_operator().await;
    world.start_operator(replica("one"));
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    let leases: Api<Lease> = world.api();
    let thief = serde_json::json!({"spec": {"holderIdentity": "thief"}});
    let patch = kube::api::Patch::Merge(thief);
    let patched = leases
        .patch("fermata-operator", &Default::default(), &patch)
        .await;
    patched.expect("a taken lease");

    let end = world.end_of_operator().await.expect_err("an error");
    assert!(
        matches!(end, fermata_operator::Error::LeadershipLost(_)),
        "{end}"
    );
    let before = world.writes().len();
    world
        .apply("late", "{ image: a, scale: { initial: 0 } }")
        .await;
    assert_eq!(world.writes().len(), before);
    assert_eq!(holder(&world).await, "thief");
    world.end().await;
}
