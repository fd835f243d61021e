//! Warm requests: what the gateway adds to a call, beside nginx and haproxy in the same run.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use fermata_tests::{Gateway, Space};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::{
    load::{self, Call, Outcome},
    micros, peers, percentile,
    process::{self, Process},
    row,
};

const CONNECTIONS: usize = 64;

/// How often each one is measured, in turns.
const ROUNDS: usize = 3;

/// The CPU of the proxies and of the function.
const PROXY_CPU: u32 = 0;

/// The CPU of the callers.
const LOAD_CPU: u32 = 1;

/// One way to the function.
struct Way {
    name: &'static str,
    call: Call,
    /// The process that passes the calls on.
    process: Option<Process>,
    outcomes: Vec<(Outcome, Duration)>,
}

pub(crate) async fn measure(space: &Space, time: Duration) {
    let spec = json!({"scale": {"min": 1, "max": 1, "target": 1000}});
    space.test_function("warm", &["serve"], spec).await;
    space.ready("warm").await;
    let pod = address(&space.pods("warm", 1).await[0]);
    let (process, gateway) = Process::gateway(space, None).await;
    crowd(pod, &gateway, &space.path("warm"), time).await;
    drop(process);
    side_by_side(space, pod, time).await;
    space.remove("warm").await;
}

/// The gateway and its peers, each on one CPU together with the function, the callers on the other:
/// so each has the same, and what one uses is told exactly.
async fn side_by_side(space: &Space, pod: SocketAddr, time: Duration) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let function = space.fetch("warm", "/pid").await.ok().text();
    process::pin(
        function.parse().expect("a process id"),
        &PROXY_CPU.to_string(),
    );
    let (gateway, gateway_at) = Process::gateway(space, Some(PROXY_CPU)).await;
    let (nginx, nginx_at) = peers::nginx(dir.path(), PROXY_CPU, pod).await;
    let (haproxy, haproxy_at) = peers::haproxy(dir.path(), PROXY_CPU, pod).await;
    let path = space.path("warm");
    let mut ways = [
        Way::new("the pod directly", pod, "/", None),
        Way::new("nginx", nginx_at, "/", Some(nginx)),
        Way::new("haproxy", haproxy_at, "/", Some(haproxy)),
        Way::new("the gateway", gateway_at.address, &path, Some(gateway)),
    ];
    process::pin(std::process::id(), &LOAD_CPU.to_string());
    for way in &mut ways {
        // So that connections and caches are warm.
        load::closed(&way.call, CONNECTIONS, Duration::from_secs(1)).await;
    }
    for _ in 0..ROUNDS {
        for way in &mut ways {
            way.measure(time).await;
        }
    }
    process::pin(std::process::id(), "0-1");
    for way in &ways {
        way.print();
    }
    let [_, nginx, haproxy, gateway] = &ways;
    let better = |of: &dyn Fn(&Way) -> f64| of(nginx).min(of(haproxy));
    row(
        "the gateway, compared with the better of nginx and haproxy",
        &format!(
            "CPU a request x {:.2}, p99 x {:.2}",
            gateway.cpu() / better(&Way::cpu),
            gateway.latency(99) / better(&|way| way.latency(99)),
        ),
    );
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
        load::closed(&direct, 500, time).await,
        load::closed(&through, 500, time).await,
    ];
    compare("1 KiB, 500 clients", &outcomes);
    let [direct, through] = calls(&large);
    let outcomes = [
        load::closed(&direct, 8, time).await,
        load::closed(&through, 8, time).await,
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

// === impl Way ===

impl Way {
    fn new(name: &'static str, address: SocketAddr, path: &str, process: Option<Process>) -> Self {
        Self {
            name,
            call: Call {
                address,
                path: path.to_owned(),
                body: Bytes::from(vec![b'x'; 1024]),
            },
            process,
            outcomes: Vec::new(),
        }
    }

    async fn measure(&mut self, time: Duration) {
        let used = |process: &Option<Process>| {
            process
                .as_ref()
                .map_or(Duration::ZERO, |process| process::cpu(process.id()))
        };
        let before = used(&self.process);
        let outcome = load::closed(&self.call, CONNECTIONS, time).await;
        self.outcomes.push((outcome, used(&self.process) - before));
    }

    /// The median of the rounds.
    fn median(&self, of: impl Fn(&(Outcome, Duration)) -> f64) -> f64 {
        let mut values: Vec<f64> = self.outcomes.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Microseconds of CPU time per request.
    fn cpu(&self) -> f64 {
        self.median(|(outcome, used)| used.as_secs_f64() * 1e6 / outcome.latencies.len() as f64)
    }

    /// In microseconds.
    fn latency(&self, percent: usize) -> f64 {
        self.median(|(outcome, _)| percentile(&outcome.latencies, percent).as_secs_f64() * 1e6)
    }

    fn print(&self) {
        let failures: usize = self
            .outcomes
            .iter()
            .map(|(outcome, _)| outcome.failures)
            .sum();
        row(
            &format!(
                "1 KiB on {CONNECTIONS} connections, {}, on one CPU with the function",
                self.name
            ),
            &format!(
                "{:.0} calls/s, p50 {:.0} µs, p99 {:.0} µs, CPU {:.1} µs a call, {failures} failures",
                self.median(|(outcome, _)| outcome.rate()),
                self.latency(50),
                self.latency(99),
                self.cpu(),
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
