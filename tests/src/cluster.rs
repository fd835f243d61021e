//! The cluster of `cargo xtask cluster` with the chart installed: its tools, and its parts, which
//! can be stopped.

use std::{path::PathBuf, process::Command};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{namespace::Space, platform::Platform, wait::eventually};

/// The namespace of operator and gateway.
pub const SYSTEM: &str = "fermata-system";

/// The cluster, and a namespace of the test's own on it.
pub struct Cluster {
    /// A new namespace.
    pub space: Space,
    xtask: PathBuf,
}

/// A container that runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    /// The pod it is in.
    pub pod: String,
    /// The address of that pod.
    pub address: std::net::IpAddr,
    /// Its own id.
    pub id: String,
}

// === impl Cluster ===

impl Cluster {
    /// The cluster that the environment names.
    pub async fn new() -> Self {
        let xtask = std::env::var_os("FERMATA_TEST_CLUSTER")
            .expect("cargo xtask test gives these suites their cluster");
        let platform = Platform::shared();
        assert!(!platform.embedded, "FERMATA_TEST_GATEWAY is not set");
        Self {
            space: Space::on(platform).await,
            xtask: xtask.into(),
        }
    }

    /// The cluster around a namespace, if the environment names one whose parts can be stopped.
    #[must_use]
    pub fn around(space: Space) -> Option<Self> {
        let xtask =
            std::env::var_os("FERMATA_TEST_CLUSTER").filter(|_| !space.platform.embedded)?;
        Some(Self {
            space,
            xtask: xtask.into(),
        })
    }

    /// Runs kubectl, which must succeed, and gives what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments)
            .unwrap_or_else(|printed| panic!("kubectl {arguments:?}: {printed}"))
    }

    /// Runs kubectl.
    ///
    /// # Errors
    ///
    /// What it printed when it failed.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        run(Command::new(tool("KUBECTL", "kubectl")).args(arguments))
    }

    /// Runs helm.
    ///
    /// # Errors
    ///
    /// What it printed when it failed.
    pub fn try_helm(&self, arguments: &[&str]) -> Result<String, String> {
        run(Command::new(tool("HELM", "helm")).args(arguments))
    }

    /// Runs helm, which must succeed, and gives what it printed.
    pub fn helm(&self, arguments: &[&str]) -> String {
        self.try_helm(arguments)
            .unwrap_or_else(|printed| panic!("helm {arguments:?}: {printed}"))
    }

    /// Stops a component of the cluster itself, such as `api-server`.
    pub fn stop(&self, component: &str) {
        self.xtask(&["stop", component]);
    }

    /// Starts it again, and waits until it serves.
    pub fn start(&self, component: &str) {
        self.xtask(&["start", component]);
    }

    /// Kills a container's processes with SIGKILL.
    pub fn kill(&self, container: &Container) {
        self.try_kill(container)
            .unwrap_or_else(|printed| panic!("{container:?}: {printed}"));
    }

    /// Kills a container's processes with SIGKILL.
    ///
    /// # Errors
    ///
    /// What was printed when that failed.
    pub fn try_kill(&self, container: &Container) -> Result<(), String> {
        self.try_xtask(&["kill", &container.id])
    }

    fn xtask(&self, arguments: &[&str]) {
        self.try_xtask(arguments)
            .unwrap_or_else(|printed| panic!("cluster {arguments:?}: {printed}"));
    }

    fn try_xtask(&self, arguments: &[&str]) -> Result<(), String> {
        run(Command::new(&self.xtask).arg("cluster").args(arguments)).map(drop)
    }

    /// The pods of the operator or the gateway that are ready and stay.
    pub async fn replicas(&self, component: &str) -> Vec<Container> {
        self.try_replicas(component)
            .await
            .expect("pods can be listed")
    }

    /// The pods of the operator or the gateway that are ready and stay.
    ///
    /// # Errors
    ///
    /// When they cannot be listed.
    pub async fn try_replicas(&self, component: &str) -> Result<Vec<Container>, kube::Error> {
        let labels = format!("app.kubernetes.io/component={component}");
        let pods: Api<Pod> = Api::namespaced(self.space.client.clone(), SYSTEM);
        let pods = pods.list(&ListParams::default().labels(&labels)).await?;
        Ok(pods.iter().filter_map(Container::of).collect())
    }

    /// Waits until all replicas of operator and gateway are ready, two of each.
    pub async fn settled(&self) {
        for component in ["operator", "gateway"] {
            eventually(&format!("two {component}s are ready"), async || {
                let ready = self.replicas(component).await;
                let pods = self.kubectl(&[
                    "-n",
                    SYSTEM,
                    "get",
                    "pods",
                    "-o",
                    "name",
                    "-l",
                    &format!("app.kubernetes.io/component={component}"),
                ]);
                if ready.len() == 2 && pods.lines().count() == 2 {
                    Ok(())
                } else {
                    Err(format!("{ready:?} of {pods}"))
                }
            })
            .await;
        }
    }

    /// The pod that holds the Lease of the operator or the gateway, if it is ready.
    pub async fn leader(&self, component: &str) -> Container {
        eventually(&format!("there is a leading {component}"), async || {
            let leases: Api<Lease> = Api::namespaced(self.space.client.clone(), SYSTEM);
            let lease = leases
                .get(&format!("fermata-{component}"))
                .await
                .map_err(|error| error.to_string())?;
            let holder = lease
                .spec
                .and_then(|spec| spec.holder_identity)
                .unwrap_or_default();
            let replicas = self.replicas(component).await;
            replicas
                .into_iter()
                .find(|replica| replica.pod == holder)
                .ok_or_else(|| format!("the Lease is held by {holder:?}"))
        })
        .await
    }

    /// The running containers of a function.
    pub async fn function_containers(&self, function: &str) -> Vec<Container> {
        let labels = format!("fermata.dev/function={function}");
        let pods = self
            .space
            .api::<Pod>()
            .list(&ListParams::default().labels(&labels))
            .await
            .expect("pods can be listed");
        pods.iter().filter_map(Container::of).collect()
    }
}

// === impl Container ===

impl Container {
    /// The first container of a pod that is ready and is not being deleted.
    fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref()?;
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let container = status.container_statuses.as_ref()?.first()?;
        let id = container.container_id.as_deref()?;
        (ready && pod.metadata.deletion_timestamp.is_none()).then(|| {
            let id = id.rsplit('/').next().unwrap_or(id).to_owned();
            let address = status.pod_ip.as_deref()?.parse().ok()?;
            Some(Self {
                pod: pod.name_any(),
                address,
                id,
            })
        })?
    }
}

fn tool(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {:?}: {error}", command.get_program()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}
