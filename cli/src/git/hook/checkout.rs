//! The files of a commit, in a folder of their own.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::super::repository::{self, Root};
use crate::bundle;

/// The most files of a commit.
const MOST_FILES: usize = 10_000;

/// The most bytes that they have together. What is deployed of them has a bound of its own.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// The longest list of files that is read: what a commit of little size lists may never end.
const MOST_LISTED: u64 = 16 * 1024 * 1024;

/// The files of a commit. Dropping it removes them.
pub(super) struct Checkout {
    dir: PathBuf,
}

// === impl Checkout ===

impl Checkout {
    /// Writes the files of a commit. One function has one at a time.
    ///
    /// # Errors
    ///
    /// When there is too much of it, or something that is in no commit.
    pub(super) fn make(
        root: &Root,
        namespace: &str,
        name: &str,
        commit: &str,
    ) -> anyhow::Result<Self> {
        // Where the hook runs: in the repository, with what was pushed.
        check(&String::from_utf8_lossy(&list(commit)?), MOST_BYTES)?;
        let dir = root.checkout(namespace, name);
        let checkout = Self { dir };
        let cannot = || format!("cannot write to {}", checkout.dir.display());
        repository::remove_dir(&checkout.dir).with_context(cannot)?;
        // Rules of what is left out hold up to here, as in the repository that was pushed.
        repository::make_private_dir(&checkout.dir.join(".git")).with_context(cannot)?;
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.args(arguments)
                .env("GIT_INDEX_FILE", checkout.dir.join(".git/index"))
                .env("GIT_WORK_TREE", &checkout.dir);
            repository::output(&mut git)
        };
        git(&["read-tree", commit])?;
        git(&["checkout-index", "--all", "--force"])?;
        Ok(checkout)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // The next one would remove it too.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Looks whether what a bundle holds can be fetched where the function runs.
///
/// # Errors
///
/// When there is too much of it, or it is anything but one commit with plain files.
pub(super) fn check_bundle(commit: &str) -> anyhow::Result<()> {
    let mut git = Command::new("git");
    git.args(["rev-list", "--max-count=2", "--count", commit]);
    let count = repository::output(&mut git)?;
    if count.trim_ascii() != b"1" {
        bail!("{commit} has a history, and a bundle has none");
    }
    let listed = list(commit)?;
    let listed = String::from_utf8_lossy(&listed);
    if listed
        .split_terminator('\0')
        .any(|entry| !entry.starts_with("100"))
    {
        bail!("{commit} has a link or a submodule, and a bundle has files alone");
    }
    // Everything of it is fetched.
    check(&listed, bundle::MOST_BYTES)
}

/// What git lists of a commit.
fn list(commit: &str) -> anyhow::Result<Vec<u8>> {
    let mut git = Command::new("git")
        .args(["ls-tree", "-r", "-z", "--long", commit])
        .stdout(Stdio::piped())
        .spawn()
        .context("git cannot be started")?;
    let mut listed = Vec::new();
    if let Some(stdout) = git.stdout.take() {
        stdout.take(MOST_LISTED + 1).read_to_end(&mut listed)?;
    }
    if listed.len() as u64 > MOST_LISTED {
        git.kill()?;
        git.wait()?;
        bail!(
            "the commit lists more than {MOST_LISTED} bytes of files, and at most {MOST_FILES} files are taken"
        );
    }
    let status = git.wait()?;
    if !status.success() {
        bail!("git cannot list the files of {commit}: {status}");
    }
    Ok(listed)
}

/// Looks at what `git ls-tree -r -z --long` prints: `MODE TYPE OBJECT SIZE<tab>PATH` each.
fn check(listed: &str, most_bytes: u64) -> anyhow::Result<()> {
    let (mut files, mut bytes) = (0_usize, 0_u64);
    for entry in listed.split_terminator('\0') {
        let (entry, path) = entry.split_once('\t').unwrap_or((entry, ""));
        let mut fields = entry.split_whitespace();
        if fields.next() == Some("160000") {
            bail!("{path} is a submodule; add its files to the repository instead");
        }
        files += 1;
        let size: u64 = fields
            .nth(2)
            .and_then(|size| size.parse().ok())
            .unwrap_or(0);
        bytes = bytes.saturating_add(size);
    }
    if files > MOST_FILES || bytes > most_bytes {
        bail!(
            "the commit has {files} files with {bytes} bytes, and at most {MOST_FILES} with {most_bytes} are taken"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listed: &str) -> anyhow::Result<()> {
        super::check(listed, MOST_BYTES)
    }

    #[test]
    fn too_much_and_submodules_are_refused() {
        let file = |size: u64| format!("100644 blob abc {size:>7}\tmain.py\0");
        assert!(check(&file(10)).is_ok());
        assert!(check("120000 blob abc       7\tlink\0").is_ok());
        let error = check(&file(MOST_BYTES + 1)).unwrap_err().to_string();
        assert!(error.contains("1 files"), "{error}");
        assert!(check(&file(1).repeat(MOST_FILES + 1)).is_err());
        let error = check("160000 commit abc       -\tlib/x\0").unwrap_err();
        assert!(error.to_string().contains("lib/x is a submodule"));
    }
}
