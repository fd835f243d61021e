//! A release: its images go to a registry, and the chart takes them from there.

use std::fs;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{
    platform::{NAMESPACE, Platform},
    release::{self, Push},
    shell,
};

/// What a filter may choose.
pub(super) const NAME: &str = "release";

/// The namespace of the function that runs from it.
const SPACE: &str = "release";

/// Pushes the images, installs the chart with the values that came out, and runs a function.
pub(super) fn run(platform: &Platform) -> anyhow::Result<()> {
    let folder = shell::root().join("target/cluster/release");
    fs::create_dir_all(&folder)?;
    let registry = platform.cluster().registry()?;
    let values = folder.join("values.yaml");
    release::push(&Push::to(registry.to_owned(), values.clone()))?;
    // The tests' own values never pull.
    platform.install_with(&[
        "--set=operator.image.pullPolicy=IfNotPresent,gateway.image.pullPolicy=IfNotPresent".into(),
        "--set=events.image.pullPolicy=IfNotPresent".into(),
        "--values".into(),
        values.into(),
    ])?;
    from_registry(platform, registry, NAMESPACE)?;
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
    from_registry(platform, registry, SPACE)?;
    let mut delete = platform.command("kubectl");
    // Its pods take their time; whoever comes next has other namespaces.
    shell::quiet(delete.args(["delete", "namespace", SPACE, "--wait=false"]))
}

/// All pods of a namespace run images of the registry, by digest, but for those that are about to go.
fn from_registry(platform: &Platform, registry: &str, namespace: &str) -> anyhow::Result<()> {
    let mut pods = platform.command("kubectl");
    pods.args(["--namespace", namespace, "get", "pods", "--output=json"]);
    let pods = shell::output(&mut pods).context("the pods cannot be read")?;
    let pods: Value = serde_json::from_str(&pods)?;
    let prefix = format!("{registry}/fermata-dev/");
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
