//! The function that takes pushes, as a part of the embedded platform.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;
use fermata_crds::Function;
use fermata_gateway::OwnPath;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::{SERVER_COMMAND, caller, repository, request};

/// Where the platform's own functions are.
pub(crate) const NAMESPACE: &str = "fermata-system";

/// The function's name.
const NAME: &str = "git";

/// Who applies it.
const FIELD_MANAGER: &str = "fermata";

/// Whether pushes are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offer {
    /// They are.
    Taken,
    /// There is no git to take them, or no way to know who pushes.
    NotTaken(&'static str),
}

/// The path of the gateway that leads to the function.
pub(crate) fn own_path() -> OwnPath {
    OwnPath {
        path: request::PATH.to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: NAME.to_owned(),
    }
}

// === impl Offer ===

impl Offer {
    /// Makes the function, if pushes can be taken. `data` is the folder of the state, `gateway` where requests
    /// are taken. What was pushed to objects that are forgotten is forgotten too.
    ///
    /// # Errors
    ///
    /// When the API refuses it, or what is forgotten cannot be removed.
    pub(crate) async fn make(
        client: &Client,
        data: &Path,
        kubeconfig: &Path,
        gateway: SocketAddr,
        forgets: bool,
    ) -> anyhow::Result<Self> {
        let root = data.join("git");
        if forgets {
            repository::remove_dir(&root)
                .with_context(|| format!("cannot remove {}", root.display()))?;
        }
        let functions = Api::<Function>::namespaced(client.clone(), NAMESPACE);
        let offer = Self::here();
        if offer != Self::Taken {
            return match functions.delete(NAME, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(offer),
                deleted => deleted
                    .map(|_| offer)
                    .context("the function that takes pushes cannot be removed"),
            };
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
        });
        let namespaces = Api::<Namespace>::all(client.clone());
        let namespace = namespaces
            .patch(NAMESPACE, &params, &Patch::Apply(namespace))
            .await;
        namespace.with_context(|| format!("the namespace {NAMESPACE} cannot be made"))?;
        let function = json!({
            "apiVersion": format!("{}/{}", fermata_crds::GROUP, fermata_crds::VERSION),
            "kind": "Function",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "image": "fermata",
                "command": [
                    "fermata", SERVER_COMMAND,
                    "--root", root, "--kubeconfig", kubeconfig, "--gateway", gateway.to_string(),
                ],
                // The gateway leads to it by its own path alone.
                "expose": {"visibility": "Cluster"},
                "scale": {"min": 0, "max": 1, "initial": 0},
                "timeouts": {"request": "1h"},
            },
        });
        let made = functions
            .patch(NAME, &params, &Patch::Apply(function))
            .await;
        made.context("the function that takes pushes cannot be made")?;
        Ok(offer)
    }

    fn here() -> Self {
        if !caller::can_be_told() {
            return Self::NotTaken("this system does not say whose a connection is");
        }
        if !has_git() {
            return Self::NotTaken("there is no git on PATH");
        }
        Self::Taken
    }
}

/// Whether git is on `PATH`, with what takes pushes over HTTP.
fn has_git() -> bool {
    let mut git = Command::new("git");
    git.arg("--exec-path")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let there = |output: io::Result<std::process::Output>| {
        let text = String::from_utf8(output.ok()?.stdout).ok()?;
        fs::metadata(PathBuf::from(text.trim()).join("git-http-backend")).ok()
    };
    there(git.output()).is_some()
}
