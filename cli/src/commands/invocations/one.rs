//! `fermata invocations show`, `result` and `cancel`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::Value;

use super::{CancelOptions, GatewayOptions, OneOptions, ShowOptions, find};
use crate::{
    args::Target,
    cluster::{self, Cluster},
    gateway::owner::{Answer, Gateway},
    output::{self, Format},
};

pub(super) async fn show(
    target: &Target,
    way: &GatewayOptions,
    options: &ShowOptions,
) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    let (function, answer) = ask(&cluster, way, &options.one, Method::GET, "").await?;
    let mut call = answer.json()?;
    call["function"] = function.into();
    match options.output {
        Format::Json | Format::Yaml => output::structured(options.output, &call)?,
        Format::Name => output::line(call["id"].as_str().unwrap_or_default()),
        Format::Table | Format::Wide => describe(&call),
    }
    Ok(())
}

pub(super) async fn result(
    target: &Target,
    way: &GatewayOptions,
    options: &OneOptions,
) -> anyhow::Result<ExitCode> {
    let cluster = cluster::connect(target).await?;
    let (_, answer) = ask(&cluster, way, options, Method::GET, "/result").await?;
    if answer.is_refusal() {
        bail!(answer.refusal());
    }
    output::raw(&answer.body);
    if answer.status.is_client_error() || answer.status.is_server_error() {
        output::note(&format!(
            "error: the function has answered {}",
            answer.status
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn cancel(
    target: &Target,
    way: &GatewayOptions,
    options: &CancelOptions,
) -> anyhow::Result<()> {
    let cluster = cluster::connect_to_write(target, options.consent).await?;
    cluster.announce();
    let (_, answer) = ask(&cluster, way, &options.one, Method::POST, "/cancel").await?;
    let call = answer.json()?;
    let id = &options.one.id;
    output::line(&match call["state"].as_str() {
        Some("Cancelled") => format!("invocation/{id} cancelled"),
        _ => format!("invocation/{id} is being made, and told to end"),
    });
    Ok(())
}

/// Asks about one call; returns whose it is too.
async fn ask(
    cluster: &Cluster,
    way: &GatewayOptions,
    one: &OneOptions,
    method: Method,
    what: &str,
) -> anyhow::Result<(String, Answer)> {
    let gateway = Gateway::of(cluster, way.gateway.as_ref()).await?;
    let named = one.function.as_deref();
    let function = find::function_of(cluster, &gateway, &one.id, named).await?;
    let (id, key) = (&one.id, (&*cluster.namespace, &*function));
    let asked = gateway.ask(method, key, &format!("/{id}{what}")).await;
    let answer = asked.with_context(|| format!("the call {id} of {function}"))?;
    Ok((function, answer))
}

/// What is known, a line each.
fn describe(call: &Value) {
    let line = |title: &str, value: &Value| {
        let text = match value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            Value::Array(all) => {
                let texts = all.iter().filter_map(Value::as_str);
                texts.collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        output::line(&format!("{title:<15}{}", output::clean_line(&text)));
    };
    let request = &call["request"];
    // How it stands with those who are told, and why.
    let told = |told: &Value, whom: &str| {
        let words = ["state", whom, "message"].map(|name| told[name].as_str());
        match words {
            [Some(state), Some(whom), Some(why)] => format!("{state} ({whom}: {why})").into(),
            [Some(state), Some(whom), None] => format!("{state} ({whom})").into(),
            _ => Value::Null,
        }
    };
    for (title, value) in [
        ("Id:", &call["id"]),
        ("Function:", &call["function"]),
        ("State:", &call["state"]),
        ("Attempts:", &call["attempts"]),
        ("Accepted:", &call["acceptedAt"]),
        ("Next attempt:", &call["nextAttemptAt"]),
        ("Finished:", &call["finishedAt"]),
        ("Code:", &call["code"]),
        ("Message:", &call["message"]),
        ("Dead letter:", &told(&call["deadLetter"], "topic")),
        ("Callback:", &told(&call["callback"], "host")),
        ("Method:", &request["method"]),
        ("Target:", &request["target"]),
        ("Headers:", &request["headers"]),
        ("Body bytes:", &request["bodyBytes"]),
    ] {
        line(title, value);
    }
}
