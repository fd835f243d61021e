//! What an init container leaves in a volume, kept for pods whose init container would do the same again.
//!
//! A result stands in a folder of its own, `<key>/<name>`, where the key says what it was made from. It is
//! made in `<key>.part`, by one pod at a time, and gets its name when it is whole.

mod folder;
mod garbage;
mod inputs;
mod recipe;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::SystemTime,
};

use tokio::sync::{Mutex as Locks, OwnedMutexGuard};

pub(super) use self::{folder::lead_to, recipe::Recipe};

/// Which results of init containers are kept.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Where they are kept. They outlive the node.
    pub dir: PathBuf,
    /// The name of the init containers.
    pub container: String,
    /// The `emptyDir` volume that they fill.
    pub volume: String,
    /// An annotation of pods; those with another value have another result.
    pub annotation: String,
}

/// Why a result cannot be kept or used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub(super) struct Error {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The results that are kept. Clones are the same.
#[derive(Clone)]
pub(super) struct BuildCache {
    inner: Arc<Inner>,
}

struct Inner {
    keep: Keep,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who makes a result has the lock of its key.
    locks: HashMap<String, Weak<Locks<()>>>,
    /// The results that each pod uses, by its uid.
    users: HashMap<String, HashSet<String>>,
}

/// A pod's lock at a key: nobody else makes this result.
pub(super) struct BuildLock {
    cache: BuildCache,
    key: String,
    _guard: OwnedMutexGuard<()>,
}

// === impl BuildCache ===

impl BuildCache {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            inner: Arc::new(Inner {
                keep,
                state: Mutex::default(),
            }),
        }
    }

    pub(super) fn keep(&self) -> &Keep {
        &self.inner.keep
    }

    /// Clears away what builds of an earlier run have left, and what is no longer needed.
    pub(super) fn prepare(&self) -> io::Result<()> {
        clear_parts(&self.keep().dir, folder::remove)?;
        // What cannot go is in nobody's way.
        if let Err(error) = self.sweep() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                dir = %self.keep().dir.display(),
                "kept results cannot be cleared away"
            );
        }
        Ok(())
    }

    /// The lock at a key, if nobody has it.
    pub(super) fn try_lock(&self, key: &str) -> Option<BuildLock> {
        let lock = self.locks(key).try_lock_owned().ok()?;
        Some(self.lock_of(key, lock))
    }

    /// The lock at a key. Cancel safe: others are not kept waiting.
    pub(super) async fn lock(&self, key: &str) -> BuildLock {
        let lock = self.locks(key).lock_owned().await;
        self.lock_of(key, lock)
    }

    /// The pod has ended: what it has used may go when nobody else needs it.
    pub(super) async fn release(&self, pod: &str) {
        let Some(used) = self.state().users.remove(pod) else {
            return;
        };
        let store = self.clone();
        let swept = tokio::task::spawn_blocking(move || {
            for key in used {
                folder::touch(&store.place(&key))?;
            }
            store.sweep()
        });
        if let Ok(Err(error)) = swept.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "kept results cannot be cleared away"
            );
        }
    }

    /// Removes the results that are no longer needed.
    fn sweep(&self) -> io::Result<()> {
        let mut gone = Vec::new();
        {
            // Nobody begins to use a result meanwhile.
            let state = self.state();
            let mut unused = Vec::new();
            for entry in fs::read_dir(&self.keep().dir)? {
                let entry = entry?;
                let key = entry.file_name().to_string_lossy().into_owned();
                let used = state.users.values().any(|keys| keys.contains(&key));
                if recipe::is_key(&key) && !used {
                    unused.push((key, entry.metadata()?.modified()?));
                }
            }
            for key in garbage::unneeded(unused, SystemTime::now()) {
                let place = self.place(&key).with_extension("gone");
                gone.push(fs::rename(self.place(&key), &place).map(|()| place));
            }
        }
        // Each of them, also after one that stays.
        let removed = gone
            .into_iter()
            .map(|place| place.and_then(|place| folder::remove(&place)));
        removed.fold(Ok(()), Result::and)
    }

    fn place(&self, key: &str) -> PathBuf {
        self.keep().dir.join(key)
    }

    fn locks(&self, key: &str) -> Arc<Locks<()>> {
        let mut state = self.state();
        state.locks.retain(|_, locks| locks.strong_count() > 0);
        if let Some(locks) = state.locks.get(key).and_then(Weak::upgrade) {
            return locks;
        }
        let locks = Arc::default();
        state.locks.insert(key.to_owned(), Arc::downgrade(&locks));
        locks
    }

    fn lock_of(&self, key: &str, lock: OwnedMutexGuard<()>) -> BuildLock {
        BuildLock {
            cache: self.clone(),
            key: key.to_owned(),
            _guard: lock,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl BuildLock ===

impl BuildLock {
    /// The result, if it is there; the pod uses it from now on.
    pub(super) fn kept(&self, pod: &str, name: &Path) -> Result<Option<PathBuf>, Error> {
        let place = self.cache.place(&self.key);
        let mut state = self.cache.state();
        let folder = place.join(name);
        if !folder.is_dir() {
            return Ok(None);
        }
        folder::touch(&place).map_err(|source| failed("use the result", &place, source))?;
        let used = state.users.entry(pod.to_owned()).or_default();
        used.insert(self.key.clone());
        Ok(Some(folder))
    }

    /// An empty folder to make the result in.
    pub(super) async fn begin(&self, name: &Path) -> Result<PathBuf, Error> {
        let part = self.part();
        let folder = part.join(name);
        let made = {
            let folder = folder.clone();
            blocking(move || {
                folder::remove(&part)?;
                folder::make(&folder)
            })
        };
        made.await
            .map_err(|source| failed("make the folder", &folder, source))?;
        Ok(folder)
    }

    /// The result is whole: it is kept, and the pod uses it.
    pub(super) async fn finish(&self, pod: &str, name: &Path) -> Result<PathBuf, Error> {
        let (part, place) = (self.part(), self.cache.place(&self.key));
        let folder = part.join(name);
        blocking(move || folder::protect(&folder))
            .await
            .map_err(|source| failed("keep the result", &place, source))?;
        let mut state = self.cache.state();
        fs::rename(part, &place).map_err(|source| failed("keep the result", &place, source))?;
        let used = state.users.entry(pod.to_owned()).or_default();
        used.insert(self.key.clone());
        Ok(place.join(name))
    }

    /// It was not made, and what there is of it goes.
    pub(super) async fn discard(&self) -> Result<(), Error> {
        let part = self.part();
        let removed = blocking({
            let part = part.clone();
            move || folder::remove(&part)
        });
        removed
            .await
            .map_err(|source| failed("remove the folder", &part, source))
    }

    fn part(&self) -> PathBuf {
        self.cache.place(&self.key).with_extension("part")
    }
}

/// Removes what is no result. An entry that cannot be removed stays, and is told: it keeps nobody from starting.
fn clear_parts(dir: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if recipe::is_key(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if let Err(error) = remove(&entry.path()) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                path = %entry.path().display(),
                "what is left of a build cannot be removed; remove it by hand"
            );
        }
    }
    Ok(())
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> Error {
    Error {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Works on files where nothing else has to wait for it.
async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_cannot_be_removed_keeps_no_other() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.part", "b.part", "c.part"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let remove = |path: &Path| match path.file_name() {
            Some(name) if name == "b.part" => Err(io::ErrorKind::PermissionDenied.into()),
            _ => folder::remove(path),
        };
        clear_parts(dir.path(), remove).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].file_name(), "b.part");
    }
}
