//! Processes that are measured: started here, or by others; and what they use, from /proc.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use fermata_tests::{Gateway, Space, eventually};

/// Where a gateway of its own takes requests, and where it tells how it is.
const GATEWAY: [&str; 2] = ["127.0.0.1:18080", "127.0.0.1:19090"];

/// Where it takes those from inside the cluster.
const GATEWAY_INTERNAL: &str = "127.0.0.1:18081";

/// Where an events program of its own takes what is to be kept, and where it tells how it is.
const EVENTS: [&str; 2] = ["127.0.0.1:18090", "127.0.0.1:19092"];

/// Where an operator of its own tells how it is.
const OPERATOR: &str = "127.0.0.1:19091";

/// A process that ends with this value.
pub(crate) struct Process(Child);

// === impl Process ===

impl Process {
    /// Starts a program, on one CPU if one is given.
    pub(crate) fn start(cpu: Option<u32>, program: &Path, set: impl FnOnce(&mut Command)) -> Self {
        let mut command = match cpu {
            Some(cpu) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["--cpu-list", &cpu.to_string()]).arg(program);
                taskset
            }
            None => Command::new(program),
        };
        set(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Self(child)
    }

    /// Starts a gateway of its own, as on Kubernetes, and waits until it is ready. Gives where it
    /// takes requests.
    pub(crate) async fn gateway(space: &Space, cpu: Option<u32>) -> (Self, Gateway) {
        let process = Self::gateway_with(space, cpu, &[]).await;
        (process, at(GATEWAY[0]))
    }

    /// The same for an events program of its own.
    pub(crate) async fn gateway_with_events(space: &Space) -> Self {
        let more = ["--listen-internal", GATEWAY_INTERNAL, "--events", EVENTS[0]];
        Self::gateway_with(space, None, &more).await
    }

    async fn gateway_with(space: &Space, cpu: Option<u32>, more: &[&str]) -> Self {
        let process = Self::start(cpu, &shipped("fermata-gateway"), |gateway| {
            let [listen, admin] = GATEWAY;
            gateway
                .args(["--listen", listen, "--admin", admin])
                .args(["--leader-elect", "false"])
                .args(more)
                .env("KUBECONFIG", &space.platform.kubeconfig);
        });
        ready(GATEWAY[1]).await;
        process
    }

    /// Starts an events program for that gateway, and waits until it is ready.
    pub(crate) async fn events(store: &Path) -> Self {
        let process = Self::start(None, &shipped("fermata-events"), |events| {
            let [listen, admin] = EVENTS;
            events
                .args(["--listen", listen, "--admin", admin])
                .args(["--gateway", GATEWAY_INTERNAL])
                .arg("--store")
                .arg(store);
        });
        ready(EVENTS[1]).await;
        process
    }

    /// Starts an operator of its own, as on Kubernetes, and waits until it is ready.
    pub(crate) async fn operator(space: &Space) -> Self {
        let process = Self::start(None, &shipped("fermata-operator"), |operator| {
            operator
                .args(["--admin", OPERATOR, "--leader-elect", "false"])
                .env("KUBECONFIG", &space.platform.kubeconfig);
        });
        ready(OPERATOR).await;
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the gateway of [`Process::gateway_with_events`] takes requests.
pub(crate) fn gateway_address() -> SocketAddr {
    at(GATEWAY[0]).address
}

/// Where the events program tells how it is.
pub(crate) fn events_page() -> Gateway {
    at(EVENTS[1])
}

/// A program as images have it.
fn shipped(name: &str) -> PathBuf {
    let folder = std::env::var_os("FERMATA_BENCH_PROGRAMS");
    PathBuf::from(folder.expect("cargo xtask bench says where the programs are")).join(name)
}

fn at(address: &str) -> Gateway {
    Gateway {
        address: address.parse().expect("it is an address"),
    }
}

async fn ready(admin: &str) {
    eventually(&format!("what answers at {admin} is ready"), async || {
        let request = http::Request::get("/readyz")
            .body(http_body_util::Full::default())
            .expect("the path is valid");
        match at(admin).try_send(request).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Keeps a process that runs already, all of its threads, to these CPUs, such as `0` or `0-1`.
pub(crate) fn pin(pid: u32, cpus: &str) {
    let done = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", cpus, &pid.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(done.is_ok_and(|status| status.success()), "taskset failed");
}

/// CPU time that a process has used so far, in user and kernel mode.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("the name is in parentheses")
        .1
        .split_whitespace()
        .collect();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms; two fields are before the parenthesis.
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory in MiB.
pub(crate) fn memory(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// Resident memory in MiB that is no file's: what the process has filled itself.
pub(crate) fn anonymous(pid: u32) -> f64 {
    status(pid, "RssAnon:")
}

fn status(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect("a process has memory");
    let kib: f64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kib / 1024.0
}
