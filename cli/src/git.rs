//! `git push` to functions of `fermata up`.
//!
//! What takes pushes is a function of the platform's own, which rests at zero like any other. It lets
//! `git http-backend` work on a repository for each function, and git asks it back, by a hook, before it takes
//! what was pushed: the hook deploys it as `fermata deploy` does and refuses what does not become ready.

mod caller;
mod cgi;
mod hook;
#[cfg(feature = "embedded")]
mod install;
mod repository;
mod request;
mod server;
mod webhook;

use std::{ffi::OsString, process::ExitCode};

#[cfg(feature = "embedded")]
pub(crate) use self::install::{NAMESPACE, Offer, make_webhooks, own_paths};

/// The hidden command that the function runs.
const SERVER_COMMAND: &str = "__git-server";

/// The hidden command that git runs as a hook.
const HOOK_COMMAND: &str = "__git-hook";

/// The hidden command that takes deliveries of webhooks.
const WEBHOOKS_COMMAND: &str = "__webhooks";

/// What the hook is told by the server, in its environment.
mod told {
    /// Where all repositories are.
    pub(super) const ROOT: &str = "FERMATA_GIT_ROOT";
    /// The namespace of the function.
    pub(super) const NAMESPACE: &str = "FERMATA_GIT_NAMESPACE";
    /// The name of the function.
    pub(super) const NAME: &str = "FERMATA_GIT_NAME";
    /// The kubeconfig of the cluster.
    pub(super) const KUBECONFIG: &str = "FERMATA_GIT_KUBECONFIG";
    /// Set if another push of the function is under way.
    pub(super) const BUSY: &str = "FERMATA_GIT_BUSY";
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
