//! What cargo has compiled, kept from one build to the next on somebody's own machine, as Go does by itself.

use std::{
    env, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{settings::Bounds, tree};

/// The most that is kept in one folder; what is larger is removed as a whole, and grows anew.
const KEPT: Bounds = Bounds {
    bytes: 2 << 30,
    files: 100_000,
};

/// The folders. A build has one to itself, since cargo would wait for whoever else is at it, and that may hang.
const FOLDERS: [&str; 3] = ["cargo", "cargo-2", "cargo-3"];

/// A folder with it. While this is there no other build has the folder.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) folder: PathBuf,
    _lock: File,
}

// === impl Compiled ===

impl Compiled {
    /// One of the user's own folders; none if there can be none or others are at all of them, which costs time and
    /// nothing else.
    pub(super) fn open() -> Option<Self> {
        let given = |name| env::var_os(name).filter(|value| !value.is_empty());
        let caches = given("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(given("HOME")?).join(".cache")))?;
        Self::open_in(&caches.join("fermata"), KEPT).ok()?
    }

    fn open_in(parent: &Path, bounds: Bounds) -> io::Result<Option<Self>> {
        for name in FOLDERS {
            let folder = parent.join(name);
            fs::create_dir_all(&folder)?;
            let lock = File::create(parent.join(name).with_extension("lock"))?;
            if lock.try_lock().is_err() {
                continue;
            }
            if tree::measure(&folder, bounds)?.exceeds(bounds) {
                tree::clear(&folder)?;
            }
            return Ok(Some(Self {
                folder,
                _lock: lock,
            }));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_build_has_a_folder_to_itself_and_too_much_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            bytes: 10,
            files: 10,
        };
        let open = || Compiled::open_in(parent.path(), bounds).unwrap();
        let first = open().unwrap();
        let file = first.folder.join("release");
        fs::write(&file, "more than ten bytes").unwrap();
        let (second, third) = (open().unwrap(), open().unwrap());
        assert!(first.folder != second.folder && second.folder != third.folder);
        assert!(open().is_none());
        assert!(file.exists());
        drop(first);
        assert_eq!(open().unwrap().folder.join("release"), file);
        assert!(!file.exists());
    }
}
