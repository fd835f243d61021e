//! What the server has to know.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgGroup, Parser};
use fermata_daemon::log::Format;

use super::super::access::{Access, Tokens, User};

/// What the server has to know.
#[derive(Debug, Parser)]
#[command(group = ArgGroup::new("who").required(true).args(["kubeconfig", "api_server"]))]
pub(super) struct Options {
    /// Where all repositories are.
    #[arg(long)]
    pub(super) root: PathBuf,

    /// The kubeconfig of the cluster to deploy to, for the user of this machine alone.
    #[arg(long, requires = "gateway")]
    kubeconfig: Option<PathBuf>,

    /// Where the gateway takes requests of that user.
    #[arg(long)]
    gateway: Option<SocketAddr>,

    /// The API server of the cluster, for all who have a token of it.
    #[arg(long, requires = "ca")]
    api_server: Option<String>,

    /// The file with the authority that the API server shows.
    #[arg(long)]
    ca: Option<PathBuf>,

    /// Take tokens without TLS.
    #[arg(long)]
    plain_http: bool,

    /// How log lines are written.
    #[arg(long, value_enum, default_value_t)]
    pub(super) log_format: Format,

    /// The most bytes that all repositories may take, where their file system has more. Default: all that it has.
    #[arg(long)]
    pub(super) capacity: Option<u64>,
}

// === impl Options ===

impl Options {
    /// Who may push.
    pub(super) fn access(&self) -> Option<Access> {
        if let (Some(kubeconfig), Some(gateway)) = (&self.kubeconfig, self.gateway) {
            return Some(Access::User(User {
                kubeconfig: kubeconfig.clone(),
                gateway,
            }));
        }
        let (api, ca) = (self.api_server.clone()?, self.ca.clone()?);
        Some(Access::Token(Tokens::new(api, ca, self.plain_http)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(more: &[&str]) -> Option<Access> {
        let arguments = ["server", "--root", "/r"].iter().chain(more);
        Options::try_parse_from(arguments).ok()?.access()
    }

    #[test]
    fn it_is_one_user_or_all_who_have_a_token() {
        let user = ["--kubeconfig", "k", "--gateway", "127.0.0.1:8080"];
        let token = ["--api-server", "https://a", "--ca", "ca.crt"];
        assert!(!access(&user).unwrap().is_shared());
        assert!(access(&token).unwrap().is_shared());
        for wrong in [&[][..], &user[..2], &token[..2], &[user, token].concat()] {
            assert!(access(wrong).is_none(), "{wrong:?}");
        }
    }
}
