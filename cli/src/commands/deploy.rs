//! `fermata deploy`.

mod settings;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::Function;
use kube::{Api, ResourceExt as _, api::DynamicObject};
use serde_json::{Map, Value, json};

use self::settings::Settings;
use super::completion;
use crate::{
    args::Target,
    bundle::Store,
    cluster::{self, Cluster, Consent},
    functions,
    manifest::{
        self, Manifest,
        source::{Code, Placed},
    },
    output::{self, Format, Structure},
    ready::Waiting,
};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fermata deploy -f hello/                                  a directory with manifests and code
  fermata deploy hello --runtime python main.py             code, without a manifest
  fermata deploy web --image registry.example.com/web:1.4   an image, without a manifest
  fermata deploy web --min 1 -e MODE=fast                   a change of what is there")]
pub(crate) struct Options {
    /// Name of the function, when no manifest is given. Of a function that is there, what the flags do
    /// not name stays.
    #[arg(conflicts_with = "files", add = ArgValueCandidates::new(completion::functions))]
    name: Option<String>,

    /// Manifest files or directories; - is standard input. A function whose source names no files
    /// takes the files beside its manifest, and those in the folders there.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    settings: Settings,

    /// Print the manifests instead of applying them. Code that is too large for a manifest is brought to the cluster
    /// all the same, so that what is printed can be applied.
    #[arg(long)]
    dry_run: bool,

    /// Where the cluster takes code that is too large for a manifest: the gateway, such as
    /// https://functions.example.com. Default: what the cluster tells.
    #[arg(long, env = "FERMATA_GIT_URL", value_name = "URL")]
    git_url: Option<String>,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    consent: Consent,
}

// === impl Options ===

impl Options {
    fn store(&self, cluster: &Cluster) -> Store {
        let config = Some(cluster.config.clone());
        Store::new(cluster.client.clone(), config, self.git_url.clone())
    }
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<()> {
    let functions = match &options.name {
        Some(name) => one(target, name, &options).await?,
        None if options.files.is_empty() => bail!(
            "nothing is said to deploy: name manifests with -f FILE or -f DIR, or a function with what runs; see `fermata deploy --help`"
        ),
        None => files(target, &options).await?,
    };
    let Some((cluster, functions)) = functions else {
        return Ok(());
    };
    options.waiting.wait(&cluster, functions).await
}

/// Functions by namespace and name, on the cluster that they are on; nothing if nothing was written.
type Written = Option<(Cluster, Vec<(String, String)>)>;

async fn files(target: &Target, options: &Options) -> anyhow::Result<Written> {
    let mut manifests = manifest::read(&options.files)?;
    let has_bundles = manifests.iter().any(|manifest| manifest.bundle.is_some());
    if options.dry_run && !has_bundles {
        return show(&manifests, options).map(|()| None);
    }
    let cluster = cluster::connect_to_write(target, options.consent).await?;
    cluster.announce();
    let store = options.store(&cluster);
    if options.dry_run {
        for manifest in &mut manifests {
            manifest.keep(&store, &cluster.namespace).await?;
        }
        return show(&manifests, options).map(|()| None);
    }
    let mut functions = Vec::new();
    for manifest in manifests {
        let title = manifest.title();
        let applied = manifest
            .deploy(&cluster.client, &store, &cluster.namespace)
            .await?;
        output::note(&format!("{title} applied"));
        if manifest::is_function(&applied) {
            let namespace = applied.namespace();
            let namespace = namespace.unwrap_or_else(|| cluster.namespace.clone());
            functions.push((namespace, applied.name_any()));
        }
    }
    Ok(Some((cluster, functions)))
}

/// The function that the flags describe: a new one, or one that is there and is changed.
async fn one(target: &Target, name: &str, options: &Options) -> anyhow::Result<Written> {
    let settings = &options.settings;
    let code = settings.code()?;
    let brings = matches!(code, Some(Code::Bundle(_)));
    let only_prints = options.dry_run && settings.say_what_runs();
    if only_prints && !brings {
        let code = code.and_then(Code::inline);
        return show(&[described(name, settings, code.as_ref())?], options).map(|()| None);
    }
    let cluster = if options.dry_run && !brings {
        cluster::connect(target).await?
    } else {
        cluster::connect_to_write(target, options.consent).await?
    };
    let api = Api::<Function>::namespaced(cluster.client.clone(), &cluster.namespace);
    let there = api
        .get_opt(name)
        .await
        .with_context(|| format!("the function {name} cannot be read"))?;
    if there.is_none() && !settings.say_what_runs() {
        bail!(
            "there is no function {name} in namespace {} to change{}; to make it, give --image, or --runtime with source files",
            cluster.namespace,
            functions::hint(&cluster, name).await
        );
    }
    if there.is_some() && settings.is_empty() {
        bail!(
            "{name} is there, and no flag says what to change; see `fermata deploy --help`, or start it anew with `fermata restart {name}`"
        );
    }
    if brings || !options.dry_run {
        cluster.announce();
    }
    let store = options.store(&cluster);
    let code = match code {
        Some(code) => Some(code.place(&store, &cluster.namespace, name).await?),
        None => None,
    };
    let change = |function: &mut DynamicObject| settings.change(spec(function)?, code.as_ref());
    let file = PathBuf::from(name);
    let applied = match there {
        _ if only_prints => {
            let mut manifest = described(name, settings, code.as_ref())?;
            manifest.object.metadata.namespace = Some(cluster.namespace.clone());
            return show(&[manifest], options).map(|()| None);
        }
        Some(there) if options.dry_run => {
            let mut object: DynamicObject = serde_json::from_value(serde_json::to_value(there)?)?;
            written_by_the_server(&mut object);
            change(&mut object)?;
            let manifest = Manifest {
                file,
                object,
                bundle: None,
                uncarried: None,
            };
            return show(&[manifest], options).map(|()| None);
        }
        Some(_) => {
            let changed = functions::edit(&cluster, name, change).await?;
            output::note(&format!("function/{name} changed"));
            changed
        }
        None => {
            let manifest = described(name, settings, code.as_ref())?;
            let title = manifest.title();
            let applied = manifest
                .deploy(&cluster.client, &store, &cluster.namespace)
                .await?;
            output::note(&format!("{title} applied"));
            applied
        }
    };
    if let Some(Placed::Kept(kept)) = &code {
        store.adopt(kept, &applied).await?;
    }
    let function = (cluster.namespace.clone(), name.to_owned());
    Ok(Some((cluster, vec![function])))
}

fn described(name: &str, settings: &Settings, code: Option<&Placed>) -> anyhow::Result<Manifest> {
    let object = json!({
        "apiVersion": format!("{}/{}", fermata_crds::GROUP, fermata_crds::VERSION),
        "kind": "Function", "metadata": {"name": name}, "spec": {},
    });
    let mut object: DynamicObject =
        serde_json::from_value(object).context("the function cannot be written as a manifest")?;
    settings.change(spec(&mut object)?, code)?;
    Ok(Manifest {
        file: PathBuf::from("the command line"),
        object,
        bundle: None,
        uncarried: None,
    })
}

/// Takes away what no manifest has.
fn written_by_the_server(object: &mut DynamicObject) {
    let metadata = &mut object.metadata;
    metadata.managed_fields = None;
    metadata.resource_version = None;
    metadata.uid = None;
    metadata.generation = None;
    metadata.creation_timestamp = None;
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
}

fn spec(function: &mut DynamicObject) -> anyhow::Result<&mut Map<String, Value>> {
    function
        .data
        .get_mut("spec")
        .and_then(Value::as_object_mut)
        .context("the function has no spec")
}

/// Prints manifests instead of applying them.
fn show(manifests: &[Manifest], options: &Options) -> anyhow::Result<()> {
    match options.waiting.output() {
        Some(Structure::Name) => {
            for manifest in manifests {
                output::line(&manifest.title());
            }
        }
        Some(Structure::Json) => {
            let objects: Vec<&DynamicObject> =
                manifests.iter().map(|manifest| &manifest.object).collect();
            match objects.as_slice() {
                [one] => output::structured(Format::Json, one)?,
                several => output::structured(Format::Json, &output::list(several))?,
            }
        }
        Some(Structure::Yaml) | None => {
            for manifest in manifests {
                output::line("---");
                output::structured(Format::Yaml, &manifest.object)?;
            }
        }
    }
    Ok(())
}
