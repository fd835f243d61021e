//! `fermata build`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::{Function, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::DynamicObject, runtime::wait::await_condition};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::completion;
use crate::{
    args::Target,
    building,
    cluster::{self, Cluster, Consent},
    functions, output,
    ready::Waiting,
};

/// How long it may take until a function that is to be built anew has a new Revision.
const REVISION: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  fermata build logs hello        what the newest build has printed
  fermata build --fresh hello     build again, with what the registries have now"
)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Command>,

    /// Names of functions.
    #[arg(required = true, add = ArgValueCandidates::new(completion::functions))]
    names: Vec<String>,

    /// Build anew although nothing has changed, in a new Revision.
    #[arg(long, required = true)]
    fresh: bool,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what the newest build of a function has printed.
    Logs(Logs),
}

#[derive(Args, Debug)]
struct Logs {
    /// Name of the function.
    #[arg(add = ArgValueCandidates::new(completion::functions))]
    name: String,

    /// Go on printing, also from builds that start later.
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<()> {
    match &options.command {
        Some(Command::Logs(options)) => logs(target, options).await,
        None => fresh(target, options).await,
    }
}

async fn logs(target: &Target, options: &Logs) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    let name = &options.name;
    built(&cluster, name).await?;
    let pods = Api::<Pod>::namespaced(cluster.client, &cluster.namespace);
    let selector = format!("{}={name}", names::FUNCTION_LABEL);
    if options.follow {
        building::follow(pods, selector, CancellationToken::new(), output::line).await;
        return Ok(());
    }
    let build = building::newest(&pods, &selector).await?;
    let mut lines = 0_usize;
    let mut show = |line: &str| {
        lines += 1;
        output::line(line);
    };
    if let Some(build) = &build {
        if let Some(before) = build.before() {
            output::note("the build before this one has failed:");
            building::print(&pods, &before, false, &mut show).await?;
            output::note("this build:");
        }
        building::print(&pods, build, false, &mut show).await?;
    }
    // One that failed may have begun again since its pod was looked at, and has printed nothing yet.
    if let Some(build) = &build
        && lines == 0
    {
        building::print(&pods, &build.failed(), false, |line| {
            lines += 1;
            output::line(line);
        })
        .await?;
    }
    // An instance that took over an earlier build has an empty log.
    if lines == 0 {
        output::note(&format!(
            "no instance of {name} has the log of a build: it rests at zero, begins just now, or took over what was built before. -f waits for the next one."
        ));
    }
    Ok(())
}

async fn fresh(target: &Target, options: Options) -> anyhow::Result<()> {
    let cluster = cluster::connect_to_write(target, options.consent).await?;
    for name in &options.names {
        built(&cluster, name).await?;
    }
    cluster.announce();
    let now = Timestamp::now().to_string();
    for name in &options.names {
        let before = functions::find(&cluster, name).await?;
        functions::edit(&cluster, name, |function| mark(function, &now)).await?;
        output::note(&format!("function/{name} is built anew"));
        // Nothing of the spec has changed, so that the status seems to be about it until then.
        let api = Api::<Function>::namespaced(cluster.client.clone(), &cluster.namespace);
        let old = newest_revision(&before);
        let made = await_condition(api, name, move |function: Option<&Function>| {
            function.is_some_and(|function| newest_revision(function) != old)
        });
        time::timeout(REVISION, made)
            .await
            .with_context(|| {
                format!(
                    "{name} has no new Revision after {} s; does the operator run?",
                    REVISION.as_secs()
                )
            })?
            .with_context(|| format!("{name} cannot be watched"))?;
    }
    let all = options.names.into_iter();
    let all = all.map(|name| (cluster.namespace.clone(), name)).collect();
    options.waiting.wait(&cluster, all).await
}

/// The function of this name, if it is one that is built.
async fn built(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let function = functions::find(cluster, name).await?;
    if building::condition(&function).is_some() {
        return Ok(());
    }
    bail!(
        "nothing is built for {name}: it has an image, or its files ask for no dependencies; `fermata restart {name}` starts it anew"
    )
}

fn newest_revision(function: &Function) -> Option<String> {
    function.status.as_ref()?.latest_created_revision.clone()
}

fn mark(function: &mut DynamicObject, now: &str) -> anyhow::Result<()> {
    let annotations = function.metadata.annotations.get_or_insert_default();
    annotations.insert(names::BUILD_ANNOTATION.to_owned(), now.to_owned());
    Ok(())
}
