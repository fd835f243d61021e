//! A function that runs, and requests to it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A function to be started.
pub(crate) struct Setup {
    directory: TempDir,
    /// Where it runs, if not there.
    elsewhere: Option<PathBuf>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A function that runs.
pub(crate) struct Function {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    setup: Setup,
}

/// An answer with its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Setup ===

impl Setup {
    pub(crate) fn new(runtime: &str) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            elsewhere: None,
            arguments: vec![runtime.to_owned()],
            variables: Vec::new(),
        }
    }

    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Has it run in a directory that is there.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.elsewhere = Some(directory.to_owned());
        self
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(name), text).expect("a file");
        self
    }

    pub(crate) fn script(self, name: &str, text: &str) -> Self {
        let this = self.file(name, text);
        let path = this.directory.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a script");
        this
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn handler(self, handler: &str) -> Self {
        self.variable("FERMATA_HANDLER", handler)
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermata-invoker"));
        command
            .args(&self.arguments)
            .current_dir(self.elsewhere.as_deref().unwrap_or(self.directory.path()))
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Prepares the directory and starts the function.
    pub(crate) fn start_in(self, prepare: impl FnOnce(&Path)) -> Function {
        prepare(self.directory.path());
        self.start()
    }

    /// Starts the function and waits until its port is open.
    pub(crate) fn start(self) -> Function {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = Arc::new(Mutex::new(String::new()));
        let child = self.spawn(address, &log);
        let mut function = Function {
            address,
            child,
            log,
            setup: self,
        };
        function.wait_until_ready();
        function
    }

    fn spawn(&self, address: SocketAddr, log: &Arc<Mutex<String>>) -> Child {
        let mut child = self.command(address.port()).spawn().expect("a process");
        collect(child.stdout.take().unwrap(), log.clone());
        collect(child.stderr.take().unwrap(), log.clone());
        child
    }

    /// Prepares the directory and runs a function that does not start.
    pub(crate) fn fail_in(self, prepare: impl FnOnce(&Path)) -> (ExitStatus, String) {
        prepare(self.directory.path());
        self.fail()
    }

    /// Runs a function that does not start; how it ended, and what it said.
    pub(crate) fn fail(self) -> (ExitStatus, String) {
        let port = free_port();
        let output = self.command(port).output().expect("an output");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        (output.status, text)
    }
}

// === impl Function ===

impl Function {
    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().expect("a status");
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            assert!(Instant::now() < deadline, "never ready: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the program to end because its worker did, and starts it again, as the cluster
    /// does.
    pub(crate) async fn restarted(&mut self) {
        let status = self.ended().await;
        assert_eq!(status.code(), Some(1), "{}", self.log());
        self.child = self.setup.spawn(self.address, &self.log);
        self.wait_until_ready();
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log holds the text.
    pub(crate) async fn logged(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "{text:?} is not in {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(http::Request::get(self.url(path)), "").await
    }

    /// Status and text of an answer; none if the connection fails or breaks.
    pub(crate) async fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let request = http::Request::get(self.url(path)).body(Full::<Bytes>::default());
        let response = client().request(request.expect("a request")).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some((
            parts.status.as_u16(),
            String::from_utf8_lossy(&body).into_owned(),
        ))
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(http::Request::post(self.url(path)), body).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = client().request(request).await.expect("a response");
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.expect("a whole body").to_bytes(),
        }
    }

    /// Sends raw bytes and returns the connection.
    pub(crate) fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(bytes).expect("sent");
        stream
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a signal");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Processes whose parent is the invoker.
    pub(crate) fn children(&self) -> Vec<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// Waits for the end of the program.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("json")
    }

    pub(crate) fn kind(&self) -> &str {
        let kind = self.headers.get("content-type");
        kind.map_or("", |kind| kind.to_str().unwrap())
    }
}

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All that comes until the other side closes.
pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn collect(stream: impl std::io::Read + Send + 'static, log: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}
