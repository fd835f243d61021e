//! `fermata describe`.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::{Function, Revision, TopicTrigger, Trigger, TriggerStatus, conditions, names};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{Api, ResourceExt as _, api::ListParams};

use super::completion;
use crate::{
    args::Target,
    building,
    cluster::{self, Cluster},
    functions,
    output::{self, Format},
    urls::Urls,
};

/// Events older than the newest ones of this number are left out.
const MOST_EVENTS: usize = 20;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name of the function.
    #[arg(add = ArgValueCandidates::new(completion::functions))]
    name: String,

    /// Print the objects themselves, as one list.
    #[arg(short, long, value_enum)]
    output: Option<Structured>,
}

/// How objects are printed for programs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Structured {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

pub(crate) async fn run(target: &Target, options: &Options) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    let Cluster {
        client, namespace, ..
    } = &cluster;
    let name = &options.name;
    let function = functions::find(&cluster, name).await?;
    let of_function = ListParams::default().labels(&format!(
        "{}={name},!{}",
        names::FUNCTION_LABEL,
        names::IMAGE_BUILD_LABEL
    ));
    let revisions = Api::<Revision>::namespaced(client.clone(), namespace)
        .list(&of_function)
        .await
        .context("the revisions cannot be listed")?;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&of_function)
        .await
        .context("the pods cannot be listed")?;
    let events = Api::<Event>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await
        .context("the events cannot be listed")?;
    let mut related: Vec<Event> = events
        .items
        .into_iter()
        .filter(|event| concerns(event, name, &pods.items))
        .collect();
    related.sort_by_key(last_seen);
    let related = &related[related.len().saturating_sub(MOST_EVENTS)..];
    if let Some(structured) = options.output {
        let mut objects = vec![serde_json::to_value(&function)?];
        for revision in &revisions.items {
            objects.push(serde_json::to_value(revision)?);
        }
        for pod in &pods.items {
            objects.push(serde_json::to_value(pod)?);
        }
        for event in related {
            objects.push(serde_json::to_value(event)?);
        }
        let format = match structured {
            Structured::Json => Format::Json,
            Structured::Yaml => Format::Yaml,
        };
        return output::structured(format, &output::list(&objects));
    }

    about(&function, &Urls::of(&function, cluster.embedded));
    let status = function.status.clone().unwrap_or_default();
    print_conditions(&status.conditions);
    let traffic = |revision: &str| {
        status
            .traffic
            .iter()
            .find(|target| target.revision == revision)
            .map_or(0, |target| target.percent)
    };
    print_revisions(&revisions.items, traffic);
    print_pods(&pods.items);
    print_events(related);
    Ok(())
}

fn about(function: &Function, urls: &Urls) {
    let status = function.status.clone().unwrap_or_default();
    let template = &function.spec.template;
    let scale = function.spec.scale();
    let code = match (&template.image, &template.source) {
        (Some(image), _) => image.clone(),
        (None, Some(source)) => format!(
            "{} {}",
            source.runtime,
            source.handler.as_deref().unwrap_or("(default handler)")
        ),
        (None, None) => String::new(),
    };
    let metric = format!("{:?}", scale.metric()).to_lowercase();
    let field = |name: &str, value: &str| {
        output::line(format!("{name:<18}{}", output::clean_line(value)).trim_end());
    };
    field("Name:", &function.name_any());
    field("Namespace:", &function.namespace().unwrap_or_default());
    field("URL:", &urls.host);
    if let Some(path) = &urls.path {
        field("", path);
    }
    field("Runs:", &code);
    if let Some(source) = source(function) {
        field("Source:", &source);
    }
    if let Some(built) = building::condition(function) {
        field("Build:", &build(built, &function.name_any()));
    }
    field(
        "Revision:",
        &format!(
            "{} (newest: {})",
            status.latest_ready_revision.as_deref().unwrap_or("none"),
            status.latest_created_revision.as_deref().unwrap_or("none")
        ),
    );
    field(
        "Replicas:",
        &format!(
            "{} ({} ready)",
            status.replicas.unwrap_or(0),
            status.ready_replicas.unwrap_or(0)
        ),
    );
    field(
        "Scale:",
        &format!(
            "{} to {}, {metric} target {} at {:.0} %",
            scale.min(),
            scale.max(),
            scale.target(template.concurrency()),
            scale.utilization() * 100.0
        ),
    );
    if let Some(backlog) = status.backlog {
        field(
            "Backlog:",
            &format!("{backlog} asynchronous calls and messages"),
        );
    }
    for trigger in function.spec.triggers() {
        let told = status.triggers.iter().find(|one| one.name == trigger.name);
        field("Trigger:", &self::trigger(trigger, told));
    }
    if let Some(start) = status.last_cold_start {
        field(
            "Last cold start:",
            &format!(
                "{} ({}, {} ago)",
                start.duration,
                start.revision,
                output::age(Some(start.time.0), Timestamp::now())
            ),
        );
    }
    field(
        "Created:",
        &format!(
            "{} ago",
            output::age(
                function.creation_timestamp().map(|time| time.0),
                Timestamp::now()
            )
        ),
    );
}

/// Where the source is, if it is in a git repository, and which commit of it.
fn source(function: &Function) -> Option<String> {
    let git = function.spec.template.source.as_ref()?.git.as_ref()?;
    let status = function.status.clone().unwrap_or_default();
    let path = git.path.as_ref().map(|path| format!("/{path}"));
    let place = format!(
        "{}{} {}",
        git.url,
        path.unwrap_or_default(),
        git.reference()
    );
    let known = status.source.unwrap_or_default();
    let mut line = match (&known.commit, &known.since) {
        (Some(commit), Some(since)) => {
            let since = output::age(Some(since.0), Timestamp::now());
            format!("{place} at {commit} for {since}")
        }
        _ => place,
    };
    let told = conditions::find(&status.conditions, conditions::SOURCE_RESOLVED);
    if let Some(told) = told.filter(|told| told.status != "True") {
        line = format!("{line} ({}: {})", told.reason, told.message);
    }
    Some(line)
}

/// When a trigger calls, and how its newest run stands.
fn trigger(trigger: &Trigger, told: Option<&TriggerStatus>) -> String {
    if let Some(topic) = &trigger.topic {
        let waits = told.map(waits).unwrap_or_default();
        return format!(
            "{} hears the topic {}{}{waits}",
            trigger.name,
            topic.name,
            filter(topic)
        );
    }
    let Some(schedule) = &trigger.schedule else {
        return trigger.name.clone();
    };
    let mut line = format!("{} at {}", trigger.name, schedule.text());
    if schedule.is_suspended() {
        line += ", suspended";
    }
    let Some(run) = told.and_then(|told| told.runs.first()) else {
        return line;
    };
    line += &format!(", {} {}", run.time.0, run.result.as_str());
    if let Some(code) = run.code {
        line += &format!(" ({code})");
    }
    match &run.message {
        Some(message) => format!("{line}: {message}"),
        None => line,
    }
}

/// What waits for a trigger, and why.
fn waits(told: &TriggerStatus) -> String {
    let backlog = match told.backlog.unwrap_or(0) {
        0 => String::new(),
        1 => ", 1 message waits".to_owned(),
        many => format!(", {many} messages wait"),
    };
    let oldest = told.oldest.as_ref().map_or_else(String::new, |oldest| {
        format!(" since {}", output::age(Some(oldest.0), Timestamp::now()))
    });
    let error = told.last_error.as_ref().map_or_else(String::new, |error| {
        format!("; the last attempt has failed: {error}")
    });
    backlog + &oldest + &error
}

/// What of a topic is heard, if it is not everything.
fn filter(topic: &TopicTrigger) -> String {
    let filter = topic.filter.iter().flatten();
    let filter: Vec<_> = filter
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if filter.is_empty() {
        String::new()
    } else {
        format!(" where {}", filter.join(", "))
    }
}

/// How far the newest build is.
fn build(built: &Condition, name: &str) -> String {
    let since = output::age(Some(built.last_transition_time.0), Timestamp::now());
    match (built.status.as_str(), built.message.as_str()) {
        ("True", message) => match message.strip_prefix("built into ") {
            Some(image) => format!("done {since} ago: {image}"),
            None => format!("done {since} ago"),
        },
        ("False", message) => {
            let message = message.trim_start_matches("the function cannot be built: ");
            format!("failed: {message} (`fermata build logs {name}` shows all of it)")
        }
        (_, "") => format!("{} for {since}", built.reason),
        (_, message) => format!("{} for {since}: {message}", built.reason),
    }
}

fn print_conditions(conditions: &[Condition]) {
    output::line("\nConditions:");
    let mut told: Vec<&str> = Vec::new();
    let rows: Vec<Vec<String>> = conditions
        .iter()
        .map(|condition| {
            let message = once(&mut told, &condition.message);
            let since = output::age(Some(condition.last_transition_time.0), Timestamp::now());
            vec![
                format!("  {}", condition.type_),
                condition.status.clone(),
                since,
                condition.reason.clone(),
                message.to_owned(),
            ]
        })
        .collect();
    output::table(&["  TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], &rows);
}

/// The message, unless it is a part of one that was told before.
fn once<'a>(told: &mut Vec<&'a str>, message: &'a str) -> &'a str {
    if !message.is_empty() && told.iter().any(|earlier| earlier.ends_with(message)) {
        return "(as above)";
    }
    told.push(message);
    message
}

fn print_revisions(revisions: &[Revision], traffic: impl Fn(&str) -> u32) {
    output::line("\nRevisions:");
    let rows: Vec<Vec<String>> = revisions
        .iter()
        .map(|revision| {
            let status = revision.status.clone().unwrap_or_default();
            let ready = fermata_crds::conditions::find(&status.conditions, "Ready");
            vec![
                format!("  {}", revision.name_any()),
                format!("{} %", traffic(&revision.name_any())),
                ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone()),
                status.replicas.unwrap_or(0).to_string(),
                output::age(
                    revision.creation_timestamp().map(|time| time.0),
                    Timestamp::now(),
                ),
            ]
        })
        .collect();
    output::table(&["  NAME", "TRAFFIC", "READY", "REPLICAS", "AGE"], &rows);
}

fn print_pods(pods: &[Pod]) {
    if pods.is_empty() {
        output::line("\nPods:  none; the function rests at zero");
        return;
    }
    output::line("\nPods:");
    let rows: Vec<Vec<String>> =
        pods.iter()
            .map(|pod| {
                let status = pod.status.clone().unwrap_or_default();
                let containers = status.container_statuses.unwrap_or_default();
                let before = status.init_container_statuses.unwrap_or_default();
                let waiting = before.iter().chain(&containers).find_map(|container| {
                    container.state.as_ref()?.waiting.as_ref()?.reason.clone()
                });
                // While it is built, that is what starts again.
                let restarts = before.iter().chain(&containers);
                let restarts: i32 = restarts.map(|container| container.restart_count).sum();
                let ending = pod
                    .metadata
                    .deletion_timestamp
                    .is_some()
                    .then(|| "Terminating".to_owned());
                vec![
                    format!("  {}", pod.name_any()),
                    ending.or(waiting).or(status.phase).unwrap_or_default(),
                    restarts.to_string(),
                    output::age(
                        pod.creation_timestamp().map(|time| time.0),
                        Timestamp::now(),
                    ),
                ]
            })
            .collect();
    output::table(&["  NAME", "STATUS", "RESTARTS", "AGE"], &rows);
}

fn print_events(events: &[Event]) {
    output::line("\nEvents:");
    if events.is_empty() {
        output::line("  none");
        return;
    }
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|event| {
            vec![
                format!("  {}", output::age(last_seen(event), Timestamp::now())),
                event.type_.clone().unwrap_or_default(),
                event.reason.clone().unwrap_or_default(),
                event.involved_object.name.clone().unwrap_or_default(),
                event.message.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["  AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"], &rows);
}

fn concerns(event: &Event, function: &str, pods: &[Pod]) -> bool {
    let object = &event.involved_object;
    let name = object.name.as_deref().unwrap_or_default();
    match object.kind.as_deref() {
        Some("Function") => name == function,
        Some("Revision" | "Deployment" | "ReplicaSet") => {
            name.rsplit_once('-')
                .is_some_and(|_| name.starts_with(&format!("{function}-")))
                && names::revision_number(
                    function,
                    &name.chars().take(function.len() + 6).collect::<String>(),
                )
                .is_some()
        }
        Some("Pod") => pods.iter().any(|pod| pod.name_any() == name),
        _ => false,
    }
}

/// When an Event happened last.
pub(crate) fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref())
        .map(|time| time.0);
    let times = [
        series,
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().max().or_else(|| {
        event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0)
    })
}
