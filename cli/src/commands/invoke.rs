//! `fermata invoke`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use http::{Method, Request};

use super::completion;
use crate::{
    args::Target,
    cluster, functions,
    gateway::call::{self, CallOptions, Way},
};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name of the function.
    #[arg(add = ArgValueCandidates::new(completion::functions))]
    name: String,

    /// The request's method. Default: POST with a body, else GET.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<Method>,

    /// Path and query.
    #[arg(short, long, default_value = "/", value_name = "PATH")]
    path: String,

    #[command(flatten)]
    call: CallOptions,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<ExitCode> {
    let call = Box::pin(call(target, &options));
    options.call.within_timeout(call).await
}

async fn call(target: &Target, options: &Options) -> anyhow::Result<ExitCode> {
    let cluster = cluster::connect(target).await?;
    let name = &options.name;
    let function = functions::find(&cluster, name).await?;
    let status = function.status.as_ref();
    let own_host = status.and_then(|status| status.host.clone());
    // The in-cluster name leads to functions of either visibility, where it is known.
    let internal_host = format!("{name}.{}.svc.cluster.local", cluster.namespace);
    let (stream, way) = options.call.connect(&cluster, &function).await?;
    let host = match (way, own_host) {
        (Way::ByAddress, Some(own)) => own,
        (Way::ByAddress | Way::Inside, _) => internal_host,
    };
    let body = options.call.body()?;
    let default = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let path = if options.path.starts_with('/') {
        options.path.clone()
    } else {
        format!("/{}", options.path)
    };
    let request = Request::builder()
        .method(options.method.clone().unwrap_or(default))
        .uri(path)
        .body(())
        .context("the path is not valid")?;
    let request = options.call.request(request, &host, body)?;
    call::exchange(stream, request, options.call.include).await
}
