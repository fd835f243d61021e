//! `fermata list`.

use clap::Args;
use fermata_crds::{Function, conditions};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    args::Target,
    cluster,
    output::{self, Format},
};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Functions of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Only functions with these labels, such as app=shop.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(target: &Target, options: &Options) -> anyhow::Result<()> {
    let cluster = cluster::connect(target).await?;
    let api: Api<Function> = if options.all_namespaces {
        Api::all(cluster.client)
    } else {
        Api::namespaced(cluster.client, &cluster.namespace)
    };
    let mut params = ListParams::default();
    if let Some(selector) = &options.selector {
        params = params.labels(selector);
    }
    let functions = api.list(&params).await?;
    match options.output {
        Format::Json | Format::Yaml => output::structured(options.output, &functions)?,
        Format::Name => functions.iter().for_each(|function| {
            output::line(&format!("function.fermata.dev/{}", function.name_any()));
        }),
        Format::Table | Format::Wide if functions.items.is_empty() => {
            output::note(&match options.all_namespaces {
                true => "No functions found.".to_owned(),
                false => format!("No functions found in namespace {}.", cluster.namespace),
            });
        }
        Format::Table | Format::Wide => table(&functions.items, options),
    }
    Ok(())
}

fn table(functions: &[Function], options: &Options) {
    let wide = options.output == Format::Wide;
    let mut header = vec![
        "NAME", "URL", "READY", "REVISION", "REPLICAS", "REASON", "AGE",
    ];
    if options.all_namespaces {
        header.insert(0, "NAMESPACE");
    }
    if wide {
        header.extend(["CODE", "LAST COLD START"]);
    }
    let rows: Vec<Vec<String>> = functions
        .iter()
        .map(|function| {
            let mut cells = row(function, Timestamp::now());
            if options.all_namespaces {
                cells.insert(0, function.namespace().unwrap_or_default());
            }
            if wide {
                cells.extend(details(function));
            }
            cells
        })
        .collect();
    output::table(&header, &rows);
}

fn row(function: &Function, now: Timestamp) -> Vec<String> {
    let status = function.status.clone().unwrap_or_default();
    let ready = conditions::find(&status.conditions, conditions::READY);
    vec![
        function.name_any(),
        status.url.unwrap_or_default(),
        ready.map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone()),
        status.latest_ready_revision.unwrap_or_default(),
        status.replicas.unwrap_or(0).to_string(),
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
