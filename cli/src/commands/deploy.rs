//! `fermata deploy`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use fermata_crds::{Function, conditions};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::DynamicObject,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::time;

use crate::{
    args::Target,
    cluster,
    manifest::{self, Manifest},
    output::{self, Format},
};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fermata deploy -f hello/                                  a directory with manifests and code
  fermata deploy hello --runtime python main.py             code, without a manifest
  fermata deploy web --image registry.example.com/web:1.4   an image, without a manifest")]
pub(crate) struct Options {
    /// Name of the function, when no manifest is given.
    #[arg(required_unless_present = "files", conflicts_with = "files")]
    name: Option<String>,

    /// Manifest files or directories; - is standard input. A function whose source names no files
    /// takes the files beside its manifest.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,

    /// The container image to run.
    #[arg(long, conflicts_with_all = ["files", "runtime"], required_unless_present_any = ["files", "runtime"])]
    image: Option<String>,

    /// The Runtime that runs the source files.
    #[arg(long, conflicts_with = "files", requires = "sources")]
    runtime: Option<String>,

    /// Source files for the Runtime.
    #[arg(value_name = "SOURCE", requires = "runtime")]
    sources: Vec<PathBuf>,

    /// What to call in the source, such as main.handle.
    #[arg(long, requires = "runtime")]
    handler: Option<String>,

    /// An environment variable, NAME=VALUE.
    #[arg(
        short,
        long = "env",
        value_name = "NAME=VALUE",
        conflicts_with = "files"
    )]
    env: Vec<String>,

    /// The port the container listens on.
    #[arg(long, conflicts_with = "files")]
    port: Option<u16>,

    /// Replicas that always run.
    #[arg(long, conflicts_with = "files")]
    min: Option<u32>,

    /// The most replicas that run.
    #[arg(long, conflicts_with = "files")]
    max: Option<u32>,

    /// Print the manifests instead of applying them.
    #[arg(long)]
    dry_run: bool,

    /// Do not wait until the functions are ready.
    #[arg(long)]
    no_wait: bool,

    /// How long to wait until the functions are ready, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<()> {
    let manifests = match &options.name {
        Some(name) => vec![Manifest {
            file: PathBuf::from("the command line"),
            object: function(name, &options)?,
        }],
        None => manifest::read(&options.files)?,
    };
    if options.dry_run {
        for manifest in &manifests {
            output::line("---");
            output::structured(Format::Yaml, &manifest.object)?;
        }
        return Ok(());
    }
    let cluster = cluster::connect(target).await?;
    let mut functions = Vec::new();
    for manifest in &manifests {
        let applied = manifest.apply(&cluster.client, &cluster.namespace).await?;
        output::note(&format!("{} applied", manifest.title()));
        if applied.types.as_ref().is_some_and(|types| {
            types.kind == "Function" && types.api_version.starts_with(fermata_crds::GROUP)
        }) {
            functions.push((
                applied
                    .namespace()
                    .unwrap_or_else(|| cluster.namespace.clone()),
                applied.name_any(),
            ));
        }
    }
    if options.no_wait {
        return Ok(());
    }
    let waits = stream::iter(functions)
        .map(|(namespace, name)| wait(cluster.client.clone(), namespace, name))
        .buffer_unordered(32);
    let all = waits.try_for_each(|function| async move {
        let url = function
            .status
            .and_then(|status| status.url)
            .unwrap_or_default();
        output::line(&url);
        Ok(())
    });
    match time::timeout(Duration::from_secs(options.timeout), all).await {
        Ok(result) => result,
        Err(_) => bail!(
            "not ready after {} s; `fermata describe` shows more",
            options.timeout
        ),
    }
}

/// The Function that the flags describe.
fn function(name: &str, options: &Options) -> anyhow::Result<DynamicObject> {
    let mut spec = serde_json::Map::new();
    if let Some(image) = &options.image {
        spec.insert("image".into(), json!(image));
    }
    if let Some(runtime) = &options.runtime {
        let mut source = json!({"runtime": runtime, "files": read_sources(&options.sources)?});
        if let Some(handler) = &options.handler {
            source["handler"] = json!(handler);
        }
        spec.insert("source".into(), source);
    }
    let env = options.env.iter().map(|pair| {
        let (name, value) = pair
            .split_once('=')
            .with_context(|| format!("--env {pair}: write NAME=VALUE"))?;
        Ok(json!({"name": name, "value": value}))
    });
    let env = env.collect::<anyhow::Result<Vec<_>>>()?;
    if !env.is_empty() {
        spec.insert("env".into(), json!(env));
    }
    if let Some(port) = options.port {
        spec.insert("port".into(), json!(port));
    }
    let mut scale = serde_json::Map::new();
    scale.extend(options.min.map(|min| ("min".to_owned(), json!(min))));
    scale.extend(options.max.map(|max| ("max".to_owned(), json!(max))));
    if !scale.is_empty() {
        spec.insert("scale".into(), json!(scale));
    }
    let object = json!({
        "apiVersion": format!("{}/{}", fermata_crds::GROUP, fermata_crds::VERSION),
        "kind": "Function", "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(object).context("the function cannot be written as a manifest")
}

fn read_sources(paths: &[PathBuf]) -> anyhow::Result<BTreeMap<String, String>> {
    let read = |path: &PathBuf| {
        let name = Path::new(path)
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("{} is no file name", path.display()))?;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok((name.to_owned(), text))
    };
    paths.iter().map(read).collect()
}

/// Waits until the function is ready, and says what it is waiting for.
async fn wait(client: Client, namespace: String, name: String) -> anyhow::Result<Function> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let changes = watcher(Api::<Function>::namespaced(client, &namespace), config)
        .default_backoff()
        .applied_objects();
    let mut changes = std::pin::pin!(changes);
    let mut said = String::new();
    while let Some(function) = changes.try_next().await? {
        let status = function.status.clone().unwrap_or_default();
        let Some(ready) = conditions::find(&status.conditions, conditions::READY) else {
            continue;
        };
        if status.observed_generation != function.metadata.generation {
            continue;
        }
        if ready.status == "True" {
            output::note(&format!("{name} is ready"));
            return Ok(function);
        }
        let says = format!("{name}: {}: {}", ready.reason, ready.message);
        if says != said {
            output::note(says.trim_end_matches([':', ' ']));
            said = says;
        }
    }
    bail!("the watch of {name} ended")
}
