//! Several gateways.

use std::time::Duration;

use serde_json::json;

use crate::support::{FunctionSpec, Harness, echo, until};

async fn leads(harness: &Harness) -> bool {
    harness
        .admin("/metrics")
        .await
        .contains("fermata_leader 1\n")
}

fn holder(harness: &Harness) -> serde_json::Value {
    let lease = harness
        .cluster
        .api
        .get_in("fermata-system", "leases", "fermata-gateway");
    lease.unwrap_or_default()["spec"]["holderIdentity"].clone()
}

#[tokio::test]
async fn one_leads_and_when_it_stops_the_other_does() {
    let one = Harness::with_options(&[FunctionSpec::cold("f", echo())], |options| {
        options.leader_elect = true;
        options.identity = Some("one".to_owned());
    })
    .await;
    until("the first one leads", async || leads(&one).await).await;
    let two = one
        .another(|options| {
            options.leader_elect = true;
            options.identity = Some("two".to_owned());
        })
        .await;
    // Waking needs no leader.
    assert_eq!(two.get("f", "/").await.status, 200);
    assert_eq!(holder(&one), "one");
    assert!(!leads(&two).await);

    one.shutdown.cancel();
    until("the lease is given back", async || holder(&one) != "one").await;
    until("the other one leads", async || leads(&two).await).await;
    assert_eq!(holder(&two), "two");
}

#[tokio::test]
async fn the_leader_hears_its_peers_and_waits_for_them() {
    let scale = json!({ "window": "6s", "idleAfter": "1s" });
    let leader =
        Harness::with_options(&[FunctionSpec::cold("f", echo()).scale(scale)], |options| {
            options.peer_selector = Some("app=gateway".to_owned());
            options.lease_namespace = "default".to_owned();
        })
        .await;
    // Nobody answers at a peer's address: the leader does not know enough to take replicas away.
    leader.cluster.api.put("pods", json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "silent", "namespace": "default", "labels": { "app": "gateway" } },
        "spec": { "containers": [] },
        "status": { "phase": "Running", "podIP": "127.0.0.2" },
    }));
    assert_eq!(leader.get("f", "/").await.status, 200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(leader.cluster.pods("f-00001").len(), 1);
    leader.cluster.api.remove("pods", "silent");
    leader.until_replicas("f-00001", 0).await;
}
