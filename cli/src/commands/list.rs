//! `fermata list`.

use anyhow::Context as _;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::{Function, conditions};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::ListParams,
    runtime::{WatchStreamExt as _, watcher},
};

use super::completion;
use crate::{
    args::Target,
    cluster::{self, Cluster},
    functions,
    output::{self, Format},
    urls::Urls,
};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only the functions of these names. Default: all of the namespace.
    #[arg(conflicts_with_all = ["all_namespaces", "selector"], add = ArgValueCandidates::new(completion::functions))]
    names: Vec<String>,

    /// Functions of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Only functions with these labels, such as app=shop.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// Go on, and print each function again when it changes, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
}

// === impl Options ===

impl Options {
    fn wants(&self, function: &Function) -> bool {
        self.names.is_empty() || self.names.contains(&function.name_any())
    }
}

pub(crate) async fn run(target: &Target, options: &Options) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    let api: Api<Function> = if options.all_namespaces {
        Api::all(cluster.client.clone())
    } else {
        Api::namespaced(cluster.client.clone(), &cluster.namespace)
    };
    if options.watch {
        return watch(api, &cluster, options).await;
    }
    let mut params = ListParams::default();
    if let Some(selector) = &options.selector {
        params = params.labels(selector);
    }
    let mut functions = api
        .list(&params)
        .await
        .context("the functions cannot be listed")?;
    for name in &options.names {
        if !functions.iter().any(|one| one.name_any() == *name) {
            functions::find(&cluster, name).await?;
        }
    }
    functions.items.retain(|function| options.wants(function));
    match options.output {
        Format::Json | Format::Yaml => output::structured(options.output, &functions)?,
        Format::Name => functions.iter().for_each(|function| {
            output::line(&output::reference(&function.name_any()));
        }),
        Format::Table | Format::Wide if functions.items.is_empty() => {
            output::note(&match options.all_namespaces {
                true => "No functions found.".to_owned(),
                false => format!("No functions found in namespace {}.", cluster.namespace),
            });
        }
        Format::Table | Format::Wide => {
            let rows = functions.iter();
            let rows: Vec<_> = rows.map(|one| row(one, &cluster, options)).collect();
            output::table(&header(options), &rows);
        }
    }
    Ok(())
}

/// Prints the functions as they are, then each as it changes.
async fn watch(api: Api<Function>, cluster: &Cluster, options: &Options) -> anyhow::Result<()> {
    let config = watcher::Config {
        label_selector: options.selector.clone(),
        ..watcher::Config::default()
    };
    let mut changes = std::pin::pin!(watcher(api, config).default_backoff());
    let (mut first, mut widths) = (Vec::new(), None);
    while let Some(change) = changes.try_next().await.context("the watch failed")? {
        let function = match change {
            watcher::Event::InitApply(function) => {
                first.push(function);
                continue;
            }
            watcher::Event::Init => continue,
            watcher::Event::InitDone => None,
            watcher::Event::Apply(function) | watcher::Event::Delete(function) => Some(function),
        };
        let functions = first.drain(..).chain(function);
        let functions: Vec<Function> = functions.filter(|one| options.wants(one)).collect();
        match options.output {
            Format::Json | Format::Yaml => {
                for function in &functions {
                    if options.output == Format::Yaml {
                        output::line("---");
                    }
                    output::structured(options.output, function)?;
                }
            }
            Format::Name => functions.iter().for_each(|function| {
                output::line(&output::reference(&function.name_any()));
            }),
            Format::Table | Format::Wide => {
                let rows = functions.iter();
                let rows: Vec<_> = rows.map(|one| row(one, cluster, options)).collect();
                let widths = widths.get_or_insert_with(|| {
                    let header = header(options);
                    let widths = output::widths(&header, &rows);
                    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
                    output::row(&header, &widths);
                    widths
                });
                for cells in &rows {
                    output::row(cells, widths);
                }
            }
        }
    }
    Ok(())
}

fn header(options: &Options) -> Vec<&'static str> {
    let wide = options.output == Format::Wide;
    let mut header = vec![
        "NAME", "URL", "READY", "REVISION", "REPLICAS", "BACKLOG", "REASON", "AGE",
    ];
    if options.all_namespaces {
        header.insert(0, "NAMESPACE");
    }
    if wide {
        header.extend(["CODE", "LAST COLD START", "BY PATH"]);
    }
    header
}

fn row(function: &Function, cluster: &Cluster, options: &Options) -> Vec<String> {
    let mut cells = summary(function, Timestamp::now());
    if options.all_namespaces {
        cells.insert(0, function.namespace().unwrap_or_default());
    }
    if options.output == Format::Wide {
        cells.extend(details(function));
        cells.push(
            Urls::of(function, cluster.embedded)
                .path
                .unwrap_or_default(),
        );
    }
    cells
}

fn summary(function: &Function, now: Timestamp) -> Vec<String> {
    let status = function.status.clone().unwrap_or_default();
    let ready = conditions::find(&status.conditions, conditions::READY);
    vec![
        function.name_any(),
        status.url.unwrap_or_default(),
        ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone()),
        status.latest_ready_revision.unwrap_or_default(),
        status.replicas.unwrap_or(0).to_string(),
        status
            .backlog
            .map(|backlog| backlog.to_string())
            .unwrap_or_default(),
        ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
        output::age(function.creation_timestamp().map(|time| time.0), now),
    ]
}

fn details(function: &Function) -> [String; 2] {
    let template = &function.spec.template;
    let code = match (&template.image, &template.source) {
        (Some(image), _) => image.clone(),
        (None, Some(source)) => source.runtime.clone(),
        (None, None) => String::new(),
    };
    let cold_start = function
        .status
        .as_ref()
        .and_then(|status| status.last_cold_start.as_ref());
    [
        code,
        cold_start
            .map(|start| start.duration.to_string())
            .unwrap_or_default(),
    ]
}
