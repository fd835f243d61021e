//! The dependencies of a function, installed as for the function itself, and kept for the next time.

use std::{
    env,
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use fermata_crds::RuntimeBuild;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{manifest::source, output};

/// How many results are kept: those that were used last.
const MOST_KEPT: usize = 16;

/// The exit code of a build that cannot reach a registry.
const REGISTRY_UNREACHABLE: i32 = 75;

/// What a build ends with when a disk has no room.
const NO_ROOM: i32 = 74;

/// Installed dependencies.
pub(super) struct Installed {
    /// Where they are kept.
    pub(super) folder: PathBuf,
    /// The folder in it that they are installed into, by the name that the Runtime gives it.
    name: String,
}

// === impl Installed ===

impl Installed {
    /// The folder that they are installed into.
    pub(super) fn target(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

/// Installs what the function's files ask for, by the build of the Runtime that comes with Fermata; nothing if
/// they ask for nothing. What was installed before for the same files, and the same `tool`, is taken.
///
/// # Errors
///
/// When it cannot be installed.
pub(super) fn installed(
    dir: &Path,
    language: &str,
    tool: &[u8],
) -> anyhow::Result<Option<Installed>> {
    let Some(build) = build_of(language)? else {
        return Ok(None);
    };
    let inputs = source::inputs(dir, &build)?;
    if inputs.is_empty() {
        return Ok(None);
    }
    let mut key = Sha256::new();
    let mut part = |bytes: &[u8]| {
        key.update(bytes.len().to_be_bytes());
        key.update(bytes);
    };
    for bytes in [env!("CARGO_PKG_VERSION"), language, env::consts::ARCH] {
        part(bytes.as_bytes());
    }
    part(tool);
    let copy = tempfile::tempdir().context("cannot make a temporary directory")?;
    for (name, path) in &inputs {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        part(name.as_bytes());
        part(&content);
        let to = copy.path().join(name);
        let folder = to.parent().unwrap_or(copy.path());
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&to, content))
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    let key = key.finalize();
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();

    let kept = kept();
    let name = build.target.rsplit('/').next().unwrap_or_default();
    let installed = Installed {
        folder: kept.join(key),
        name: name.to_owned(),
    };
    if !installed.folder.is_dir() {
        install(language, copy.path(), &kept, &installed)?;
    }
    // The time tells which were used last; a result that cannot be marked goes earlier.
    let _ = File::open(&installed.folder).and_then(|folder| folder.set_modified(SystemTime::now()));
    remove_old(&kept);
    Ok(Some(installed))
}

/// How the Runtime of that name builds.
fn build_of(language: &str) -> anyhow::Result<Option<RuntimeBuild>> {
    let mut runtimes = fermata_invoker::RUNTIMES.iter();
    let Some((name, text)) = runtimes.find(|(name, _)| *name == language) else {
        return Ok(None);
    };
    let runtime: Value =
        serde_saphyr::from_str(text).with_context(|| format!("the Runtime {name} is not valid"))?;
    let build = runtime["spec"]["build"].clone();
    serde_json::from_value(build).with_context(|| format!("the build of {name} is not valid"))
}

fn install(
    language: &str,
    inputs: &Path,
    kept: &Path,
    installed: &Installed,
) -> anyhow::Result<()> {
    fs::create_dir_all(kept)
        .with_context(|| format!("cannot make the directory {}", kept.display()))?;
    let part = tempfile::Builder::new()
        .prefix(".part-")
        .tempdir_in(kept)
        .with_context(|| format!("cannot write to {}", kept.display()))?;
    output::note(&format!("installing dependencies into {}", kept.display()));
    let program = env::current_exe().context("this program cannot find itself")?;
    let status = Command::new(program)
        .arg0("fermata-invoker")
        .args(["build", language])
        .current_dir(inputs)
        .env("FERMATA_SOURCE", inputs)
        .env("FERMATA_TARGET", part.path().join(&installed.name))
        // It is on somebody's own machine.
        .env("FERMATA_ROOT", "/")
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .context("the build cannot be started")?;
    match status.code() {
        Some(0) => {}
        Some(REGISTRY_UNREACHABLE) => {
            bail!("the dependencies cannot be installed now: a registry cannot be reached")
        }
        Some(NO_ROOM) => bail!(
            "the dependencies cannot be installed now: there is no room on the disk; make some on that of {} and of the temporary files (TMPDIR)",
            kept.display()
        ),
        _ => bail!("the dependencies cannot be installed: {status}"),
    }
    let part = part.keep();
    match fs::rename(&part, &installed.folder) {
        Ok(()) => Ok(()),
        // Somebody else has installed them meanwhile.
        Err(_) if installed.folder.is_dir() => {
            let _ = fs::remove_dir_all(&part);
            Ok(())
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&part);
            Err(error).with_context(|| format!("cannot write to {}", kept.display()))
        }
    }
}

/// Where results are kept.
fn kept() -> PathBuf {
    let given = |name: &str| {
        let path = env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let cache = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")));
    cache
        .unwrap_or_else(env::temp_dir)
        .join("fermata/dependencies")
}

/// Removes the results that have not been used for the longest time, and what installations have left that
/// were killed. What cannot be removed is tried again the next time.
fn remove_old(kept: &Path) {
    let Ok(entries) = fs::read_dir(kept) else {
        return;
    };
    let mut results: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    results.sort_by(|(one, _), (other, _)| other.cmp(one));
    for (_, path) in results.into_iter().skip(MOST_KEPT) {
        let _ = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_the_longest_time_goes() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..MOST_KEPT + 2 {
            let path = dir.path().join(number.to_string());
            fs::create_dir(&path).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64);
            File::open(path).unwrap().set_modified(time).unwrap();
        }
        remove_old(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MOST_KEPT);
        assert!(!dir.path().join("1").exists() && dir.path().join("2").exists());
    }
}
