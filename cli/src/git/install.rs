//! The functions that take pushes and deliveries of webhooks, as parts of the embedded platform.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use fermata_crds::{
    Function,
    names::{BUNDLES_CONFIG_MAP, BUNDLES_NAMESPACE},
};
use fermata_gateway::OwnPath;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time;

use super::{
    NAMESPACE, SERVER_COMMAND, WEBHOOKS_COMMAND, caller,
    credentials::Credentials,
    repository::{self, Root},
    request, settling, webhook,
};
use crate::bundle::place;

/// The function that takes pushes.
const PUSHES: &str = "git";

/// The function that takes deliveries of webhooks.
const WEBHOOKS: &str = "webhooks";

/// The name by which instances fetch bundles. On this machine it leads nowhere: the operator puts the gateway's address in
/// its place, which is another one whenever the platform is told to listen elsewhere.
pub(crate) const IN_CLUSTER: &str = "http://git.fermata-system.svc.cluster.local";

/// How often it is tried to settle what was broken off, and the pause between.
const TRIES: usize = 12;
const PAUSE: Duration = Duration::from_secs(5);

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

/// The paths of the gateway that lead to the functions.
pub(crate) fn own_paths() -> Vec<OwnPath> {
    let own = |path: &str, name: &str| OwnPath {
        path: path.to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    };
    vec![own(request::PATH, PUSHES), own(webhook::PATH, WEBHOOKS)]
}

/// Makes the function that takes deliveries of webhooks.
///
/// # Errors
///
/// When the API refuses it.
pub(crate) async fn make_webhooks(client: &Client, kubeconfig: &Path) -> anyhow::Result<()> {
    let command = json!([
        "fermata",
        WEBHOOKS_COMMAND,
        "--kubeconfig",
        kubeconfig,
        "--log-format",
        "text",
    ]);
    let made = apply(client, WEBHOOKS, &command, "60s").await;
    made.context("the function that takes webhooks cannot be made")
}

/// Makes a function of the platform's own, one instance of which runs when it is called.
async fn apply(client: &Client, name: &str, command: &Value, longest: &str) -> anyhow::Result<()> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
    });
    let namespaces = Api::<Namespace>::all(client.clone());
    let made = namespaces
        .patch(NAMESPACE, &params, &Patch::Apply(namespace))
        .await;
    made.with_context(|| format!("the namespace {NAMESPACE} cannot be made"))?;
    let function = json!({
        "apiVersion": format!("{}/{}", fermata_crds::GROUP, fermata_crds::VERSION),
        "kind": "Function",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "image": "fermata",
            "command": command,
            // The gateway leads to it by its own path alone.
            "expose": {"visibility": "Cluster"},
            "scale": {"min": 0, "max": 1, "initial": 0},
            "timeouts": {"request": longest},
        },
    });
    let functions = Api::<Function>::namespaced(client.clone(), NAMESPACE);
    functions
        .patch(name, &params, &Patch::Apply(function))
        .await?;
    Ok(())
}

/// Settles the pushes that were broken off before this was called, before anybody pushes: what a killed one has applied
/// runs no longer than needed. What is applied again may be a bundle, which goes by the gateway to the function that
/// takes pushes: both may still start.
///
/// # Cancel safety
///
/// What is not settled when the future is dropped is settled by the next one.
pub(crate) fn settle(data: &Path, kubeconfig: &Path) -> impl Future<Output = ()> + Send + 'static {
    let begun = Instant::now();
    let root = Root::new(root(data));
    let credentials = Credentials::Kubeconfig(kubeconfig.to_owned());
    async move {
        settling::remove_checkouts(&root).await;
        for left in (0..TRIES).rev() {
            let unsettled = settling::settle_all(&root, Some(&credentials), None, begun).await;
            // What the API server refuses it would refuse again.
            let passes = unsettled.iter().any(settling::Unsettled::may_pass);
            if left == 0 || !passes {
                unsettled.iter().for_each(settling::Unsettled::warn);
                return;
            }
            time::sleep(PAUSE).await;
        }
    }
}

/// Where the repositories are.
fn root(data: &Path) -> PathBuf {
    data.join("git")
}

/// Tells where bundles are taken, or that none are.
async fn tell(client: &Client, offer: Offer, url: &str) -> anyhow::Result<()> {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let namespaces = Api::<Namespace>::all(client.clone());
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BUNDLES_NAMESPACE},
    });
    let made = namespaces
        .patch(BUNDLES_NAMESPACE, &params, &Patch::Apply(namespace))
        .await;
    made.with_context(|| format!("the namespace {BUNDLES_NAMESPACE} cannot be made"))?;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), BUNDLES_NAMESPACE);
    let data = match offer {
        Offer::Taken => json!({
            place::URL: url, place::IN_CLUSTER: IN_CLUSTER, place::ACCESS: place::USER,
        }),
        Offer::NotTaken(why) => json!({ place::WHY: why }),
    };
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": BUNDLES_CONFIG_MAP, "namespace": BUNDLES_NAMESPACE},
        "data": data,
    });
    maps.patch(BUNDLES_CONFIG_MAP, &params, &Patch::Apply(map))
        .await
        .context("it cannot be told where folders go that are too large for a manifest")?;
    Ok(())
}

// === impl Offer ===

impl Offer {
    /// Makes the function, if pushes can be taken. `data` is the folder of the state, `gateway` where requests
    /// are taken and `url` how this machine says it. What was pushed to objects that are forgotten is forgotten too.
    ///
    /// # Errors
    ///
    /// When the API refuses it, or what is forgotten cannot be removed.
    pub(crate) async fn make(
        client: &Client,
        data: &Path,
        kubeconfig: &Path,
        gateway: SocketAddr,
        url: &str,
        forgets: bool,
    ) -> anyhow::Result<Self> {
        let root = root(data);
        if forgets {
            repository::remove_dir(&root)
                .with_context(|| format!("cannot remove {}", root.display()))?;
        }
        let functions = Api::<Function>::namespaced(client.clone(), NAMESPACE);
        let offer = Self::here();
        tell(client, offer, url).await?;
        if offer != Self::Taken {
            return match functions.delete(PUSHES, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(offer),
                deleted => deleted
                    .map(|_| offer)
                    .context("the function that takes pushes cannot be removed"),
            };
        }
        let command = json!([
            "fermata",
            SERVER_COMMAND,
            "--root",
            root,
            "--kubeconfig",
            kubeconfig,
            "--gateway",
            gateway.to_string(),
            "--log-format",
            "text",
        ]);
        let made = apply(client, PUSHES, &command, "1h").await;
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
