//! `fermata up` as a process of the test's own.

use std::{
    ffi::OsStr,
    io::{BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use crate::{git_server, platform::Platform, tools::program};

/// How long `fermata up` may take until it is up.
const START: Duration = Duration::from_secs(60);

/// A `fermata up` of one's own. It ends with this value, or with the test that made it.
pub struct Up {
    platform: Platform,
    process: Child,
    /// The supervisor's pipe: when it closes, everything it started is killed.
    pipe: Option<ChildStdin>,
    output: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    more: Condvar,
    /// Whether nobody reads, so that the pipes fill.
    stalled: Mutex<bool>,
    read: Condvar,
}

// === impl Up ===

impl Up {
    /// Starts `fermata up` with its data in `dir/data`, on free ports.
    #[must_use]
    pub fn start<A: AsRef<OsStr>>(dir: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments: Vec<A> = arguments.into_iter().collect();
        Self::try_start(dir, &arguments)
            .unwrap_or_else(|output| panic!("fermata up did not start:\n{output}"))
    }

    /// The same, giving what it printed if it ends at once.
    ///
    /// # Errors
    ///
    /// The output, when the process ends before it is up.
    pub fn try_start<A: AsRef<OsStr>>(dir: &Path, arguments: &[A]) -> Result<Self, String> {
        Self::try_start_with(dir, arguments, &test_path())
    }

    /// The same with these folders for programs.
    ///
    /// # Errors
    ///
    /// As [`Up::try_start`].
    pub fn try_start_with<A: AsRef<OsStr>>(
        dir: &Path,
        arguments: &[A],
        path: &OsStr,
    ) -> Result<Self, String> {
        let data = dir.join("data");
        let mut process = Command::new(fermata_bin())
            .arg("__container")
            .arg(fermata_bin())
            .args([
                "up",
                "--listen=127.0.0.1:0",
                "--listen-internal=127.0.0.1:0",
                "--admin=127.0.0.1:0",
                "--api=127.0.0.1:0",
                "--access-log=off",
                "--data",
            ])
            .arg(&data)
            .args(arguments)
            .current_dir(dir)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("fermata can be started");
        let pipe = process.stdin.take();
        let output = Arc::new(Lines::default());
        let stdout = process.stdout.take().expect("stdout is a pipe");
        let stderr = process.stderr.take().expect("stderr is a pipe");
        Lines::collect(&output, BufReader::new(stdout));
        Lines::collect(&output, BufReader::new(stderr));
        let mut up = Self {
            platform: Platform {
                kubeconfig: data.join("kubeconfig"),
                gateway: ([127, 0, 0, 1], 0).into(),
                internal: ([127, 0, 0, 1], 0).into(),
                admin: None,
                embedded: true,
            },
            process,
            pipe,
            output,
        };
        let started = std::time::Instant::now();
        let address = |name: &'static str| {
            move |line: &str| {
                let rest = line
                    .trim()
                    .strip_prefix(name)?
                    .trim()
                    .strip_prefix("http://")?;
                rest.split('/').next()?.parse::<SocketAddr>().ok()
            }
        };
        loop {
            let (gateway, internal, admin) = (
                up.output.find(address("gateway")),
                up.output.find(address("in-cluster")),
                up.output.find(address("metrics")),
            );
            if let (Some(gateway), Some(internal), Some(admin)) = (gateway, internal, admin) {
                up.platform.gateway = gateway;
                up.platform.internal = internal;
                up.platform.admin = Some(admin);
                return Ok(up);
            }
            if up
                .process
                .try_wait()
                .expect("the process can be waited for")
                .is_some()
                || started.elapsed() > START
            {
                thread::sleep(Duration::from_millis(50));
                return Err(up.printed());
            }
            up.output.wait(Duration::from_millis(50));
        }
    }

    /// Where it is.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The id of the `fermata up` process.
    #[must_use]
    pub fn process(&self) -> u32 {
        let supervisor = self.process.id();
        let children =
            std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"))
                .expect("the supervisor runs");
        children
            .split_whitespace()
            .next()
            .and_then(|child| child.parse().ok())
            .expect("the supervisor has a child")
    }

    /// Everything it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        self.output
            .lines
            .lock()
            .expect("no panic while it is held")
            .join("\n")
    }

    /// Stops reading what it prints, or goes on with it.
    pub fn stall(&self, stalled: bool) {
        *self.output.stalled.lock().expect("no panic") = stalled;
        self.output.read.notify_all();
    }

    /// Kills it without warning (SIGKILL), as a power cut would.
    pub fn kill(mut self) {
        self.send(b'K');
        let _ = self.process.wait();
    }

    /// Asks it to end (SIGTERM) and gives its exit code and everything it printed.
    #[must_use]
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.stall(false);
        self.send(b'T');
        let code = self
            .process
            .wait()
            .expect("the process can be waited for")
            .code();
        (code, self.printed())
    }

    fn send(&mut self, order: u8) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(&[order]);
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.send(b'K');
        let _ = self.process.wait();
    }
}

// === impl Lines ===

impl Lines {
    fn collect(lines: &Arc<Self>, from: impl std::io::BufRead + Send + 'static) {
        let lines = Arc::clone(lines);
        thread::spawn(move || {
            for line in from.lines().map_while(Result::ok) {
                let stalled = lines.stalled.lock().expect("no panic while it is held");
                drop(lines.read.wait_while(stalled, |stalled| *stalled));
                lines
                    .lines
                    .lock()
                    .expect("no panic while it is held")
                    .push(line);
                lines.more.notify_all();
            }
        });
    }

    fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.lines
            .lock()
            .expect("no panic while it is held")
            .iter()
            .find_map(|line| find(line))
    }

    fn wait(&self, most: Duration) {
        let lines = self.lines.lock().expect("no panic while it is held");
        let _ = self.more.wait_timeout(lines, most);
    }
}

/// The `fermata` program.
#[must_use]
pub fn fermata_bin() -> PathBuf {
    program("fermata")
}

/// Runs `fermata` against a cluster.
#[must_use]
pub fn fermata(kubeconfig: &Path, arguments: &[&str]) -> Output {
    Command::new(fermata_bin())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .output()
        .expect("fermata can be run")
}

/// `PATH` with the programs that were built along with the tests.
fn test_path() -> std::ffi::OsString {
    let mut path = fermata_bin()
        .parent()
        .expect("a program is in a folder")
        .as_os_str()
        .to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    if let Some(folder) = git_server::git_lfs() {
        path.push(":");
        path.push(folder);
    }
    path
}
