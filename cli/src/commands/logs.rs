//! `fermata logs`.

use std::{collections::HashSet, time::Duration};

use anyhow::Context as _;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::{GoDuration, names};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams},
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::task::JoinSet;

use super::completion;
use crate::{args::Target, cluster, errors, functions, output};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name of the function.
    #[arg(add = ArgValueCandidates::new(completion::functions))]
    name: String,

    /// Go on printing, also from instances that start later.
    #[arg(short, long)]
    follow: bool,

    /// Only the last lines of each instance.
    #[arg(long, value_name = "LINES")]
    tail: Option<i64>,

    /// Only lines of this last while, such as 30s, 5m or 1h30m; a number alone is in seconds.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    since: Option<i64>,

    /// The run before the last restart.
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,

    /// Each line with its time.
    #[arg(long)]
    timestamps: bool,

    /// Only this Revision.
    #[arg(long, value_name = "NAME")]
    revision: Option<String>,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    functions::find(&cluster, &options.name).await?;
    let pods = Api::<Pod>::namespaced(cluster.client, &cluster.namespace);
    // The pods that build its image have logs of their own.
    let mut selector = format!(
        "{}={},!{}",
        names::FUNCTION_LABEL,
        options.name,
        names::IMAGE_BUILD_LABEL
    );
    if let Some(revision) = &options.revision {
        selector = format!("{selector},{}={revision}", names::REVISION_LABEL);
    }
    if options.follow {
        follow(&pods, &selector, &options).await
    } else {
        once(&pods, &selector, &options).await
    }
}

/// Whole seconds of a duration, at least one.
fn seconds(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(seconds.into());
    }
    let duration: Duration = text
        .parse::<GoDuration>()
        .map_err(|error| error.to_string())?
        .into();
    Ok(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).max(1))
}

async fn once(pods: &Api<Pod>, selector: &str, options: &Options) -> anyhow::Result<()> {
    let listed = pods.list(&ListParams::default().labels(selector)).await?;
    if listed.items.is_empty() {
        output::note(&format!(
            "{} rests at zero: there are no instances, and so no logs. -f waits for the next one.",
            options.name
        ));
    }
    let shown: Vec<&Pod> = listed
        .iter()
        .filter(|pod| !options.previous || has_run_before(pod))
        .collect();
    if shown.is_empty() && !listed.items.is_empty() {
        output::note(&format!(
            "no instance of {} has been restarted, so that there is no run before",
            options.name
        ));
    }
    let prefix = shown.len() > 1;
    for pod in shown {
        let name = pod.name_any();
        if !options.previous
            && let Some(exit_code) = crashed_before(pod)
        {
            output::note(&format!(
                "{name}: the run before this one ended with exit code {exit_code}:"
            ));
            let before = Options {
                name: options.name.clone(),
                revision: None,
                previous: true,
                ..*options
            };
            print(pods, &name, &before, prefix).await?;
            output::note(&format!("{name}: this run:"));
        }
        print(pods, &name, options, prefix).await?;
    }
    Ok(())
}

/// Whether the function has ended in this instance.
fn has_run_before(pod: &Pod) -> bool {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let mut own = statuses.filter(|status| status.name == names::CONTAINER);
    own.any(|status| {
        let before = status.last_state.as_ref();
        status.restart_count > 0 || before.is_some_and(|before| before.terminated.is_some())
    })
}

/// The exit code of the run before, where that is what matters: the one that runs now has just begun, and
/// may have said nothing yet.
fn crashed_before(pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses
        .iter()
        .find(|status| status.name == names::CONTAINER && !status.ready)?;
    status.state.as_ref()?.running.as_ref()?;
    let before = status.last_state.as_ref()?.terminated.as_ref()?;
    Some(before.exit_code)
}

async fn follow(pods: &Api<Pod>, selector: &str, options: &Options) -> anyhow::Result<()> {
    let changes = watcher(pods.clone(), watcher::Config::default().labels(selector))
        .default_backoff()
        .applied_objects();
    let mut changes = std::pin::pin!(changes);
    let mut known = HashSet::new();
    let mut tasks = JoinSet::new();
    while let Some(pod) = changes.try_next().await? {
        if !has_started(&pod) || !known.insert(pod.uid().unwrap_or_default()) {
            continue;
        }
        let (pods, name) = (pods.clone(), pod.name_any());
        let options = Options {
            name: options.name.clone(),
            revision: None,
            ..*options
        };
        tasks.spawn(async move {
            if let Err(error) = print(&pods, &name, &options, true).await {
                output::note(&format!("{name}: {}", errors::line(&error)));
            }
        });
        while tasks.try_join_next().is_some() {}
    }
    Ok(())
}

fn has_started(pod: &Pod) -> bool {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    statuses
        .filter_map(|status| status.state.as_ref())
        .any(|state| state.running.is_some() || state.terminated.is_some())
}

async fn print(pods: &Api<Pod>, name: &str, options: &Options, prefix: bool) -> anyhow::Result<()> {
    let params = LogParams {
        container: Some(names::CONTAINER.to_owned()),
        follow: options.follow,
        tail_lines: options.tail,
        since_seconds: options.since,
        previous: options.previous,
        timestamps: options.timestamps,
        ..LogParams::default()
    };
    loop {
        let mut lines = match pods.log_stream(name, &params).await {
            Ok(stream) => stream.lines(),
            // The instance has begun to exist but not to run.
            Err(kube::Error::Api(status)) if status.code == 400 && options.follow => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            Err(kube::Error::Api(status)) if status.code == 400 => {
                output::note(&format!("{name}: {}", status.message));
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => {
                return Err(error).with_context(|| format!("the log of {name} cannot be read"));
            }
        };
        while let Some(line) = lines.try_next().await? {
            if prefix {
                output::line(&format!("[{name}] {line}"));
            } else {
                output::line(&line);
            }
        }
        return Ok(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_while_is_a_duration_or_seconds() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("10ms"), Ok(1));
        assert!(seconds("5 minutes").is_err() && seconds("-1").is_err());
    }
}
