//! A function's repository, and git as it is used on it: with no settings but these.

pub(super) mod bundles;
mod leftovers;
mod pushing;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use fermata_crds::BUNDLES_SUFFIX;

use super::HOOK_COMMAND;

pub(super) use self::pushing::Pushing;

/// The most that a push may hold, in bytes.
const MOST_PUSHED: &str = "104857600";

/// The same where files of as many bytes have to go through: what they are packed in comes on top.
const MOST_PUSHED_OF_BUNDLE: &str = "115343360";

/// The branches that are deployed.
pub(super) const DEPLOYED: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// No namespace begins with a dot.
const HOOKS: &str = ".hooks";

/// Settings of git, in place of those of machine, user and repository.
const SETTINGS: [(&str, &str); 19] = [
    ("http.receivepack", "true"),
    ("http.uploadpack", "true"),
    ("http.getanyfile", "false"),
    ("transfer.fsckObjects", "true"),
    // A history that was written anew may be pushed by force.
    ("receive.denyNonFastForwards", "false"),
    ("receive.shallowUpdate", "false"),
    ("receive.maxInputSize", MOST_PUSHED),
    ("receive.advertisePushOptions", "false"),
    // Packs stay as they came: unpacked, small differences of large files are large files each.
    ("receive.unpackLimit", "1"),
    // Large files go through piece by piece, in bounded memory.
    ("core.bigFileThreshold", "16m"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "64m"),
    // The one who pushes hears of a start meanwhile, and connections do not rest.
    ("receive.keepAlive", "5"),
    ("gc.auto", "1000"),
    ("gc.autoDetach", "false"),
    ("core.symlinks", "true"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("transfer.hideRefs", "refs/fermata"),
];

/// Where the branches of functions that were deleted are kept.
const DELETED: &str = "refs/fermata/deleted";

/// The file in a repository with the UID of the function that was pushed to.
const UID_FILE: &str = "fermata.uid";

/// Held while a repository is made: one process makes them all.
static MAKING: Mutex<()> = Mutex::new(());

/// The folder with files that are being deployed; no namespace begins with a dot.
const CHECKOUTS: &str = ".checkouts";

/// The file that is locked by who pushes.
const LOCK_FILE: &str = "fermata.lock";

/// Where the repositories of all functions are.
#[derive(Clone, Debug)]
pub(super) struct Root(PathBuf);

/// The repository of a function.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    root: Root,
    dir: PathBuf,
}

// === impl Root ===

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder with the hook that is asked before anything is taken.
    pub(super) fn prepare(&self) -> anyhow::Result<()> {
        let hooks = self.0.join(HOOKS);
        let hook = hooks.join("pre-receive");
        let text = format!("#!/bin/sh\nexec fermata {HOOK_COMMAND}\n");
        make_private_dir(&hooks)
            .and_then(|()| fs::write(&hook, text))
            .and_then(|()| fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)))
            .with_context(|| format!("cannot write {}", hook.display()))
    }

    /// Where the files of a commit are while they are deployed.
    pub(super) fn checkout(&self, namespace: &str, name: &str) -> PathBuf {
        self.0.join(CHECKOUTS).join(format!("{namespace}.{name}"))
    }

    /// The repository of a function, or that of its bundles.
    pub(super) fn repository(&self, namespace: &str, name: &str, bundles: bool) -> Repository {
        let suffix = if bundles { BUNDLES_SUFFIX } else { ".git" };
        Repository {
            root: self.clone(),
            dir: self.0.join(namespace).join(format!("{name}{suffix}")),
        }
    }

    /// Variables by which git knows its settings, for a repository of bundles or another one.
    pub(super) fn variables(&self, bundles: bool) -> Vec<(String, String)> {
        let mut variables: Vec<(String, String)> = [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            // What claims to be larger when it is unpacked is not taken.
            ("GIT_ALLOC_LIMIT", "256m"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let hooks = self.0.join(HOOKS).to_string_lossy().into_owned();
        let settings = SETTINGS
            .into_iter()
            .chain([("core.hooksPath", hooks.as_str())])
            // The last one counts.
            .chain(bundles.then_some(("receive.maxInputSize", MOST_PUSHED_OF_BUNDLE)));
        let mut count = 0;
        for (key, value) in settings {
            variables.push((format!("GIT_CONFIG_KEY_{count}"), key.to_owned()));
            variables.push((format!("GIT_CONFIG_VALUE_{count}"), value.to_owned()));
            count += 1;
        }
        variables.push(("GIT_CONFIG_COUNT".to_owned(), count.to_string()));
        variables
    }
}

// === impl Repository ===

impl Repository {
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    pub(super) fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// Makes it, if it is not there.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        // Two who push to it for the first time would take the half of it from each other.
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if self.exists() {
            return Ok(());
        }
        let new = self.dir.with_extension("new");
        let cannot = || format!("cannot make {}", self.dir.display());
        remove_dir(&new).with_context(cannot)?;
        make_private_dir(&new).with_context(cannot)?;
        let mut git = self.git();
        git.args([
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            "--template=",
        ]);
        output(git.arg(&new))?;
        fs::rename(&new, &self.dir).with_context(cannot)
    }

    /// Takes back what is deployed of it, so that the same commit is deployed by the next push.
    pub(super) fn forget(&self) -> anyhow::Result<()> {
        let mut list = self.git();
        list.arg("--git-dir").arg(&self.dir);
        list.args(["for-each-ref", "--format=%(refname)"]);
        let listed = output(list.args(DEPLOYED))?;
        for reference in String::from_utf8_lossy(&listed).lines() {
            // Nothing that was pushed is lost by it.
            let branch = reference.trim_start_matches("refs/heads/");
            let kept = format!("{DELETED}/{branch}");
            for arguments in [
                ["update-ref", &kept, reference],
                ["update-ref", "-d", reference],
            ] {
                let mut git = self.git();
                output(git.arg("--git-dir").arg(&self.dir).args(arguments))?;
            }
        }
        Ok(())
    }

    /// Makes it anew, with nothing in it: what was pushed is of somebody who may be another one, and git gives any
    /// object of a repository to whoever can name it.
    pub(super) fn begin_anew(&self) -> anyhow::Result<()> {
        let gone = self.dir.with_extension("gone");
        let cannot = || format!("cannot make {} anew", self.dir.display());
        remove_dir(&gone).with_context(cannot)?;
        fs::rename(&self.dir, &gone).with_context(cannot)?;
        self.make()?;
        remove_dir(&gone).with_context(cannot)
    }

    /// Whether anything was pushed to it.
    pub(super) fn has_references(&self) -> anyhow::Result<bool> {
        let mut list = self.git();
        list.arg("--git-dir").arg(&self.dir);
        Ok(!output(list.args(["for-each-ref", "--count=1"]))?.is_empty())
    }

    /// How many repositories its namespace has.
    pub(super) fn beside(&self) -> usize {
        let beside = self
            .dir
            .parent()
            .and_then(|parent| fs::read_dir(parent).ok());
        beside.map_or(0, Iterator::count)
    }

    /// Removes it if there is nothing in it, and the folder of its namespace if there is no other.
    pub(super) fn remove_if_empty(&self) -> anyhow::Result<()> {
        if self.has_references()? {
            return Ok(());
        }
        remove_dir(&self.dir)?;
        // One that others are in stays.
        let _ = self.dir.parent().map(fs::remove_dir);
        Ok(())
    }

    /// What told the function that was pushed to from others of its name, if one was.
    pub(super) fn uid(&self) -> Option<String> {
        fs::read_to_string(self.dir.join(UID_FILE)).ok()
    }

    /// Remembers to which function was pushed.
    pub(super) fn set_uid(&self, uid: Option<&str>) -> io::Result<()> {
        let file = self.dir.join(UID_FILE);
        let Some(uid) = uid else {
            return remove_file(&file);
        };
        let new = file.with_added_extension("new");
        fs::write(&new, uid)?;
        fs::rename(new, file)
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.env_clear()
            .envs(self.root.variables(false))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        git
    }

    /// The right to push, which is given back when the file is closed; `None` if somebody else has it.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.dir.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// What a command prints.
///
/// # Errors
///
/// With what it says when it fails.
pub(super) fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().context("git cannot be started")?;
    if !output.status.success() {
        bail!(
            "git {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

pub(super) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
