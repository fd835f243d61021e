//! The programs, the chart and the packages of languages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{VERSION, helm, platform};
use crate::{image, shell};

/// Static programs for people and for machines without containers.
const PROGRAMS: [&str; 5] = [
    "fermata",
    "fermata-operator",
    "fermata-gateway",
    "fermata-events",
    "fermata-invoker",
];

/// Packs each program with the licence.
pub(super) fn programs(folder: &Path) -> anyhow::Result<()> {
    for program in PROGRAMS {
        let content = image::static_program(program)?;
        let name = format!("{program}-{VERSION}-{}", platform());
        let staging = Staging::new(&name)?;
        let file = staging.folder.join(program);
        fs::write(&file, content)?;
        shell::quiet(Command::new("chmod").arg("0755").arg(&file))?;
        fs::copy(
            shell::root().join("LICENSE"),
            staging.folder.join("LICENSE"),
        )?;
        // Sorted, without times and owners: the same programs make the same archive.
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0"])
            .args([
                "--numeric-owner",
                "--use-compress-program=gzip -n",
                "--create",
                "--file",
            ])
            .arg(folder.join(format!("{name}.tar.gz")))
            .arg("--directory")
            .arg(&staging.parent)
            .arg(&name);
        shell::quiet(&mut tar)?;
    }
    Ok(())
}

/// Packages the chart, definitions included.
pub(super) fn chart(folder: &Path) -> anyhow::Result<()> {
    let chart = shell::root().join("charts/fermata");
    shell::quiet(
        helm()?
            .arg("package")
            .arg(chart)
            .arg("--destination")
            .arg(folder),
    )
}

/// The packages that editors and tests of functions use: a wheel for Python, a tarball for Node.js.
pub(super) fn languages(folder: &Path) -> anyhow::Result<()> {
    let runtimes = shell::root().join("runtimes");
    let mut wheel = Command::new("python3");
    wheel
        .args(["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"])
        .arg(folder)
        .arg(runtimes.join("python"))
        // Times in the archive, see https://reproducible-builds.org/specs/source-date-epoch/.
        .env("SOURCE_DATE_EPOCH", "315532800");
    shell::run("the package of Python", &mut wheel)?;
    // npm names it as helm names the chart.
    let staging = Staging::new("npm")?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", "--pack-destination"])
        .arg(&staging.folder)
        .arg(runtimes.join("node/fermata"));
    if let Err(error) = shell::quiet(&mut pack) {
        return Err(error).context("the package of Node.js is made by npm");
    }
    let plain = staging.folder.join(format!("fermata-{VERSION}.tgz"));
    let named = folder.join(format!("fermata-node-{VERSION}.tgz"));
    fs::rename(&plain, &named).with_context(|| format!("npm made no {}", plain.display()))
}

/// A folder below target/ that goes when it was packed.
struct Staging {
    parent: PathBuf,
    folder: PathBuf,
}

// === impl Staging ===

impl Staging {
    fn new(name: &str) -> anyhow::Result<Self> {
        let parent = shell::root().join("target/dist-staging");
        let folder = parent.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { parent, folder })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left is overwritten by the next run.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
