//! The cluster a command works on.

use std::{
    io::{IsTerminal as _, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use http::Uri;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{args::Target, git, output, suggest};

/// Where `fermata up` leaves its kubeconfig, relative to where it was started.
const EMBEDDED: &str = ".fermata/kubeconfig";

/// The context in the kubeconfig of `fermata up`.
const EMBEDDED_CONTEXT: &str = "fermata";

/// A connection to the cluster, and the namespace to work in.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Whether it is that of a `fermata up` on this machine.
    pub(crate) embedded: bool,
    /// How it is reached, and with what the one who asks is known.
    pub(crate) config: Config,
    place: Place,
}

/// How a command that writes is sure that it writes to the right cluster.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Consent {
    /// Write to the current context of ~/.kube/config without asking, also if it is not on this machine.
    #[arg(short, long)]
    yes: bool,
}

/// Which cluster it is, in words.
#[derive(Clone, Debug)]
struct Place {
    context: String,
    server: Uri,
    /// Whether a flag, the environment or the folder says that it is meant.
    chosen: bool,
}

// === impl Cluster ===

impl Cluster {
    /// Says which cluster is written to.
    pub(crate) fn announce(&self) {
        output::note(&format!(
            "on {}, namespace {}",
            self.place.title(),
            self.namespace
        ));
    }
}

// === impl Place ===

impl Place {
    fn title(&self) -> String {
        let server = self.server.to_string();
        format!("{} ({})", self.context, server.trim_end_matches('/'))
    }

    fn is_on_this_machine(&self) -> bool {
        let host = self.server.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Whether somebody has to say that this cluster is meant before it is written to.
    fn is_to_be_confirmed(&self) -> bool {
        !self.chosen && !self.is_on_this_machine()
    }
}

/// Connects to the cluster that the flags, the environment or the files name, to read from it.
///
/// # Errors
///
/// When none is named, or it cannot be asked.
pub(crate) async fn connect(target: &Target) -> anyhow::Result<Cluster> {
    let (config, place) = configured(target).await?;
    open(target, config, place).await
}

/// The same, to write to it. A cluster that nobody named and that is not on this machine is too often
/// somebody's production: that is asked first.
///
/// # Errors
///
/// As [`connect`], and when the answer is no, or there is nobody to ask.
pub(crate) async fn connect_to_write(target: &Target, consent: Consent) -> anyhow::Result<Cluster> {
    let (config, place) = configured(target).await?;
    if place.is_to_be_confirmed() && !consent.yes {
        confirm(&place)?;
    }
    open(target, config, place).await
}

async fn configured(target: &Target) -> anyhow::Result<(Config, Place)> {
    const NONE: &str = "no usable kubeconfig: start `fermata up` in this directory, or name a cluster with --kubeconfig or KUBECONFIG";
    // A push is deployed with what the one who pushes has.
    if let Some(credentials) = git::Credentials::token_of_environment() {
        let config = credentials.config().await.context(NONE)?;
        let place = Place {
            context: "the cluster".to_owned(),
            server: config.cluster_url.clone(),
            chosen: true,
        };
        return Ok((config, place));
    }
    let named = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let file = target.kubeconfig.clone().or_else(|| {
        let embedded = Path::new(EMBEDDED);
        (!named && embedded.is_file()).then(|| embedded.to_owned())
    });
    let chosen = named || file.is_some() || target.context.is_some();
    let kubeconfig = match &file {
        Some(path) => Kubeconfig::read_from(path)
            .with_context(|| format!("the kubeconfig {} cannot be read", path.display()))?,
        None => Kubeconfig::read().context(NONE)?,
    };
    let context = target
        .context
        .clone()
        .or_else(|| kubeconfig.current_context.clone())
        .unwrap_or_default();
    if let Some(wanted) = &target.context {
        let known = || {
            kubeconfig
                .contexts
                .iter()
                .map(|context| context.name.as_str())
        };
        if !known().any(|name| name == wanted) {
            bail!(
                "the kubeconfig has no context {wanted}{}; it has: {}",
                suggest::hint(wanted, known()),
                known().collect::<Vec<_>>().join(", ")
            );
        }
    }
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .context(NONE)?;
    let place = Place {
        context,
        server: config.cluster_url.clone(),
        chosen,
    };
    Ok((config, place))
}

async fn open(target: &Target, config: Config, place: Place) -> anyhow::Result<Cluster> {
    let namespace = target
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config.clone()).context("the kubeconfig cannot be used")?;
    if let Err(error) = client.apiserver_version().await {
        let error = anyhow::Error::new(error);
        bail!(error.context(format!(
            "the cluster at {} cannot be asked; is it running, and is it the one of this kubeconfig?",
            place.server
        )));
    }
    Ok(Cluster {
        client,
        namespace,
        config,
        embedded: place.context == EMBEDDED_CONTEXT && place.is_on_this_machine(),
        place,
    })
}

#[allow(clippy::print_stderr, reason = "a question has no end of line")]
fn confirm(place: &Place) -> anyhow::Result<()> {
    let (stdin, title) = (std::io::stdin(), place.title());
    if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        bail!(
            "nobody said which cluster is meant, and the current context, {title}, is not on this machine; name it with --context {}, or say --yes",
            place.context
        );
    }
    eprint!(
        "Write to {}? Nobody said which cluster is meant. [y/N] ",
        output::clean(&title)
    );
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    bail!("nothing was written; --context NAME names another cluster");
}

/// The kubeconfig and what else is said in the words of a command line that is not finished.
pub(crate) fn target_of(words: &[String]) -> Target {
    let value = |flags: &[&str]| {
        words.iter().enumerate().find_map(|(index, word)| {
            let with_value = flags.iter().find_map(|flag| {
                word.strip_prefix(flag)?
                    .strip_prefix('=')
                    .map(str::to_owned)
            });
            with_value.or_else(|| {
                let next = words.get(index + 1)?;
                flags.contains(&word.as_str()).then(|| next.clone())
            })
        })
    };
    Target {
        kubeconfig: value(&["--kubeconfig"]).map(PathBuf::from),
        context: value(&["--context"]),
        namespace: value(&["--namespace", "-n"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(server: &str, chosen: bool) -> Place {
        Place {
            context: "c".into(),
            server: server.parse().unwrap(),
            chosen,
        }
    }

    #[test]
    fn only_what_nobody_chose_and_is_elsewhere_is_asked_about() {
        assert!(place("https://10.0.0.1:6443", false).is_to_be_confirmed());
        assert!(place("https://prod.example", false).is_to_be_confirmed());
        assert!(!place("https://prod.example", true).is_to_be_confirmed());
        for server in [
            "https://127.0.0.1:6440",
            "https://localhost:6443",
            "https://[::1]:6443",
            "https://kind.localhost",
        ] {
            assert!(!place(server, false).is_to_be_confirmed(), "{server}");
        }
    }

    #[test]
    fn an_unfinished_command_line_says_which_cluster_it_means() {
        let words = ["fermata", "logs", "-n", "shop", "--context=prod", "he"].map(str::to_owned);
        let target = target_of(&words);
        assert_eq!(target.namespace.as_deref(), Some("shop"));
        assert_eq!(target.context.as_deref(), Some("prod"));
        assert_eq!(target.kubeconfig, None);
    }
}
