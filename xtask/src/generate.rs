//! `cargo xtask gen`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use kube::ResourceExt as _;

use crate::{kubernetes, reference, shell};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Write nothing; fail if a file is not what it should be.
    #[arg(long)]
    check: bool,
}

// === impl Options ===

impl Options {
    /// Only to check.
    pub(crate) fn check() -> Self {
        Self { check: true }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (path, text) in files(options.check)? {
        let path = shell::root().join(path);
        if fs::read_to_string(&path).is_ok_and(|current| current == text) {
            continue;
        }
        stale.push(path.display().to_string());
        if !options.check {
            let dir = path.parent().context("a file is in a folder")?;
            fs::create_dir_all(dir)?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if options.check && !stale.is_empty() {
        bail!(
            "not up to date; run cargo xtask gen and commit: {}",
            stale.join(", ")
        );
    }
    Ok(())
}

/// Every generated file and what should be in it.
fn files(check: bool) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for crd in fermata_crds::crd::all() {
        let yaml = serde_saphyr::to_string(&crd)?;
        let text = format!("# Generated from the types in crds/ by `cargo xtask gen`.\n{yaml}");
        files.push((
            PathBuf::from(format!("charts/fermata/crds/{}.yaml", crd.name_any())),
            text,
        ));
    }
    files.push((PathBuf::from("docs/manifest.md"), reference::manifest()));
    let schema = serde_json::to_string_pretty(&fermata_crds::schema::function())?;
    files.push((PathBuf::from("docs/function.schema.json"), schema + "\n"));
    files.extend(kubernetes::files(!check)?);
    Ok(files)
}
