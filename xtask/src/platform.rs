//! Fermata on a real Kubernetes of this machine: the cluster, the images and the chart.

mod diagnosis;

use std::{
    ffi::OsString, fs::Permissions, os::unix::fs::PermissionsExt as _, path::PathBuf,
    process::Command,
};

use anyhow::Context as _;

use crate::{cluster::Cluster, image, shell};

/// The namespace and the name of the release.
pub(crate) const NAMESPACE: &str = "fermata-system";
const RELEASE: &str = "fermata";

/// What runs in the cluster: the operator, the gateway, and what the suites' functions are run, built and
/// fetched by.
const IMAGES: [&str; 14] = [
    "operator",
    "gateway",
    "events",
    "runtime-python",
    "runtime-node",
    "runtime-command",
    "build-python",
    "build-node",
    "git",
    "git-server",
    "push",
    "test-function",
    "runtime-ruby",
    "build-ruby",
];

/// An installed Fermata.
#[derive(Debug)]
pub(crate) struct Platform {
    cluster: Cluster,
    /// Whether the cluster was started for this.
    ours: bool,
}

// === impl Platform ===

impl Platform {
    /// Builds the images, starts the cluster and loads them. Nothing is installed yet.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        let images = image::build(&IMAGES)?;
        let ours = !Cluster::runs();
        let cluster = Cluster::up()?;
        let archives: Vec<PathBuf> = images.iter().map(|image| image.archive.clone()).collect();
        cluster.load(&archives)?;
        // There is no registry to pull from: what the examples name is something that has it too.
        let python = images.iter().find(|image| image.name == "runtime-python");
        let python = python.context("the runtime python was not built")?;
        cluster.tag(&python.reference, "docker.io/library/python:3.13-slim")?;
        Ok(Self { cluster, ours })
    }

    /// Installs the chart as it is in the repository, and waits until everything is ready.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        self.install_with(&[])
    }

    /// The same, with more arguments for helm.
    pub(crate) fn install_with(&self, more: &[OsString]) -> anyhow::Result<()> {
        // Its pods, and all that helpers may start there, have to be restricted.
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        });
        let file = shell::root().join("target/cluster/namespace.json");
        std::fs::write(&file, namespace.to_string()).context("cannot write the namespace")?;
        let mut apply = self.command("kubectl");
        shell::quiet(
            apply
                .args(["apply", "--server-side", "--filename"])
                .arg(&file),
        )?;
        self.make_volume()?;
        let mut helm = self.command("helm");
        helm.args(["upgrade", "--install", RELEASE])
            .arg(shell::root().join("charts/fermata"))
            .arg("--values")
            .arg(shell::root().join("tests/cluster/values.yaml"))
            .args(["--namespace", NAMESPACE, "--wait", "--timeout=5m"])
            .args(more);
        shell::run("install the chart", &mut helm).inspect_err(|_| diagnosis::print(self))
    }

    /// The volume in which asynchronous calls are kept: a folder of this machine, since nothing makes volumes here.
    fn make_volume(&self) -> anyhow::Result<()> {
        let folder = shell::root().join("target/cluster/volumes/events");
        std::fs::create_dir_all(&folder).context("cannot make the folder of a volume")?;
        // Kubernetes gives such a folder to nobody.
        std::fs::set_permissions(&folder, Permissions::from_mode(0o777))
            .context("cannot open the folder of a volume to pods")?;
        let volume = serde_json::json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "fermata-events"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fermata-test",
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": folder, "type": "Directory"},
            },
        });
        let file = shell::root().join("target/cluster/volume.json");
        std::fs::write(&file, volume.to_string()).context("cannot write the volume")?;
        let mut apply = self.command("kubectl");
        apply.args(["apply", "--server-side", "--filename"]);
        shell::quiet(apply.arg(&file))
    }

    /// Ends the operators of an earlier run, if there are any. The next installation brings them back.
    pub(crate) fn without_operators(&self) -> anyhow::Result<()> {
        let operators = [
            "deployment",
            "--selector=app.kubernetes.io/component=operator",
        ];
        let mut scale = self.command("kubectl");
        scale.args(["--namespace", NAMESPACE, "scale", "--replicas=0"]);
        let mut find = self.command("kubectl");
        find.args(["--namespace", NAMESPACE, "get", "--output=name"]);
        if shell::output(find.args(operators)).is_none_or(|found| found.is_empty()) {
            return Ok(());
        }
        shell::quiet(scale.args(operators))?;
        let mut wait = self.command("kubectl");
        wait.args([
            "--namespace",
            NAMESPACE,
            "wait",
            "--for=delete",
            "--timeout=60s",
            "pod",
        ]);
        shell::quiet(wait.arg(operators[1]))
    }

    /// The address of one of the gateway's Services, which this machine reaches as pods do.
    fn gateway(&self, service: &str) -> anyhow::Result<String> {
        let mut kubectl = self.command("kubectl");
        kubectl.args(["--namespace", NAMESPACE, "get", "service", service]);
        kubectl.arg("--output=jsonpath={.spec.clusterIP}:{.spec.ports[0].port}");
        shell::output(&mut kubectl)
            .with_context(|| format!("the gateway's Service {service} has no address"))
    }

    /// Does something with it, and ends the cluster after that if it was started for this. Where that
    /// fails, the cluster stays, to be looked at.
    #[allow(clippy::print_stderr, reason = "it is for people")]
    pub(crate) fn during<T>(
        self,
        work: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let outcome = work(&self);
        match &outcome {
            Ok(_) if self.ours => self.cluster.down()?,
            Ok(_) => {}
            Err(_) => eprintln!(
                "\nThe cluster still runs, with the kubeconfig {}. To end it: cargo xtask cluster down",
                self.cluster.kubeconfig().display()
            ),
        }
        outcome
    }

    /// The cluster.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A command of one of the cluster's programs, against this cluster.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.cluster.tools().command(program);
        command.env("KUBECONFIG", self.cluster.kubeconfig());
        command
    }

    /// Tells a suite or a benchmark about this platform, by its environment.
    pub(crate) fn describe_to(&self, command: &mut Command) -> anyhow::Result<()> {
        let tools = self.cluster.tools();
        let own = std::env::current_exe().context("this program cannot find itself")?;
        command
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("FERMATA_TEST_GATEWAY", self.gateway("fermata-gateway")?)
            .env(
                "FERMATA_TEST_GATEWAY_INTERNAL",
                self.gateway("fermata-gateway-internal")?,
            )
            .env("FERMATA_TEST_CLUSTER", own)
            .env("KUBECTL", tools.program("kubectl"))
            .env("HELM", tools.program("helm"));
        Ok(())
    }
}
