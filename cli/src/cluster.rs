//! The cluster a command works on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::args::Target;

/// Where `fermata up` leaves its kubeconfig, relative to where it was started.
const EMBEDDED: &str = ".fermata/kubeconfig";

/// A connection to the cluster, and the namespace to work in.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Connects to the cluster that the flags, the environment or the files name.
pub(crate) async fn connect(target: &Target) -> anyhow::Result<Cluster> {
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = match file(target) {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(&path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    };
    let config = config.context(
        "no usable kubeconfig: start `fermata up` in this directory, or name a cluster with --kubeconfig or KUBECONFIG",
    )?;
    let namespace = target
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let server = config.cluster_url.clone();
    let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
    if let Err(error) = client.apiserver_version().await {
        let error = anyhow::Error::new(error);
        bail!(error.context(format!(
            "the cluster at {server} does not answer; is it running?"
        )));
    }
    Ok(Cluster { client, namespace })
}

fn file(target: &Target) -> Option<PathBuf> {
    if target.kubeconfig.is_some() {
        return target.kubeconfig.clone();
    }
    let named = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let embedded = Path::new(EMBEDDED);
    (!named && embedded.is_file()).then(|| embedded.to_owned())
}
