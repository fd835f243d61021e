//! `fermata restart`.

use anyhow::Context as _;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use super::completion;
use crate::{
    args::Target,
    cluster::{self, Consent},
    functions, output,
    ready::Waiting,
};

/// The annotation by which `kubectl rollout restart` does the same to Deployments.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Names of functions.
    #[arg(required = true, add = ArgValueCandidates::new(completion::functions))]
    names: Vec<String>,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    consent: Consent,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<()> {
    let cluster = cluster::connect_to_write(target, options.consent).await?;
    cluster.announce();
    let now = Timestamp::now().to_string();
    for name in &options.names {
        functions::edit(&cluster, name, |function| mark(function, &now)).await?;
        output::note(&format!("function/{name} restarted"));
    }
    let all = options.names.into_iter();
    let all = all.map(|name| (cluster.namespace.clone(), name)).collect();
    options.waiting.wait(&cluster, all).await
}

/// Notes the time in the template of the function's pods, which makes a new Revision.
fn mark(function: &mut DynamicObject, now: &str) -> anyhow::Result<()> {
    let mut place = &mut function.data;
    for field in ["spec", "podTemplate", "metadata", "annotations"] {
        place = place
            .as_object_mut()
            .with_context(|| format!("there is no room for {field} in the function"))?
            .entry(field)
            .and_modify(|value| {
                if value.is_null() {
                    *value = Value::Object(Map::new());
                }
            })
            .or_insert_with(|| json!({}));
    }
    place[RESTARTED_AT] = json!(now);
    Ok(())
}
