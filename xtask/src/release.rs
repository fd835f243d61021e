//! `cargo xtask dist` and `cargo xtask push`: all that a release consists of, and where its images go.

mod bill;
mod checksums;
mod packages;
mod registry;

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, bail};
use clap::Args;
use fermata_crds::crd;

use crate::{cluster, image, shell};

/// The version of everything that is released together.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Args, Debug)]
pub(crate) struct Dist {
    /// The folder to write; what was there is removed.
    #[arg(long, default_value = "target/dist")]
    to: PathBuf,

    /// The registry and its folder that the images' references name, in place of ghcr.io/fermata-dev.
    #[arg(long)]
    registry: Option<String>,

    /// Take Debian's packages anew, as they are today, and not those of an earlier build.
    #[arg(long)]
    fresh: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Push {
    /// The registry, perhaps with a folder: registry.example.com, registry.example.com/mirror,
    /// 127.0.0.1:5000. Images go to fermata-dev/NAME below it. Credentials are those of `skopeo login` or
    /// `docker login`.
    registry: String,

    /// The tag.
    #[arg(long, default_value = VERSION)]
    tag: String,

    /// The file for the values with which the chart takes exactly these images.
    #[arg(long, default_value = "target/dist/images.yaml")]
    values: PathBuf,

    /// Speak HTTP to the registry. One on loopback needs no such flag.
    #[arg(long)]
    plain_http: bool,
}

/// Makes a release in a folder.
///
/// # Errors
///
/// When something does not build, or a tool can neither be found nor installed.
#[allow(clippy::print_stdout, reason = "what was made is the output")]
pub(crate) fn dist(options: &Dist) -> anyhow::Result<()> {
    let folder = shell::root().join(&options.to);
    clear(&folder)?;
    let images = image::build_published(&[], options.registry.as_deref(), VERSION, options.fresh)?;
    for image in &images {
        let name = format!("fermata-{}-{VERSION}-{}.oci.tar", image.name, platform());
        fs::create_dir_all(folder.join("images"))?;
        fs::copy(&image.archive, folder.join("images").join(name))?;
    }
    packages::programs(&folder)?;
    packages::chart(&folder)?;
    packages::languages(&folder)?;
    let definitions: Vec<String> = crd::all()
        .iter()
        .map(serde_saphyr::to_string)
        .collect::<Result<_, _>>()?;
    fs::write(
        folder.join(format!("fermata-{VERSION}-definitions.yaml")),
        format!("---\n{}", definitions.join("---\n")),
    )?;
    bill::write(&folder)?;
    for file in checksums::write(&folder)? {
        println!("{}", options.to.join(file).display());
    }
    Ok(())
}

/// Builds the images, pushes them, and writes the values that name them by digest.
///
/// # Errors
///
/// When an image does not build, or the registry does not take it.
pub(crate) fn push(options: &Push) -> anyhow::Result<()> {
    push_some(options, &[])
}

/// The same with these images alone; all if none is named.
///
/// # Errors
///
/// As [`push`].
#[allow(clippy::print_stdout, reason = "what was pushed is the output")]
pub(crate) fn push_some(options: &Push, names: &[&str]) -> anyhow::Result<()> {
    let target = registry::Target::new(&options.registry, options.plain_http);
    let images = image::build_published(names, Some(&target.folder()), &options.tag, false)?;
    for image in &images {
        target.push(image)?;
        println!("{}@{}", image.reference, image.digest);
    }
    let file = shell::root().join(&options.values);
    let parent = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(parent)?;
    fs::write(&file, target.values(&images))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!(
        "To install them: helm upgrade --install fermata charts/fermata --values {}",
        options.values.display()
    );
    Ok(())
}

/// Empties a folder that an earlier run made; any other is left alone.
fn clear(folder: &std::path::Path) -> anyhow::Result<()> {
    let is_ours = folder.join(checksums::FILE).is_file();
    let is_empty = fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    // A run that failed left no checksums; what is below target/ may always go.
    let is_target = folder.starts_with(shell::root().join("target/dist"));
    if !(is_ours || is_empty || is_target) {
        bail!(
            "{} holds something that is no release; name another folder or empty it",
            folder.display()
        );
    }
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

// === impl Push ===

impl Push {
    /// To a registry, with the values in that file.
    pub(crate) fn to(registry: String, values: PathBuf) -> Self {
        Self {
            registry,
            tag: VERSION.to_owned(),
            values,
            // The tests' own has no certificates.
            plain_http: true,
        }
    }
}

/// What the programs run on, as OCI says it.
fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux-{architecture}")
}

/// helm, which is built with the programs of the test cluster if it is not on `PATH`.
fn helm() -> anyhow::Result<Command> {
    let on_path = Command::new("helm");
    if shell::output(Command::new("helm").arg("version")).is_some() {
        return Ok(on_path);
    }
    Ok(cluster::tools()?.command("helm"))
}
