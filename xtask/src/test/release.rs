//! A release: its images go to a registry, and the chart takes them from there.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::{
    debian,
    platform::{NAMESPACE, Platform},
    release::{self, Push},
    shell,
};

/// What a filter may choose.
pub(super) const NAME: &str = "release";

/// For the registry to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The namespace of the function that runs from it.
const SPACE: &str = "release";

/// A registry on loopback, as long as this is there.
struct Registry {
    process: Child,
    address: String,
}

/// Pushes the images, installs the chart with the values that came out, and runs a function.
pub(super) fn run(platform: &Platform) -> anyhow::Result<()> {
    let folder = shell::root().join("target/cluster/registry");
    let registry = Registry::start(&folder)?;
    let values = folder.join("values.yaml");
    release::push(&Push::to(registry.address.clone(), values.clone()))?;
    // The tests' own values never pull.
    platform.install_with(&[
        "--set=operator.image.pullPolicy=IfNotPresent,gateway.image.pullPolicy=IfNotPresent".into(),
        "--values".into(),
        values.into(),
    ])?;
    from_registry(platform, &registry, NAMESPACE)?;
    let function = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        {
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": "hello", "namespace": SPACE},
            "spec": {
                "source": {"runtime": "python", "files": {"main.py": "def handle(request): return 'hi'"}},
                "scale": {"min": 1},
            },
        },
    ]});
    let file = folder.join("function.json");
    fs::write(&file, function.to_string())?;
    shell::quiet(
        platform
            .command("kubectl")
            .args(["apply", "--filename"])
            .arg(&file),
    )?;
    let mut wait = platform.command("kubectl");
    wait.args(["--namespace", SPACE, "wait", "--for=condition=Ready"]);
    shell::run(
        "a function from the registry",
        wait.args(["function/hello", "--timeout=120s"]),
    )?;
    from_registry(platform, &registry, SPACE)?;
    let mut delete = platform.command("kubectl");
    // Its pods take their time; whoever comes next has other namespaces.
    shell::quiet(delete.args(["delete", "namespace", SPACE, "--wait=false"]))
}

/// All pods of a namespace run images of the registry, by digest, but for those that are about to go.
fn from_registry(platform: &Platform, registry: &Registry, namespace: &str) -> anyhow::Result<()> {
    let mut pods = platform.command("kubectl");
    pods.args(["--namespace", namespace, "get", "pods", "--output=json"]);
    let pods = shell::output(&mut pods).context("the pods cannot be read")?;
    let pods: Value = serde_json::from_str(&pods)?;
    let prefix = format!("{}/fermata-dev/", registry.address);
    let mut found = 0;
    for pod in pods["items"].as_array().into_iter().flatten() {
        if pod["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let image = container["image"].as_str().unwrap_or_default();
            ensure!(
                image.starts_with(&prefix) && image.contains("@sha256:"),
                "a pod of {namespace} runs {image}, which is not of {prefix} by digest"
            );
            found += 1;
        }
    }
    ensure!(found > 0, "{namespace} has no pods");
    Ok(())
}

// === impl Registry ===

impl Registry {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        debian::ensure(&["docker-registry", "skopeo"])?;
        fs::create_dir_all(folder)?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.context("no port is free")?.to_string();
        let config = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": folder.join("data")}},
            "http": {"addr": address},
        });
        let file = folder.join("config.yml");
        fs::write(&file, config.to_string())?;
        let log = fs::File::create(folder.join("log"))?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run docker-registry")?;
        let mut registry = Self { process, address };
        registry.wait(folder)?;
        Ok(registry)
    }

    fn wait(&mut self, folder: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(&self.address).is_err() {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!(
                    "the registry does not listen; see {}",
                    folder.join("log").display()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It keeps nothing that anybody needs.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
