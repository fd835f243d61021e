//! What the tests share.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use fermata_apiserver::{ApiServer, Options};
use http::{Request, Response};
use kube::Client;
use serde_json::Value;

/// How long a test waits for what should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Options for a server of a test: any free port, nothing on disk, the definitions of Fermata.
pub(crate) fn options() -> Options {
    Options {
        listen: ([127, 0, 0, 1], 0).into(),
        crds: fermata_crds::crd::all(),
        ..Options::default()
    }
}

pub(crate) async fn server() -> (ApiServer, Client) {
    let server = ApiServer::start(options()).await.expect("server");
    let client = server.client("default");
    (server, client)
}

/// A raw request; the status code and the body.
pub(crate) async fn send(client: &Client, request: Request<Vec<u8>>) -> Response<Value> {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, kube::client::Body::from(body));
    let response = client.send(request).await.expect("response");
    let (parts, body) = response.into_parts();
    let bytes = body.collect_bytes().await.expect("body");
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Response::from_parts(parts, value)
}

/// A request with a JSON body.
pub(crate) async fn call(client: &Client, method: &str, path: &str, body: Value) -> (u16, Value) {
    let content_type = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    typed(client, method, path, content_type, body).await
}

pub(crate) async fn typed(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: Value,
) -> (u16, Value) {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(body)
        .expect("request");
    let response = send(client, request).await;
    (response.status().as_u16(), response.into_body())
}

/// A server-side apply.
pub(crate) async fn apply(
    client: &Client,
    path: &str,
    manager: &str,
    force: bool,
    config: Value,
) -> (u16, Value) {
    let path = format!("{path}?fieldManager={manager}&force={force}");
    typed(
        client,
        "PATCH",
        &path,
        "application/apply-patch+yaml",
        config,
    )
    .await
}

/// Waits until `probe` says yes.
pub(crate) async fn eventually<F, T>(what: &str, mut probe: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let wait = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// kubectl with a kubeconfig of its own.
pub(crate) struct Kubectl {
    dir: tempfile::TempDir,
}

impl Kubectl {
    pub(crate) fn new(server: &ApiServer) -> Self {
        let found = Command::new("kubectl")
            .args(["version", "--client"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            found.is_ok_and(|status| status.success()),
            "this test needs kubectl 1.30 or newer on PATH: https://kubernetes.io/docs/tasks/tools/"
        );
        let dir = tempfile::tempdir().expect("directory");
        std::fs::write(dir.path().join("kubeconfig"), server.kubeconfig()).expect("kubeconfig");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .current_dir(self.dir.path());
        command
    }

    /// Runs off the runtime's threads, on which the server runs.
    pub(crate) async fn output(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        tokio::task::spawn_blocking(move || command.output().expect("kubectl"))
            .await
            .expect("kubectl")
    }

    /// What kubectl prints when it succeeds.
    pub(crate) async fn run(&self, args: &[&str]) -> String {
        let output = self.output(args).await;
        assert!(
            output.status.success(),
            "kubectl {}\n{}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// What kubectl complains about when it fails.
    pub(crate) async fn fail(&self, args: &[&str]) -> String {
        let output = self.output(args).await;
        assert!(
            !output.status.success(),
            "kubectl {} succeeded:\n{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    }
}
