//! `git push` to functions of `fermata up`.
//!
//! What takes pushes is a function of the platform's own, which rests at zero like any other. It lets
//! `git http-backend` work on a repository for each function, and git asks it back, by a hook, before it takes
//! what was pushed: the hook deploys it as `fermata deploy` does and refuses what does not become ready.

mod access;
mod caller;
mod cgi;
mod credentials;
mod hook;
#[cfg(feature = "embedded")]
mod install;
mod repository;
mod request;
mod room;
mod server;
mod settling;
mod slots;
mod webhook;
mod within;

use std::{
    ffi::OsString,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::Context as _;
use tokio::net::TcpListener;

#[cfg(feature = "embedded")]
pub(crate) use self::install::{IN_CLUSTER, Offer, make_webhooks, own_paths, settle};

pub(crate) use self::{
    credentials::Credentials,
    repository::bundles::{PREFIX as BUNDLES_PREFIX, digest},
    within::Within,
};

/// Where the platform's own functions are, if it is embedded.
pub(crate) const NAMESPACE: &str = "fermata-system";

/// What keys begin with that read bundles, so that none is taken for a token of the cluster.
pub(crate) const KEY_PREFIX: &str = "fermata-bundles-";

/// The header by which the one who deploys says which bundle it is.
pub(crate) const BUNDLE_HEADER: &str = "fermata-bundle";

/// The header with the digest of the key that reads the bundles.
pub(crate) const READER_HEADER: &str = "fermata-bundle-reader";

/// How the sentence ends by which one who pushes hears that another push is under way. Who brings a bundle tries again.
pub(crate) const UNDER_WAY: &str = "is under way; push again when it has ended";

/// The same when all places are taken.
pub(crate) const TOO_MANY: &str = "too many pushes and clones are under way; try again later";

/// The hidden command that the function runs.
const SERVER_COMMAND: &str = "__git-server";

/// The hidden command that git runs as a hook.
const HOOK_COMMAND: &str = "__git-hook";

/// The hidden command that takes deliveries of webhooks.
const WEBHOOKS_COMMAND: &str = "__webhooks";

/// What the hook is told by the server, in its environment.
mod told {
    use super::{credentials::Credentials, repository::Root, within::Within};

    /// Where all repositories are.
    pub(super) const ROOT: &str = "FERMATA_GIT_ROOT";
    /// The namespace of the function.
    pub(super) const NAMESPACE: &str = "FERMATA_GIT_NAMESPACE";
    /// The name of the function.
    pub(super) const NAME: &str = "FERMATA_GIT_NAME";
    /// The kubeconfig of the cluster.
    pub(super) const KUBECONFIG: &str = "FERMATA_GIT_KUBECONFIG";
    /// In its place, the address of the API server, the file with its authority, and the token of the one who pushes.
    pub(super) const API: &str = "FERMATA_GIT_API";
    pub(super) const CA: &str = "FERMATA_GIT_CA";
    pub(super) const TOKEN: &str = "FERMATA_GIT_TOKEN";
    /// Set if it is a bundle that is pushed.
    pub(super) const BUNDLES: &str = "FERMATA_GIT_BUNDLES";
    /// Where the server takes bundles of what the hook deploys, and the secret by which it knows the hook.
    pub(super) const SERVER: &str = "FERMATA_GIT_SERVER";
    pub(super) const SECRET: &str = "FERMATA_GIT_SECRET";
    /// Set if another push of the function is under way.
    pub(super) const BUSY: &str = "FERMATA_GIT_BUSY";
    /// In place of a push, the commit that is applied again after one that was broken off.
    pub(super) const SETTLES: &str = "FERMATA_GIT_SETTLES";

    /// What every hook of a function is told: where it works, for whom, and where it brings bundles.
    pub(super) fn hook(
        root: &Root,
        (namespace, name): (&str, &str),
        credentials: &Credentials,
        within: Option<&Within>,
    ) -> Vec<(&'static str, String)> {
        let mut told = vec![
            (ROOT, root.path().to_string_lossy().into_owned()),
            (NAMESPACE, namespace.to_owned()),
            (NAME, name.to_owned()),
        ];
        told.extend(credentials.told());
        told.extend(within.into_iter().flat_map(Within::told));
        told
    }
}

/// Runs one of the hidden commands, if the arguments after the program's name say so.
pub(crate) fn hidden(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.peekable();
    match arguments.peek()?.to_str()? {
        SERVER_COMMAND => Some(server::main(arguments)),
        WEBHOOKS_COMMAND => Some(webhook::main(arguments)),
        HOOK_COMMAND => Some(hook::main()),
        _ => None,
    }
}

/// Listens on the port that the node says: on this machine alone where pods are processes of it.
async fn listen(is_local: bool) -> anyhow::Result<TcpListener> {
    let port: u16 = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .context("PORT says no port to listen on")?;
    let v4 = if is_local {
        Ipv4Addr::LOCALHOST
    } else {
        // IPv4 as well, where there is both.
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        if let Ok(listener) = TcpListener::bind(v6).await {
            return Ok(listener);
        }
        Ipv4Addr::UNSPECIFIED
    };
    let listener = TcpListener::bind((v4, port)).await;
    listener.with_context(|| format!("cannot listen on port {port}"))
}
