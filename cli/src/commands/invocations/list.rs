//! `fermata invocations list`.

use anyhow::Context as _;
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::{GatewayOptions, ListOptions, State, find};
use crate::{
    args::Target,
    cluster,
    gateway::owner::Gateway,
    output::{self, Format},
};

/// The most calls that are asked for at once.
const PAGE: usize = 500;

pub(super) async fn run(
    target: &Target,
    way: &GatewayOptions,
    options: &ListOptions,
    state: Option<State>,
) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    let gateway = Gateway::of(&cluster, way.gateway.as_ref()).await?;
    let functions = match &options.function {
        Some(function) => vec![function.clone()],
        None => find::functions(&cluster).await?,
    };
    let (mut calls, mut more) = (Vec::new(), false);
    for function in &functions {
        let key = (&*cluster.namespace, &**function);
        let listed = listed(&gateway, key, options.limit as usize, state).await;
        let (listed, rest) =
            listed.with_context(|| format!("the calls of {function} cannot be listed"))?;
        more |= rest;
        calls.extend(listed.into_iter().map(|mut call| {
            call["function"] = function.as_str().into();
            call
        }));
    }
    // An id begins with the time of its call.
    calls.sort_by(|one, other| text(other, "id").cmp(text(one, "id")));
    match options.output {
        Format::Json | Format::Yaml => {
            output::structured(options.output, &output::list(&calls))?;
        }
        Format::Name => calls.iter().for_each(|call| output::line(text(call, "id"))),
        Format::Table | Format::Wide if calls.is_empty() => {
            let what = state.map_or("calls", |_| "such calls");
            output::note(&match &options.function {
                Some(function) => format!("No {what} of {function}."),
                None => format!("No {what} in namespace {}.", cluster.namespace),
            });
        }
        Format::Table | Format::Wide => table(&calls, options),
    }
    if more {
        output::note("There are more: --limit NUMBER.");
    }
    Ok(())
}

/// At most so many calls of a function, and whether there are more.
async fn listed(
    gateway: &Gateway,
    function: (&str, &str),
    most: usize,
    state: Option<State>,
) -> anyhow::Result<(Vec<Value>, bool)> {
    let (mut calls, mut behind) = (Vec::new(), None::<String>);
    while calls.len() < most {
        let mut query = format!("?limit={}", (most - calls.len()).min(PAGE));
        if let Some(state) = state {
            query.push_str("&state=");
            query.push_str(state.word());
        }
        if let Some(behind) = behind.take() {
            query.push_str("&continue=");
            query.push_str(&behind);
        }
        let mut part = gateway.ask(Method::GET, function, &query).await?.json()?;
        if let Some(items) = part["items"].as_array_mut() {
            calls.append(items);
        }
        match part["continue"].as_str() {
            Some(next) => behind = Some(next.to_owned()),
            None => return Ok((calls, false)),
        }
    }
    Ok((calls, behind.is_some()))
}

fn table(calls: &[Value], options: &ListOptions) {
    let now = Timestamp::now();
    let mut header = vec!["ID", "STATE", "ATTEMPTS", "CODE", "AGE", "MESSAGE"];
    let wide = options.output == Format::Wide;
    if options.function.is_none() {
        header.insert(1, "FUNCTION");
    }
    if wide {
        let message = header.pop();
        header.extend(["NEXT ATTEMPT", "FINISHED", "BYTES"]);
        header.extend(message);
    }
    let rows: Vec<Vec<String>> = calls
        .iter()
        .map(|call| {
            let number = |name: &str| {
                call[name]
                    .as_u64()
                    .map_or_else(String::new, |n| n.to_string())
            };
            let mut row = vec![
                text(call, "id").to_owned(),
                text(call, "state").to_owned(),
                number("attempts"),
                number("code"),
                output::age(text(call, "acceptedAt").parse().ok(), now),
            ];
            if options.function.is_none() {
                row.insert(1, text(call, "function").to_owned());
            }
            if wide {
                row.extend(["nextAttemptAt", "finishedAt"].map(|name| text(call, name).to_owned()));
                row.push(number("bytes"));
            }
            row.push(text(call, "message").to_owned());
            row
        })
        .collect();
    output::table(&header, &rows);
}

fn text<'a>(call: &'a Value, name: &str) -> &'a str {
    call[name].as_str().unwrap_or_default()
}
