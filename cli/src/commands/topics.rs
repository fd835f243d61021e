//! `fermata topics`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Args;
use fermata_crds::{Delivery, Function};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde::Serialize;

use crate::{
    args::Target,
    cluster,
    output::{self, Format},
};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Topics of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A topic, with the functions that name it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Topic {
    namespace: String,
    name: String,
    /// Those that hear it.
    heard_by: Vec<Hearer>,
    /// Those whose answers are published to it.
    answered_by: Vec<String>,
    /// Those whose calls are published to it that have failed.
    dead_letters_of: Vec<String>,
}

/// A trigger that hears a topic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hearer {
    function: String,
    trigger: String,
    path: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    filter: BTreeMap<String, String>,
}

pub(crate) async fn run(target: &Target, options: &Options) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    let api: Api<Function> = if options.all_namespaces {
        Api::all(cluster.client.clone())
    } else {
        Api::namespaced(cluster.client.clone(), &cluster.namespace)
    };
    let functions = api.list(&ListParams::default()).await;
    let functions =
        functions.context("the functions, which say what topics there are, cannot be listed")?;
    let topics = topics(&functions.items);
    match options.output {
        Format::Json | Format::Yaml => output::structured(options.output, &topics)?,
        Format::Name => topics.iter().for_each(|topic| output::line(&topic.name)),
        Format::Table | Format::Wide if topics.is_empty() => {
            output::note(&match options.all_namespaces {
                true => "No function hears a topic.".to_owned(),
                false => format!(
                    "No function hears a topic in namespace {}.",
                    cluster.namespace
                ),
            });
        }
        Format::Table | Format::Wide => {
            let mut header = vec![
                "TOPIC",
                "HEARD BY",
                "TRIGGER",
                "FILTER",
                "ANSWERS OF",
                "DEAD LETTERS OF",
            ];
            if options.all_namespaces {
                header.insert(0, "NAMESPACE");
            }
            let rows = topics.iter().flat_map(rows).map(|mut row| {
                if !options.all_namespaces {
                    row.remove(0);
                }
                row
            });
            output::table(&header, &rows.collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// All topics that the functions name, by namespace and name.
fn topics(functions: &[Function]) -> Vec<Topic> {
    let mut topics: BTreeMap<(String, String), Topic> = BTreeMap::new();
    for function in functions {
        for trigger in function.spec.triggers() {
            if let Some(topic) = &trigger.topic {
                known(&mut topics, function, &topic.name)
                    .heard_by
                    .push(Hearer {
                        function: function.name_any(),
                        trigger: trigger.name.clone(),
                        path: trigger.path().to_owned(),
                        filter: topic.filter.clone().unwrap_or_default(),
                    });
            }
        }
        if let Some(output) = &function.spec.output {
            let topic = known(&mut topics, function, &output.topic);
            topic.answered_by.push(function.name_any());
        }
        let delivery = function.spec.delivery.as_ref();
        if let Some(name) = delivery.and_then(Delivery::dead_letter_topic) {
            let topic = known(&mut topics, function, name);
            topic.dead_letters_of.push(function.name_any());
        }
    }
    topics.into_values().collect()
}

/// A topic of the function's namespace.
fn known<'a>(
    topics: &'a mut BTreeMap<(String, String), Topic>,
    function: &Function,
    name: &str,
) -> &'a mut Topic {
    let namespace = function.namespace().unwrap_or_default();
    let key = (namespace.clone(), name.to_owned());
    topics.entry(key).or_insert_with(|| Topic {
        namespace,
        name: name.to_owned(),
        ..Topic::default()
    })
}

/// A row for each who hears it; one that says so if nobody does.
fn rows(topic: &Topic) -> Vec<Vec<String>> {
    let (answers, dead_letters) = (topic.answered_by.join(","), topic.dead_letters_of.join(","));
    let row = |function: &str, trigger: &str, filter: String| {
        let cells = [
            &*topic.namespace,
            &*topic.name,
            function,
            trigger,
            &*filter,
            &*answers,
            &*dead_letters,
        ];
        cells
            .map(|cell| if cell.is_empty() { "-" } else { cell }.to_owned())
            .into()
    };
    if topic.heard_by.is_empty() {
        return vec![row("<nobody>", "", String::new())];
    }
    let hearers = topic.heard_by.iter();
    hearers
        .map(|hearer| {
            let filter = hearer.filter.iter();
            let filter: Vec<_> = filter
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            row(&hearer.function, &hearer.trigger, filter.join(","))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_topic_is_told_with_those_who_name_it() {
        let function = |name: &str, spec: serde_json::Value| -> Function {
            let function = json!({
                "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
                "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
            });
            serde_json::from_value(function).unwrap()
        };
        let functions = [
            function(
                "prices",
                json!({
                    "image": "a", "output": {"topic": "bills"},
                    "triggers": [{"name": "new", "topic": {"name": "orders", "filter": {"type": "a*", "b": "c"}}}],
                }),
            ),
            function(
                "audit",
                json!({
                    "image": "a", "triggers": [{"name": "all", "topic": {"name": "orders"}}],
                    "delivery": {"deadLetter": {"topic": "dead"}},
                }),
            ),
            function("plain", json!({"image": "a"})),
        ];
        let topics = topics(&functions);
        let rows: Vec<_> = topics
            .iter()
            .flat_map(rows)
            .map(|row| row.join(" "))
            .collect();
        assert_eq!(
            rows,
            [
                "shop bills <nobody> - - prices -",
                "shop dead <nobody> - - - audit",
                "shop orders prices new b=c,type=a* - -",
                "shop orders audit all - - -",
            ]
        );
    }
}
