//! `fermata delete`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::Function;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use tokio::time;

use super::completion;
use crate::{
    args::Target,
    cluster::{self, Consent},
    functions, manifest, output,
};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Names of functions.
    #[arg(required_unless_present_any = ["files", "all"], add = ArgValueCandidates::new(completion::functions))]
    names: Vec<String>,

    /// Manifest files or directories: the functions in them.
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE|DIR",
        conflicts_with = "names"
    )]
    files: Vec<PathBuf>,

    /// All functions of the namespace.
    #[arg(long, conflicts_with_all = ["names", "files"])]
    all: bool,

    /// Do not complain about functions that are not there.
    #[arg(long)]
    ignore_not_found: bool,

    /// Do not wait until the functions and all that belongs to them are gone.
    #[arg(long)]
    no_wait: bool,

    /// Print the names alone of what was deleted, for programs.
    #[arg(short, long, value_enum)]
    output: Option<Names>,

    #[command(flatten)]
    consent: Consent,
}

/// How what was deleted is printed for programs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Names {
    /// Kind and name, one a line.
    Name,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<()> {
    let cluster = cluster::connect_to_write(target, options.consent).await?;
    let mut functions: Vec<(String, String)> = options
        .names
        .iter()
        .map(|name| (cluster.namespace.clone(), name.clone()))
        .collect();
    if options.all {
        let all = Api::<Function>::namespaced(cluster.client.clone(), &cluster.namespace)
            .list(&ListParams::default())
            .await
            .context("the functions cannot be listed")?;
        functions.extend(
            all.iter()
                .map(|function| (cluster.namespace.clone(), function.name_any())),
        );
    }
    if !options.files.is_empty() {
        for manifest in manifest::read_without_code(&options.files)? {
            if manifest.is_function() {
                let namespace = manifest
                    .object
                    .namespace()
                    .unwrap_or_else(|| cluster.namespace.clone());
                functions.push((namespace, manifest.object.name_any()));
            }
        }
    }
    let policy = if options.no_wait {
        DeleteParams::background()
    } else {
        DeleteParams::foreground()
    };
    let (mut missing, mut announced) = (Vec::new(), false);
    for (namespace, name) in &functions {
        let api = Api::<Function>::namespaced(cluster.client.clone(), namespace);
        match api.delete(name, &policy).await {
            Ok(deleted) => {
                if !std::mem::replace(&mut announced, true) {
                    cluster.announce();
                }
                let uid = deleted.left().and_then(|function| function.uid());
                if let Some(uid) = uid.filter(|_| !options.no_wait) {
                    let gone = await_condition(api, name, is_deleted(&uid));
                    time::timeout(Duration::from_secs(600), gone)
                        .await
                        .with_context(|| format!("{name} is not gone after ten minutes; its requests may still be running"))??;
                }
                match options.output {
                    Some(Names::Name) => output::line(&output::reference(name)),
                    None => output::line(&format!("function/{name} deleted")),
                }
            }
            Err(kube::Error::Api(status)) if status.code == 404 => missing.push(name.clone()),
            Err(error) => {
                return Err(error).with_context(|| format!("function/{name} was not deleted"));
            }
        }
    }
    if !missing.is_empty() && !options.ignore_not_found {
        let hint = match missing.as_slice() {
            [one] => functions::hint(&cluster, one).await,
            _ => String::new(),
        };
        bail!("no such function: {}{hint}", missing.join(", "));
    }
    Ok(())
}
