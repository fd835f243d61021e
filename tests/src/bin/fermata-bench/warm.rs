//! Warm requests: what the gateway adds to a call.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use fermata_tests::{Gateway, Space};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::{
    load::{self, Call, Callers, Outcome},
    micros, percentile,
    process::Process,
    row, side_by_side,
};

const CLIENTS: Callers = Callers::Http1 { connections: 500 };

/// Those of large bodies.
const FEW_CLIENTS: Callers = Callers::Http1 { connections: 8 };

pub(crate) async fn measure(space: &Space, time: Duration) {
    let pod = function(space, "warm", "http1").await;
    let (process, gateway) = Process::gateway(space, None).await;
    crowd(pod, &gateway, &space.path("warm"), time).await;
    drop(process);
    let modern = function(space, "modern", "h2c").await;
    side_by_side::measure(space, pod, modern, time).await;
    for name in ["warm", "modern"] {
        space.remove(name).await;
    }
}

/// A function of one instance, which is ready; where that is.
async fn function(space: &Space, name: &str, protocol: &str) -> SocketAddr {
    let scale = json!({"min": 1, "max": 1, "target": 1000});
    let spec = json!({"protocol": protocol, "scale": scale});
    space.test_function(name, &["serve"], spec).await;
    space.ready(name).await;
    address(&space.pods(name, 1).await[0])
}

/// Steady calls, many clients and large bodies, with nothing pinned.
async fn crowd(pod: SocketAddr, gateway: &Gateway, path: &str, time: Duration) {
    let small = Bytes::from(vec![b'x'; 1024]);
    let large = Bytes::from(vec![b'x'; 1024 * 1024]);
    let calls = |body: &Bytes| {
        let call = |address, path: &str| Call {
            address,
            path: path.to_owned(),
            body: body.clone(),
            answer: body.len(),
        };
        [call(pod, "/"), call(gateway.address, path)]
    };
    let [direct, through] = calls(&small);
    let outcomes = [
        load::steady(&direct, 1000, time).await,
        load::steady(&through, 1000, time).await,
    ];
    compare("1 KiB, 1000 calls a second", &outcomes);
    let outcomes = [
        load::closed(&direct, CLIENTS, time).await,
        load::closed(&through, CLIENTS, time).await,
    ];
    compare("1 KiB, 500 clients", &outcomes);
    let [direct, through] = calls(&large);
    let outcomes = [
        load::closed(&direct, FEW_CLIENTS, time).await,
        load::closed(&through, FEW_CLIENTS, time).await,
    ];
    compare("1 MiB, 8 clients", &outcomes);
}

fn compare(title: &str, [direct, through]: &[Outcome; 2]) {
    for (way, outcome) in [("the pod directly", direct), ("the gateway", through)] {
        row(
            &format!("{title}, {way}"),
            &format!(
                "{:.0} calls/s, p50 {}, p99 {}, {} failures",
                outcome.rate(),
                micros(percentile(&outcome.latencies, 50)),
                micros(percentile(&outcome.latencies, 99)),
                outcome.failures
            ),
        );
    }
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
