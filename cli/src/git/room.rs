//! How much room there is for repositories, where many share it.

use std::{
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::repository::Root;

/// What stays free, in bytes.
const FREE: u64 = 256 * 1024 * 1024;

/// What stays free of all there is, and what one namespace may take of it.
const FREE_SHARE: u64 = 10;
const NAMESPACE_SHARE: u64 = 4;

/// For how long what was counted counts.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// The folder of the repositories, and how much may be in it.
pub(super) struct Room {
    /// The most bytes, if the file system has more than are for this.
    capacity: Option<u64>,
    counted: Mutex<Option<(Instant, u64)>>,
}

/// How much there is, in bytes.
#[derive(Clone, Copy, Debug)]
struct Space {
    size: u64,
    free: u64,
    of_namespace: u64,
}

/// There is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoRoom {
    /// For nobody.
    #[error(
        "there is no room for pushes: {} MiB are free; an administrator can give the repositories a larger volume",
        .0 >> 20
    )]
    ForAll(u64),
    /// For the namespace.
    #[error(
        "the repositories of this namespace take {} MiB, which is as much as one namespace may; delete a function and push it anew, or ask an administrator for a larger volume",
        .0 >> 20
    )]
    ForNamespace(u64),
}

// === impl Room ===

impl Room {
    pub(super) fn new(capacity: Option<u64>) -> Self {
        Self {
            capacity,
            counted: Mutex::default(),
        }
    }

    /// Whether there is room for a push to a function of the namespace. It looks at all repositories: not for
    /// threads that must not wait.
    ///
    /// # Errors
    ///
    /// When the folder cannot be looked at. Within that, whether there is room.
    pub(super) fn check(&self, root: &Root, namespace: &str) -> io::Result<Result<(), NoRoom>> {
        let system = rustix::fs::statvfs(root.path())?;
        let (all, free) = (
            system.f_blocks.saturating_mul(system.f_frsize),
            system.f_bavail.saturating_mul(system.f_frsize),
        );
        let (size, free) = match self.capacity.filter(|capacity| *capacity < all) {
            Some(capacity) => {
                let used = self.used(root.path())?;
                (capacity, free.min(capacity.saturating_sub(used)))
            }
            None => (all, free),
        };
        let space = Space {
            size,
            free,
            of_namespace: size_of(&root.path().join(namespace))?,
        };
        Ok(space.check())
    }

    fn used(&self, root: &Path) -> io::Result<u64> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, used)) = *counted
            && at.elapsed() < KNOWN_FOR
        {
            return Ok(used);
        }
        let used = size_of(root)?;
        *counted = Some((Instant::now(), used));
        Ok(used)
    }
}

// === impl Space ===

impl Space {
    fn check(self) -> Result<(), NoRoom> {
        if self.free < FREE.max(self.size / FREE_SHARE) {
            return Err(NoRoom::ForAll(self.free));
        }
        if self.of_namespace > self.size / NAMESPACE_SHARE {
            return Err(NoRoom::ForNamespace(self.of_namespace));
        }
        Ok(())
    }
}

/// The bytes that the files below a folder take, if there is one. What goes meanwhile takes none.
fn size_of(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;

    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut folders = vec![folder.to_owned()];
    let mut size = 0_u64;
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if gone(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                // In blocks of 512 bytes, as POSIX has it.
                Ok(metadata) => size = size.saturating_add(metadata.blocks().saturating_mul(512)),
                Err(error) if gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(size: u64, free: u64, of_namespace: u64) -> Result<(), NoRoom> {
        let space = Space {
            size,
            free,
            of_namespace,
        };
        space.check()
    }

    #[test]
    fn some_stays_free_and_a_namespace_has_its_share() {
        assert_eq!(space(4 * GIB, 2 * GIB, GIB), Ok(()));
        assert_eq!(
            space(4 * GIB, 2 * GIB, GIB + 1),
            Err(NoRoom::ForNamespace(GIB + 1))
        );
        // A tenth of a large volume, and 256 MiB of a small one.
        assert_eq!(space(100 * GIB, 9 * GIB, 0), Err(NoRoom::ForAll(9 * GIB)));
        assert_eq!(space(GIB, FREE - 1, 0), Err(NoRoom::ForAll(FREE - 1)));
        assert_eq!(space(GIB, FREE, 0), Ok(()));
        let said = NoRoom::ForAll(FREE - 1).to_string();
        assert!(said.contains("255 MiB are free"), "{said}");
    }

    #[test]
    fn what_is_in_folders_below_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        let below = dir.path().join("shop/orders.git");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("pack"), vec![1; 1 << 20]).unwrap();
        assert!(size_of(dir.path()).unwrap() >= 1 << 20);
        assert_eq!(size_of(&dir.path().join("blog")).unwrap(), 0);
        let full = Room::new(Some(FREE)).check(&root, "shop").unwrap();
        assert!(matches!(full, Err(NoRoom::ForAll(_))), "{full:?}");
    }
}
