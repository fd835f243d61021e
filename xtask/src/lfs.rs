//! Git LFS for the tests of git sources: the one on `PATH`, else Debian's package, unpacked and not installed, since it
//! changes git's settings of the whole machine; else none.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use crate::shell;

/// Where the tests look for it, below the root of the repository.
const FOLDER: &str = "target/tools/git-lfs";

/// Unpacks it where that takes no more than a package, or says that it is not there.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn ensure() {
    let folder = shell::root().join(FOLDER);
    let program = folder.join("usr/bin/git-lfs");
    let is_there = |program: &Path| shell::output(Command::new(program).arg("version")).is_some();
    if is_there(Path::new("git-lfs")) || is_there(&program) {
        return;
    }
    if let Err(error) = unpack(&folder) {
        eprintln!("Git LFS: {error:#}");
    }
    if !is_there(&program) {
        eprintln!("git-lfs is not on PATH: what Git LFS keeps is not tested.");
    }
}

fn unpack(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if shell::is_root() {
        let mut update = Command::new("apt-get");
        shell::run(
            "update the list of packages",
            update.args(["update", "-qq"]),
        )?;
    }
    let mut download = Command::new("apt-get");
    download
        .args(["download", "-qq", "git-lfs"])
        .current_dir(folder);
    shell::run("download git-lfs", &mut download)?;
    let entries = fs::read_dir(folder)?;
    let packages = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut packages = packages.filter(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = packages.next().context("there is no package")?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("-x").arg(&package).arg(folder);
    shell::run("unpack git-lfs", &mut unpack)?;
    fs::remove_file(&package).with_context(|| format!("cannot remove {}", package.display()))
}
