//! What cargo has compiled, kept from one build to the next on somebody's own machine, as Go does by itself.

use std::{
    env, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{settings::Bounds, tree};

/// The most that is kept; what is larger is removed as a whole, and grows anew.
const KEPT: Bounds = Bounds {
    bytes: 4 << 30,
    files: 100_000,
};

/// The folder with it. While this is there the folder is not removed.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) folder: PathBuf,
    _lock: File,
}

// === impl Compiled ===

impl Compiled {
    /// The user's own folder; none if there can be none, which costs time and nothing else.
    pub(super) fn open() -> Option<Self> {
        let given = |name| env::var_os(name).filter(|value| !value.is_empty());
        let caches = given("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(given("HOME")?).join(".cache")))?;
        Self::open_in(&caches.join("fermata"), KEPT).ok()
    }

    fn open_in(parent: &Path, bounds: Bounds) -> io::Result<Self> {
        let folder = parent.join("cargo");
        fs::create_dir_all(&folder)?;
        let lock = File::create(parent.join("cargo.lock"))?;
        // Not while another build is at it.
        if lock.try_lock().is_ok() {
            if tree::measure(&folder, bounds)?.exceeds(bounds) {
                tree::clear(&folder)?;
            }
            lock.unlock()?;
        }
        lock.lock_shared()?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_removed_when_nobody_is_at_it() {
        let parent = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            bytes: 10,
            files: 10,
        };
        let first = Compiled::open_in(parent.path(), bounds).unwrap();
        let file = first.folder.join("release");
        fs::write(&file, "more than ten bytes").unwrap();
        let second = Compiled::open_in(parent.path(), bounds).unwrap();
        assert!(file.exists());
        drop((first, second));
        Compiled::open_in(parent.path(), bounds).unwrap();
        assert!(!file.exists());
    }
}
