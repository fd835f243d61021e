//! Several replicas, of which one works.

use std::time::Duration;

use fermata_operator::Options;
use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{Api, api::Patch};
use serde_json::json;

use crate::{admin, world::World};

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

/// Writes somebody else's name over the holder's.
async fn take_lease(world: &World, holder: &str) {
    let now = MicroTime(Timestamp::now());
    let patch = json!({"spec": {"holderIdentity": holder, "renewTime": now}});
    let leases: Api<Lease> = world.api();
    let patched = leases
        .patch(
            "fermata-operator",
            &Default::default(),
            &Patch::Merge(patch),
        )
        .await;
    patched.expect("a taken lease");
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_writes_no_more_until_it_leads_again() {
    let mut world = World::without_operator().await;
    let (admin, address) = admin::options();
    world.start_operator(Options {
        admin: admin.admin,
        ..replica("one")
    });
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    let leads = async |leads: u8| {
        let line = format!("fermata_operator_leader {leads}");
        admin::until_says(address, "GET /metrics", &line).await;
    };
    leads(1).await;
    take_lease(&world, "thief").await;
    leads(0).await;

    let before = world.writes().len();
    world
        .apply("late", "{ image: a, scale: { initial: 0 } }")
        .await;
    // Several times as long as a leader needs to begin with a new Function.
    for _ in 0..4 {
        take_lease(&world, "thief").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(world.writes().len(), before, "{:?}", world.writes());
    assert_eq!(holder(&world).await, "thief");
    admin::until(address, "GET /livez", 200).await;
    admin::until(address, "GET /readyz", 200).await;

    take_lease(&world, "").await;
    world.ready("late").await;
    assert_eq!(holder(&world).await, "one");
    leads(1).await;
    world.end().await;
}

#[tokio::test]
async fn a_leader_that_loses_the_api_server_leads_again_when_it_is_back() {
    let mut world = World::without_operator().await;
    let (admin, address) = admin::options();
    world.start_operator(Options {
        admin: admin.admin,
        ..replica("one")
    });
    let leads = async |leads: u8| {
        let line = format!("fermata_operator_leader {leads}");
        admin::until_says(address, "GET /metrics", &line).await;
    };
    leads(1).await;
    world.refuse("/leases/", 500, "InternalError", "etcd is away");
    leads(0).await;
    admin::until(address, "GET /livez", 200).await;
    world.allow();
    world
        .apply("hello", "{ image: a, scale: { initial: 0 } }")
        .await;
    world.ready("hello").await;
    leads(1).await;
    world.end().await;
}
