//! With what the API server is asked for the one who pushes.

use std::{collections::HashSet, env, path::PathBuf};

use anyhow::Context as _;
use fermata_crds::{Function, Revision, names};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use super::told;

/// With what the API server is asked.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// What a kubeconfig has.
    Kubeconfig(PathBuf),
    /// A token of the one who pushes.
    Token {
        /// The address of the API server.
        api: String,
        /// The file with the authority that it shows.
        ca: PathBuf,
        /// Nobody else's.
        token: String,
    },
}

// === impl Credentials ===

impl Credentials {
    /// Those that the server has told its hook, and the hook the command that deploys.
    pub(super) fn of_environment() -> Option<Self> {
        if let Some(kubeconfig) = env::var_os(told::KUBECONFIG) {
            return Some(Self::Kubeconfig(kubeconfig.into()));
        }
        Self::token_of_environment()
    }

    /// The token of the one who pushes, if that is what there is.
    pub(crate) fn token_of_environment() -> Option<Self> {
        Some(Self::Token {
            api: env::var(told::API).ok()?,
            ca: env::var_os(told::CA)?.into(),
            token: env::var(told::TOKEN).ok()?,
        })
    }

    /// How they are told, in the environment of a process: other users cannot read that, as they can read its
    /// arguments.
    pub(super) fn told(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Kubeconfig(file) => {
                vec![(told::KUBECONFIG, file.to_string_lossy().into_owned())]
            }
            Self::Token { api, ca, token } => vec![
                (told::API, api.clone()),
                (told::CA, ca.to_string_lossy().into_owned()),
                (told::TOKEN, token.clone()),
            ],
        }
    }

    /// The configuration of a client.
    ///
    /// # Errors
    ///
    /// When a file cannot be used.
    pub(crate) async fn config(&self) -> anyhow::Result<Config> {
        let kubeconfig = match self {
            Self::Kubeconfig(file) => Kubeconfig::read_from(file)?,
            Self::Token { api, ca, token } => serde_json::from_value(json!({
                "current-context": "own",
                "clusters": [{"name": "own", "cluster": {"server": api, "certificate-authority": ca}}],
                "users": [{"name": "own", "user": {"token": token}}],
                "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
            }))?,
        };
        let options = KubeConfigOptions::default();
        Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
    }

    /// A client.
    ///
    /// # Errors
    ///
    /// As [`Credentials::config`].
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// The commits of bundles that the function or a Revision of it names.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(super) async fn used_commits(
        &self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<HashSet<String>> {
        let client = self.client().await?;
        let revisions = Api::<Revision>::namespaced(client.clone(), namespace);
        let own = ListParams::default().labels(&format!("{}={name}", names::FUNCTION_LABEL));
        let revisions = revisions.list(&own).await;
        let revisions = revisions.with_context(|| format!("Revisions of {name} cannot be read"))?;
        let commits = revisions.items.into_iter();
        let mut used: HashSet<String> = commits
            .filter_map(|revision| revision.spec.commit)
            .collect();
        let functions = Api::<Function>::namespaced(client, namespace);
        let function = functions.get_opt(name).await;
        let function = function.with_context(|| format!("{name} cannot be read"))?;
        let source = function.and_then(|function| function.spec.template.source);
        used.extend(source.and_then(|source| Some(source.git?.commit()?.to_owned())));
        Ok(used)
    }

    /// What tells the function from others that had its name; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) async fn uid(&self, namespace: &str, name: &str) -> anyhow::Result<Option<String>> {
        let functions = Api::<Function>::namespaced(self.client().await?, namespace);
        let function = functions.get_opt(name).await;
        let function = function.with_context(|| format!("{name} cannot be read"))?;
        Ok(function.and_then(|function| function.metadata.uid))
    }
}
