//! Folders that are too large for a manifest: each is a commit of its files in a repository that the platform keeps
//! for the function, and the manifest names that commit.
//!
//! The same files make the same commit, so that a folder that has not changed is neither sent nor deployed anew.

mod commit;
mod git;
mod key;
pub(crate) mod place;
mod push;
mod store;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub(crate) use self::store::Store;

/// The most bytes that the files may hold together: as much as is fetched of a repository.
pub(crate) const MOST_BYTES: u64 = 100 << 20;

/// The files of a folder as a commit, in a repository for it alone.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    commit: String,
    /// Until it is released.
    repository: Arc<Mutex<Option<TempDir>>>,
    /// How much it is, in words.
    size: String,
    /// The same, with where it is and which files are the largest.
    about: String,
}

/// A file of a bundle.
#[derive(Debug)]
pub(crate) struct File<'a> {
    /// Its path from the function's folder.
    pub(crate) name: &'a str,
    pub(crate) path: &'a std::path::Path,
    /// In bytes.
    pub(crate) size: u64,
}

/// Where a bundle is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// The repository, as the cluster reaches it.
    url: String,
    commit: String,
    /// The Secret with the key that reads it, where one is needed.
    secret: Option<String>,
}

// === impl Bundle ===

impl Bundle {
    /// Removes its repository, for all clones of it: it was brought to where it is kept.
    #[cfg(any(feature = "embedded", test))]
    pub(crate) fn release(&self) {
        drop(self.repository().take());
    }

    /// Where its repository is.
    ///
    /// # Errors
    ///
    /// When it was released.
    fn path(&self) -> anyhow::Result<PathBuf> {
        let repository = self.repository();
        let dir = repository.as_ref().context("the bundle is gone")?;
        Ok(dir.path().to_owned())
    }

    fn repository(&self) -> MutexGuard<'_, Option<TempDir>> {
        self.repository
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Bundle {
    fn eq(&self, other: &Self) -> bool {
        self.commit == other.commit
    }
}

// === impl Kept ===

impl Kept {
    /// Makes it the code of a `source`, which has no other.
    pub(crate) fn put(&self, source: &mut Map<String, Value>) {
        let mut git = json!({"url": self.url, "ref": self.commit});
        if let Some(secret) = &self.secret {
            git["secretName"] = json!(secret);
        }
        source.insert("git".into(), git);
    }
}
