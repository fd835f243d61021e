//! `fermata publish`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::{Function, Visibility};
use http::{HeaderValue, Request};
use kube::{Api, api::ListParams};

use super::completion;
use crate::{
    args::Target,
    cluster,
    gateway::call::{self, CallOptions},
    suggest,
};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name of the topic.
    #[arg(add = ArgValueCandidates::new(completion::topics))]
    topic: String,

    /// What the message is about, such as shop.order.created (ce-type).
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,

    #[command(flatten)]
    call: CallOptions,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<ExitCode> {
    let published = Box::pin(publish(target, &options));
    options.call.within_timeout(published).await
}

async fn publish(target: &Target, options: &Options) -> anyhow::Result<ExitCode> {
    let cluster = cluster::connect(target).await?;
    let api: Api<Function> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let functions = api.list(&ListParams::default()).await;
    let functions =
        functions.context("the functions, which say what topics there are, cannot be listed")?;
    let topic = &options.topic;
    let hearers = functions.items.iter().filter(|function| {
        let mut heard = heard(function);
        heard.any(|name| name == topic)
    });
    // Where one is called from inside alone, so is the topic.
    let is_open = |function: &&Function| function.spec.expose().visibility() == Visibility::Public;
    let Some(hearer) = hearers.min_by_key(is_open) else {
        let known = functions.items.iter().flat_map(heard);
        let near = suggest::hint(topic, known);
        bail!(
            "no function hears a topic {topic} in namespace {}{near}",
            cluster.namespace
        );
    };
    let (stream, _) = options.call.connect(&cluster, hearer).await?;
    let request = Request::post(format!("/topics/{topic}.{}", cluster.namespace)).body(());
    let mut request = request.context("the topic's name is not valid")?;
    if let Some(kind) = &options.kind {
        let kind = HeaderValue::from_str(kind).context("--type is not valid")?;
        request.headers_mut().insert("ce-type", kind);
    }
    let body = options.call.body()?.unwrap_or_default();
    let text = std::str::from_utf8(&body);
    let kind = match text {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            "application/json"
        }
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    };
    let headers = request.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let request = options
        .call
        .request(request, options.call.host(), Some(body))?;
    call::exchange(stream, request, options.call.include).await
}

/// The topics that a function hears.
fn heard(function: &Function) -> impl Iterator<Item = &str> {
    let triggers = function.spec.triggers().iter();
    triggers.filter_map(|trigger| Some(trigger.topic.as_ref()?.name.as_str()))
}
