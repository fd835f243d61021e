//! Servers of NATS, each a process of its own that a test may kill.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// Servers that know each other, or one alone. They end when this is dropped.
pub(crate) struct Servers {
    folder: TempDir,
    servers: Vec<Server>,
}

struct Server {
    config: PathBuf,
    port: u16,
    process: Option<Child>,
}

// === impl Servers ===

impl Servers {
    /// So many of them, with lines of one's own in their configuration.
    pub(crate) fn start(count: usize, more: &str) -> Self {
        let begun = Instant::now();
        loop {
            let folder = tempfile::tempdir().unwrap();
            let mut servers = Self::configured(folder, count, more);
            (0..count).for_each(|which| servers.begin(which));
            // Somebody else may have taken a port since it was chosen.
            if (0..count).all(|which| servers.comes_up(which)) {
                return servers;
            }
            assert!(begun.elapsed() < PATIENCE, "no server comes up");
        }
    }

    fn configured(folder: TempDir, count: usize, more: &str) -> Self {
        let ports = free_ports(2 * count);
        let (clients, routes) = ports.split_at(count);
        let all: Vec<String> = routes
            .iter()
            .map(|port| format!("nats://127.0.0.1:{port}"))
            .collect();
        let servers = clients.iter().zip(routes).enumerate();
        let servers = servers.map(|(which, (port, route))| {
            let data = folder.path().join(format!("data-{which}"));
            let mut config = format!(
                "server_name: s{which}\nlisten: 127.0.0.1:{port}\njetstream {{ store_dir: {}, max_file_store: 8GB }}\n{more}\n",
                data.display(),
            );
            if count > 1 {
                let all = all.join(", ");
                config += &format!(
                    "cluster {{ name: c, listen: 127.0.0.1:{route}, routes: [{all}] }}\n"
                );
            }
            let file = folder.path().join(format!("server-{which}.conf"));
            fs::write(&file, config).unwrap();
            Server {
                config: file,
                port: *port,
                process: None,
            }
        });
        let servers = servers.collect();
        Self { folder, servers }
    }

    /// Their addresses, separated by commas.
    pub(crate) fn urls(&self) -> String {
        let urls = self.servers.iter();
        let urls: Vec<String> = urls
            .map(|server| format!("nats://127.0.0.1:{}", server.port))
            .collect();
        urls.join(",")
    }

    /// Kills one of them.
    pub(crate) fn kill(&mut self, which: usize) {
        if let Some(mut process) = self.servers[which].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts one of them again.
    pub(crate) fn restart(&mut self, which: usize) {
        let begun = Instant::now();
        loop {
            self.begin(which);
            if self.comes_up(which) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn begin(&mut self, which: usize) {
        let log = self.folder.path().join(format!("server-{which}.log"));
        let log = fs::File::options().create(true).append(true).open(log);
        let log = log.unwrap();
        let server = &mut self.servers[which];
        let mut command = Command::new(program());
        command.arg("-c").arg(&server.config);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap());
        let process = command.stderr(log).spawn();
        server.process = Some(process.unwrap_or_else(|error| {
            panic!(
                "nats-server does not run ({error}): cargo xtask test builds it into target/tools"
            )
        }));
    }

    /// Whether it listens, as long as it runs.
    fn comes_up(&mut self, which: usize) -> bool {
        let server = &mut self.servers[which];
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let process = server.process.as_mut().unwrap();
            if process.try_wait().unwrap().is_some() {
                server.process = None;
                return false;
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for which in 0..self.servers.len() {
            self.kill(which);
        }
    }
}

/// The one that `cargo xtask test` has built, else the one on `PATH`.
fn program() -> PathBuf {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nats-server/bin/nats-server");
    if built.exists() {
        built
    } else {
        "nats-server".into()
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    let ports = listeners.iter();
    ports
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}
