//! Root file systems of Debian's packages.
//!
//! The packages are unpacked, and not installed: their scripts would need a package manager, a shell
//! and Perl in the image. What the scripts would do and a function needs is done here.

mod files;
mod mirror;
mod packages;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::{archive::Platform, layer::Layer, recipe::Base, tree::Tree};
use crate::{debian, shell};

/// A change of what shapes a root file system makes a new one.
const SHAPES: [&str; 5] = [
    include_str!("rootfs.rs"),
    include_str!("rootfs/files.rs"),
    include_str!("rootfs/packages.rs"),
    include_str!("layer.rs"),
    include_str!("tree.rs"),
];

/// Builds the layer, or takes that of an earlier build of the same recipe from `target/rootfs`.
pub(super) fn build(
    name: &str,
    base: &Base,
    user: u32,
    platform: &Platform,
    fresh: bool,
) -> anyhow::Result<Layer> {
    let folder = shell::root().join("target/rootfs");
    fs::create_dir_all(&folder)?;
    let kept = folder.join(format!("{name}-{}.tar.gz", key(base, user, platform)));
    if !fresh && kept.is_file() {
        return Layer::unpack(fs::read(&kept)?)
            .with_context(|| format!("{} is damaged; delete it", kept.display()));
    }
    let root = folder.join(name);
    clear(&root)?;
    let layer = unpack(base, platform, &root)
        .and_then(|()| finish(base, &root))
        .and_then(|()| pack(user, &base.keep, &root))?;
    clear(&root)?;
    let part = kept.with_extension("part");
    fs::write(&part, &layer.blob)?;
    fs::rename(part, kept)?;
    Ok(layer)
}

fn key(base: &Base, user: u32, platform: &Platform) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{base:?} {user} {platform:?}"));
    for shape in SHAPES {
        hash.update(shape);
    }
    let hash = hash.finalize();
    hash.iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn unpack(base: &Base, platform: &Platform, root: &Path) -> anyhow::Result<()> {
    debian::ensure(&["mmdebstrap"])?;
    if !shell::is_root() {
        bail!("only root can make a root file system of Debian's packages; run this as root");
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args([
            "--quiet",
            "--mode=root",
            "--format=directory",
            "--variant=extract",
        ])
        // What came with the packages is read from them, after that.
        .arg("--skip=cleanup/apt/cache")
        .arg(format!("--architectures={}", platform.architecture))
        .arg(format!("--include={}", base.packages.join(",")))
        .arg(&base.suite)
        .arg(root)
        .args(mirror::sources(&base.suite));
    shell::run(
        &format!("unpack {}", base.packages.join(" ")),
        &mut mmdebstrap,
    )
}

/// What the packages' scripts would have done, and what the recipe asks for.
fn finish(base: &Base, root: &Path) -> anyhow::Result<()> {
    packages::finish(&base.packages, root)?;
    for path in &base.remove {
        remove(&root.join(path)).with_context(|| format!("base.remove: {path}"))?;
    }
    files::certificates(root)?;
    for command in &base.run {
        let mut chroot = Command::new("chroot");
        chroot
            .arg(root)
            .args(command)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            // Sets of Python have the same order each time.
            .env("PYTHONHASHSEED", "0");
        shell::run(&command.join(" "), &mut chroot)?;
    }
    Ok(())
}

fn pack(user: u32, keep: &[String], root: &Path) -> anyhow::Result<Layer> {
    let mut tree = Tree::default();
    tree.add_all(root, &|path| files::is_wanted(path, keep))?;
    tree.add_basics(user);
    Ok(Layer::pack(&tree)?)
}

fn remove(path: &PathBuf) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn clear(root: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", root.display()))
        }
        _ => Ok(()),
    }
}
