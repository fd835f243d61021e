//! The gateway beside nginx and haproxy in the same run: each alone on one CPU, with the functions and the
//! callers on the other. So each has the same, and what one uses is told exactly.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use fermata_tests::Space;

use crate::{
    load::{self, Call, Callers, Outcome},
    peers, percentile,
    process::{self, Process},
    row,
};

/// How often each one is measured, in turns.
const ROUNDS: usize = 3;

/// The CPU of the proxies.
const PROXY_CPU: u32 = 0;

/// The CPU of the functions and the callers.
const LOAD_CPU: u32 = 1;

/// One load.
struct Load {
    title: &'static str,
    callers: Callers,
    /// Bytes of an answer.
    size: usize,
    /// Whether the function is called over HTTP/2. nginx cannot do that.
    modern: bool,
}

/// What is measured.
const LOADS: [Load; 6] = [
    Load::http1("1 KiB on 1 connection", 1, 1024),
    Load::http1("1 KiB on 64 connections", 64, 1024),
    Load::http1("1 KiB on 512 connections", 512, 1024),
    Load::http1("64 KiB on 64 connections", 64, 64 * 1024),
    Load::http2("1 KiB, HTTP/2 in (8 x 16 streams), HTTP/1.1 up", false),
    Load::http2("1 KiB, HTTP/2 in (8 x 16 streams), HTTP/2 up", true),
];

/// A proxy, and where it takes calls.
struct Proxy {
    name: &'static str,
    process: Process,
    /// Where it takes HTTP/1.1.
    http1: SocketAddr,
    /// Where it takes HTTP/2, before a function with HTTP/1.1.
    http2: SocketAddr,
    /// Where it takes HTTP/2, before a function with HTTP/2.
    modern: Option<SocketAddr>,
    /// What comes before the function's own path, and before the other's.
    paths: [String; 2],
}

/// What one proxy did in each round.
#[derive(Default)]
struct Rounds(Vec<(Outcome, Duration)>);

/// Measures all of it: functions at these addresses, with HTTP/1.1 and with HTTP/2.
pub(crate) async fn measure(space: &Space, pod: SocketAddr, modern: SocketAddr, time: Duration) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["warm", "modern"] {
        let id = space.fetch(name, "/pid").await.ok().text();
        let id = id.parse().expect("a process id");
        process::pin(id, &LOAD_CPU.to_string());
    }
    let nginx = peers::nginx(dir.path(), PROXY_CPU, pod).await;
    let haproxy = peers::haproxy(dir.path(), PROXY_CPU, pod, modern).await;
    let (gateway, at) = Process::gateway(space, Some(PROXY_CPU)).await;
    let proxies = [
        Proxy::peer("nginx", nginx),
        Proxy::peer("haproxy", haproxy),
        Proxy {
            name: "the gateway",
            process: gateway,
            http1: at.address,
            http2: at.address,
            modern: Some(at.address),
            paths: ["warm", "modern"].map(|name| space.path(name)),
        },
    ];
    process::pin(std::process::id(), &LOAD_CPU.to_string());
    for load in &LOADS {
        load.measure(&proxies, time).await;
    }
    process::pin(std::process::id(), "0-1");
}

// === impl Load ===

impl Load {
    const fn http1(title: &'static str, connections: usize, size: usize) -> Self {
        Self {
            title,
            callers: Callers::Http1 { connections },
            size,
            modern: false,
        }
    }

    const fn http2(title: &'static str, modern: bool) -> Self {
        Self {
            title,
            callers: Callers::Http2 {
                connections: 8,
                streams: 16,
            },
            size: 1024,
            modern,
        }
    }

    async fn measure(&self, proxies: &[Proxy], time: Duration) {
        let mut ways: Vec<(&Proxy, Call, Rounds)> = proxies
            .iter()
            .filter_map(|proxy| Some((proxy, proxy.call(self)?, Rounds::default())))
            .collect();
        for (_, call, _) in &ways {
            // So that connections and caches are warm.
            on_one_thread(call, self.callers, Duration::from_secs(1)).await;
        }
        for _ in 0..ROUNDS {
            for (proxy, call, rounds) in &mut ways {
                let before = process::cpu(proxy.process.id());
                let outcome = on_one_thread(call, self.callers, time).await;
                rounds
                    .0
                    .push((outcome, process::cpu(proxy.process.id()) - before));
            }
        }
        for (proxy, _, rounds) in &ways {
            row(&format!("{}, {}", self.title, proxy.name), &rounds.tell());
        }
        let Some(((_, _, gateway), peers)) = ways.split_last() else {
            return;
        };
        let better = |of: &dyn Fn(&Rounds) -> f64| {
            let all = peers.iter().map(|(_, _, rounds)| of(rounds));
            all.fold(f64::INFINITY, f64::min)
        };
        let compared = format!(
            "CPU a call x {:.2}, p99 x {:.2}",
            gateway.cpu() / better(&Rounds::cpu),
            gateway.latency(99) / better(&|rounds| rounds.latency(99)),
        );
        let title = format!("{}, the gateway compared with the better peer", self.title);
        row(&title, &compared);
    }
}

/// The load from a thread of its own: callers of several threads on one CPU would wait for each other.
async fn on_one_thread(call: &Call, callers: Callers, time: Duration) -> Outcome {
    let call = call.clone();
    let load = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(load::closed(&call, callers, time))
    };
    tokio::task::spawn_blocking(load)
        .await
        .expect("the callers do not panic")
}

// === impl Proxy ===

impl Proxy {
    fn peer(name: &'static str, (process, at): (Process, peers::Addresses)) -> Self {
        Self {
            name,
            process,
            http1: at.http1,
            http2: at.http2,
            modern: at.modern,
            paths: [String::new(), String::new()],
        }
    }

    /// How it is called with a load, if it can be.
    fn call(&self, load: &Load) -> Option<Call> {
        let [plain, modern] = &self.paths;
        let (address, before) = match load.callers {
            _ if load.modern => (self.modern?, modern),
            Callers::Http1 { .. } => (self.http1, plain),
            Callers::Http2 { .. } => (self.http2, plain),
        };
        Some(Call {
            address,
            path: format!("{before}/bytes/{}", load.size),
            body: Bytes::new(),
            answer: load.size,
        })
    }
}

// === impl Rounds ===

impl Rounds {
    /// The median of the rounds.
    fn median(&self, of: impl Fn(&(Outcome, Duration)) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Microseconds of CPU time per call.
    fn cpu(&self) -> f64 {
        self.median(|(outcome, used)| used.as_secs_f64() * 1e6 / outcome.latencies.len() as f64)
    }

    /// In microseconds.
    fn latency(&self, percent: usize) -> f64 {
        self.median(|(outcome, _)| percentile(&outcome.latencies, percent).as_secs_f64() * 1e6)
    }

    fn tell(&self) -> String {
        let failures: usize = self.0.iter().map(|(outcome, _)| outcome.failures).sum();
        format!(
            "{:.0} calls/s, p50 {:.0} µs, p99 {:.0} µs, CPU {:.1} µs a call, {failures} failures",
            self.median(|(outcome, _)| outcome.rate()),
            self.latency(50),
            self.latency(99),
            self.cpu(),
        )
    }
}
