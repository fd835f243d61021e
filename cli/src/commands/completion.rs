//! `fermata completion`, and what shells ask while somebody types.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use clap_complete::{CompleteEnv, engine::CompletionCandidate, env::Shells};
use fermata_crds::{Function, Runtime};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::time;

use crate::{
    args,
    cluster::{self, Cluster},
    output,
};

/// The variable by which the scripts ask.
const VARIABLE: &str = "COMPLETE";

/// How long somebody who types may be kept waiting for names.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most names that are offered.
const MOST_NAMES: u32 = 500;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The shell. For bash: source <(fermata completion bash)
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let shell = options.shell.to_possible_value();
    let shell = shell.as_ref().map_or("", |shell| shell.get_name());
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .with_context(|| format!("there is no completion for {shell}"))?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "fermata", "fermata", "fermata", &mut script)
        .context("the script cannot be written")?;
    output::raw(&script);
    Ok(())
}

/// Answers a shell that asks, and then ends the process.
pub(crate) fn complete() {
    CompleteEnv::with_factory(args::command)
        .var(VARIABLE)
        .complete();
}

/// The names of functions in the namespace that the command line means; none if the cluster does not say
/// soon.
pub(crate) fn functions() -> Vec<CompletionCandidate> {
    candidates(async |cluster| {
        let api = Api::<Function>::namespaced(cluster.client, &cluster.namespace);
        names(&api).await
    })
}

/// The names of the topics that they hear, likewise.
pub(crate) fn topics() -> Vec<CompletionCandidate> {
    candidates(async |cluster| {
        let api = Api::<Function>::namespaced(cluster.client, &cluster.namespace);
        let listed = api.list(&ListParams::default().limit(MOST_NAMES)).await;
        let listed = listed.ok()?;
        let triggers = listed.iter().flat_map(|function| function.spec.triggers());
        let names = triggers.filter_map(|trigger| Some(trigger.topic.as_ref()?.name.clone()));
        let names: BTreeSet<String> = names.collect();
        Some(names.into_iter().collect())
    })
}

/// The names of the Runtimes of the cluster that the command line means, likewise.
pub(crate) fn runtimes() -> Vec<CompletionCandidate> {
    candidates(async |cluster| names(&Api::<Runtime>::all(cluster.client)).await)
}

async fn names<K>(api: &Api<K>) -> Option<Vec<String>>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let listed = api.list(&ListParams::default().limit(MOST_NAMES)).await;
    Some(listed.ok()?.iter().map(ResourceExt::name_any).collect())
}

fn candidates(names: impl AsyncFnOnce(Cluster) -> Option<Vec<String>>) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let target = cluster::target_of(&words);
    let listed = async {
        let cluster = cluster::connect(&target).await.ok()?;
        names(cluster).await
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return Vec::new();
    };
    let listed = runtime.block_on(async { time::timeout(PATIENCE, listed).await });
    let listed = listed.ok().flatten().unwrap_or_default();
    listed.iter().map(CompletionCandidate::new).collect()
}
