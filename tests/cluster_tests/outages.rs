//! Parts of Fermata and of the cluster go away under load: what is warm keeps answering, what is
//! cold waits, and nothing stays broken.

use std::time::Duration;

use fermata_tests::{Cluster, Container, Gateway, Load, SYSTEM, Sockets, eventually};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Calls a second.
const RATE: u32 = 250;
/// How long a call may take while what answers it is replaced.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an outage of the cluster's own parts lasts.
const OUTAGE: Duration = Duration::from_secs(30);
/// WebSockets that stay open meanwhile.
const SOCKETS: usize = 10;

/// A warm function of two instances, under load, with WebSockets open.
struct Busy {
    cluster: Cluster,
    load: Load,
    sockets: Sockets,
}

impl Busy {
    async fn new() -> Self {
        let cluster = Cluster::new().await;
        let space = &cluster.space;
        cluster.settled().await;
        let spec = json!({"scale": {"min": 2, "max": 4}});
        space.test_function("warm", &["serve"], spec).await;
        space.ready("warm").await;
        eventually("both instances run", async || {
            match cluster.function_containers("warm").await.len() {
                2.. => Ok(()),
                few => Err(format!("{few} run")),
            }
        })
        .await;
        let (gateway, path) = (space.platform.gateway, space.path("warm"));
        let sockets = Sockets::open(gateway, &format!("{path}/ws"), SOCKETS).await;
        let load = Load::start(gateway, &path, RATE, PATIENCE);
        Self {
            cluster,
            load,
            sockets,
        }
    }

    /// Ends the load after some more calls. All of them were good, and no WebSocket broke.
    async fn nothing_failed(self) -> Cluster {
        let cluster = self.calls_were_good().await;
        cluster.settled().await;
        cluster
    }

    async fn calls_were_good(self) -> Cluster {
        // What comes after belongs to it as well.
        sleep(Duration::from_secs(2)).await;
        let broken = self.sockets.broken().await;
        self.load.stop().await.all_good(500);
        assert!(broken.is_empty(), "{broken:?}");
        self.cluster
    }
}

fn delete(cluster: &Cluster, pod: &str) {
    cluster.kubectl(&["-n", SYSTEM, "delete", "pod", pod, "--wait=false"]);
}

/// Waits until another container leads.
async fn another_leads(cluster: &Cluster, component: &str, before: &Container) {
    eventually(&format!("another {component} leads"), async || {
        let leader = cluster.leader(component).await;
        if leader == *before {
            Err(leader.pod)
        } else {
            Ok(())
        }
    })
    .await;
}

/// A new function becomes ready: an operator works. It wakes: a gateway scales.
async fn functions_can_be_made(cluster: &Cluster, name: &str) {
    let space = &cluster.space;
    let spec = json!({"scale": {"initial": 0}});
    space.test_function(name, &["serve"], spec).await;
    space.ready(name).await;
    assert_eq!(space.call(name, "hi").await.ok().text(), "hi");
}

#[tokio::test]
async fn the_leading_operator_is_deleted() {
    let busy = Busy::new().await;
    let leader = busy.cluster.leader("operator").await;
    delete(&busy.cluster, &leader.pod);
    another_leads(&busy.cluster, "operator", &leader).await;
    functions_can_be_made(&busy.cluster, "after").await;
    busy.nothing_failed().await;
}

#[tokio::test]
async fn the_leading_operator_is_killed() {
    let busy = Busy::new().await;
    let leader = busy.cluster.leader("operator").await;
    busy.cluster.kill(&leader);
    another_leads(&busy.cluster, "operator", &leader).await;
    functions_can_be_made(&busy.cluster, "after").await;
    busy.nothing_failed().await;
}

#[tokio::test]
async fn a_gateway_is_deleted_and_with_it_the_autoscaling_leader() {
    let busy = Busy::new().await;
    let leader = busy.cluster.leader("gateway").await;
    delete(&busy.cluster, &leader.pod);
    another_leads(&busy.cluster, "gateway", &leader).await;
    // Somebody scales: a new function wakes, and rests again.
    let space = &busy.cluster.space;
    let spec = json!({"scale": {"initial": 0, "idleAfter": "1s", "window": "6s"}});
    space.test_function("rests", &["serve"], spec).await;
    space.ready("rests").await;
    assert_eq!(space.call("rests", "hi").await.ok().text(), "hi");
    space.at_zero("rests").await;
    // The stopping gateway lets WebSockets be for as long as it may; those break at its end.
    let cluster = busy.cluster;
    sleep(Duration::from_secs(2)).await;
    busy.load.stop().await.all_good(500);
    drop(busy.sockets);
    cluster.settled().await;
}

#[tokio::test]
async fn a_gateway_is_killed_and_only_its_own_connections_break() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    cluster.settled().await;
    let spec = json!({"scale": {"min": 1}});
    space.test_function("warm", &["serve"], spec).await;
    space.ready("warm").await;
    let path = space.path("warm");
    let leader = cluster.leader("gateway").await;
    let gateways = cluster.replicas("gateway").await;
    let other = gateways.iter().find(|gateway| **gateway != leader).unwrap();
    let load =
        |gateway: &Container| Load::start((gateway.address, 8080).into(), &path, 100, PATIENCE);
    let (through_it, through_the_other) = (load(&leader), load(other));
    let by_service = Load::start(space.platform.gateway, &path, 50, PATIENCE);
    sleep(Duration::from_secs(2)).await;
    let killed = Instant::now();
    cluster.kill(&leader);
    cluster.settled().await;
    sleep(Duration::from_secs(2)).await;
    through_the_other.stop().await.all_good(200);
    assert!(
        !through_it.stop().await.failures.is_empty(),
        "nothing was killed"
    );
    // It is back after a second or two; until then new connections may still be led to it.
    let report = by_service.stop().await;
    let late = report
        .failures
        .iter()
        .find(|failure| failure.at - killed > Duration::from_secs(10));
    assert!(late.is_none(), "{late:?}");
    functions_can_be_made(&cluster, "after").await;
}

#[tokio::test]
async fn instances_of_a_function_are_deleted() {
    let busy = Busy::new().await;
    let space = &busy.cluster.space;
    for _ in 0..2 {
        let containers = busy.cluster.function_containers("warm").await;
        let gone = containers.first().expect("an instance runs").clone();
        busy.cluster.kubectl(&[
            "-n",
            &space.name,
            "delete",
            "pod",
            &gone.pod,
            "--wait=false",
        ]);
        eventually("another instance runs in its place", async || {
            let now = busy.cluster.function_containers("warm").await;
            if now.len() >= 2 && !now.contains(&gone) {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        })
        .await;
    }
    let cluster = busy.cluster;
    // A WebSocket of a deleted pod is a request that runs: it has the grace period.
    drop(busy.sockets);
    sleep(Duration::from_secs(2)).await;
    busy.load.stop().await.all_good(500);
    cluster.settled().await;
}

#[tokio::test]
async fn an_instance_of_a_function_is_killed_and_only_its_own_requests_break() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let spec = json!({"scale": {"min": 2, "max": 2}, "concurrency": 20});
    space.test_function("warm", &["serve"], spec).await;
    space.ready("warm").await;
    eventually("both instances run", async || {
        match cluster.function_containers("warm").await.len() {
            2 => Ok(()),
            other => Err(format!("{other} run")),
        }
    })
    .await;
    let load = Load::start(space.platform.gateway, &space.path("warm"), RATE, PATIENCE);
    sleep(Duration::from_secs(2)).await;
    let killed = Instant::now();
    let victim = cluster.function_containers("warm").await[0].clone();
    cluster.kill(&victim);
    eventually("it runs again", async || {
        let now = cluster.function_containers("warm").await;
        if now.len() == 2 && !now.contains(&victim) {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    sleep(Duration::from_secs(2)).await;
    let report = load.stop().await;
    // Those that ran in it, at most one for each of the callers' connections.
    assert!(report.failures.len() <= 25, "{:?}", report.failures);
    let late = report
        .failures
        .iter()
        .find(|failure| failure.at - killed > Duration::from_secs(5));
    assert!(late.is_none(), "{late:?}");
}

#[tokio::test]
async fn there_is_no_operator() {
    let busy = Busy::new().await;
    let space = &busy.cluster.space;
    let spec = json!({"scale": {"initial": 0}});
    space.test_function("cold", &["serve"], spec).await;
    space.ready("cold").await;
    let scale = |replicas: &str| {
        busy.cluster.kubectl(&[
            "-n",
            SYSTEM,
            "scale",
            "deployment/fermata-operator",
            replicas,
        ]);
    };
    scale("--replicas=0");
    eventually("no operator runs", async || {
        match busy.cluster.replicas("operator").await.len() {
            0 => Ok(()),
            left => Err(format!("{left} run")),
        }
    })
    .await;
    // Waking and scaling need none.
    assert_eq!(space.call("cold", "hi").await.ok().text(), "hi");
    scale("--replicas=2");
    functions_can_be_made(&busy.cluster, "after").await;
    busy.nothing_failed().await;
}

#[tokio::test]
async fn the_api_server_is_away() {
    let busy = Busy::new().await;
    let space = busy.cluster.space.clone();
    let restarts = restarts(&busy.cluster);
    // After an outage Kubernetes' own controllers need a while: longer than the usual start clock.
    let spec = json!({"scale": {"initial": 0}, "timeouts": {"start": "170s", "request": "180s"}});
    space.test_function("cold", &["serve"], spec).await;
    space.ready("cold").await;
    busy.cluster.stop("api-server");
    let stopped = Instant::now();
    // A cold function waits; the call is tried for as long as it takes.
    let cold = tokio::spawn(wake(space.gateway(), space.path("cold")));
    sleep(OUTAGE.saturating_sub(stopped.elapsed())).await;
    assert!(!cold.is_finished(), "there was nothing to wake it with");
    busy.cluster.start("api-server");
    cold.await.expect("the cold function has answered");
    functions_can_be_made(&busy.cluster, "after").await;
    let cluster = busy.nothing_failed().await;
    assert_eq!(self::restarts(&cluster), restarts, "something crashed");
}

#[tokio::test]
async fn the_kubelet_is_away() {
    let busy = Busy::new().await;
    let space = busy.cluster.space.clone();
    let restarts = restarts(&busy.cluster);
    let spec = json!({"scale": {"initial": 0}, "timeouts": {"start": "90s", "request": "120s"}});
    space.test_function("cold", &["serve"], spec).await;
    space.ready("cold").await;
    busy.cluster.stop("kubelet");
    let stopped = Instant::now();
    let cold = tokio::spawn(wake(space.gateway(), space.path("cold")));
    sleep(OUTAGE.saturating_sub(stopped.elapsed())).await;
    assert!(!cold.is_finished(), "there was nobody to start it");
    busy.cluster.start("kubelet");
    cold.await.expect("the cold function has answered");
    let cluster = busy.nothing_failed().await;
    assert_eq!(self::restarts(&cluster), restarts, "something crashed");
}

/// Calls once, and waits for as long as a cold start through an outage takes.
async fn wake(gateway: Gateway, path: String) {
    let answer = gateway.get_within(&path, Duration::from_secs(180)).await;
    answer.ok();
}

/// How often each container of Fermata has been started again.
fn restarts(cluster: &Cluster) -> Vec<(String, u64)> {
    let pods = cluster.kubectl(&["-n", SYSTEM, "get", "pods", "-o", "json"]);
    let pods: Value = serde_json::from_str(&pods).expect("kubectl prints JSON");
    let items = pods["items"].as_array().expect("a list has items");
    let mut restarts: Vec<(String, u64)> = items
        .iter()
        .map(|pod| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let count = &pod["status"]["containerStatuses"][0]["restartCount"];
            (name.to_owned(), count.as_u64().unwrap_or_default())
        })
        .collect();
    restarts.sort();
    restarts
}
