//! Warm requests, through the gateway and straight to the pod.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use fermata_tests::Space;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::{
    load::{self, Outcome},
    milliseconds, percentile,
    process::cpu,
    row,
};

const CONNECTIONS: usize = 64;

pub(crate) async fn measure(space: &Space, pid: u32, time: Duration) {
    space
        .test_function(
            "warm",
            &["serve"],
            json!({"scale": {"min": 1, "max": 1, "target": 1000}}),
        )
        .await;
    space.ready("warm").await;
    let pod = address(&space.pods("warm", 1).await[0]);
    let body = Bytes::from(vec![b'x'; 1024]);
    let path = space.path("warm");
    // One short round each, so that connections and caches are warm.
    load::run(pod, "/", body.clone(), CONNECTIONS, Duration::from_secs(1)).await;
    load::run(
        space.platform.gateway,
        &path,
        body.clone(),
        CONNECTIONS,
        Duration::from_secs(1),
    )
    .await;
    let direct = load::run(pod, "/", body.clone(), CONNECTIONS, time).await;
    let before = cpu(pid);
    let through = load::run(
        space.platform.gateway,
        &path,
        body.clone(),
        CONNECTIONS,
        time,
    )
    .await;
    let used = cpu(pid) - before;
    tell("the pod directly", &direct, None);
    tell("through the gateway", &through, Some(used));
    let alone = load::run(pod, "/", body.clone(), 1, time / 4).await;
    let alone_through = load::run(space.platform.gateway, &path, body, 1, time / 4).await;
    row(
        "one connection, p50",
        &format!(
            "direct {}, gateway {}",
            micros(percentile(&alone.latencies, 50)),
            micros(percentile(&alone_through.latencies, 50))
        ),
    );
}

fn tell(title: &str, outcome: &Outcome, cpu: Option<Duration>) {
    let rate = outcome.requests as f64 / outcome.elapsed.as_secs_f64();
    let (half, most) = (
        percentile(&outcome.latencies, 50),
        percentile(&outcome.latencies, 99),
    );
    let each = cpu
        .map(|cpu| {
            format!(
                ", CPU {:.1} µs a request",
                cpu.as_secs_f64() * 1e6 / outcome.requests as f64
            )
        })
        .unwrap_or_default();
    row(
        &format!("1 KiB on {CONNECTIONS} connections, {title}"),
        &format!(
            "{rate:.0} requests/s, p50 {}, p99 {}, {} failures{each}",
            milliseconds(half),
            milliseconds(most),
            outcome.failures
        ),
    );
}

fn micros(duration: Duration) -> String {
    format!("{:.0} µs", duration.as_secs_f64() * 1e6)
}

fn address(pod: &Pod) -> SocketAddr {
    let ip = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.clone())
        .expect("a ready pod has an address");
    let ports = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .flat_map(|container| container.ports.iter().flatten());
    let port = ports
        .into_iter()
        .find(|port| port.name.as_deref() == Some("http"))
        .expect("a function's pod has a port");
    format!("{ip}:{}", port.container_port)
        .parse()
        .expect("an address")
}
