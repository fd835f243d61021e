//! What a push that was killed leaves in a repository: nobody goes on with it, and it takes room.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{CHECKOUTS, LOCK_FILE, Repository, Root, remove_dir, remove_file};

/// How far below a folder is looked: names of branches are bounded by git, and mostly are one folder deep.
const DEEPEST: usize = 16;

// === impl Root ===

impl Root {
    /// All repositories, each with its namespace and its name.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read.
    pub(in super::super) fn repositories(&self) -> io::Result<Vec<(String, String, Repository)>> {
        let mut repositories = Vec::new();
        for (namespace, folder) in entries(&self.0)? {
            if namespace.starts_with('.') || !folder.is_dir() {
                continue;
            }
            for (name, dir) in entries(&folder)? {
                if name.ends_with(".gone") {
                    remove_dir(&dir)?;
                }
                if let Some(name) = name.strip_suffix(".git") {
                    let root = self.clone();
                    let name = name.to_owned();
                    repositories.push((namespace.clone(), name, Repository { root, dir }));
                }
            }
        }
        Ok(repositories)
    }

    /// Removes the files that hooks were deploying which are not there any more.
    ///
    /// # Errors
    ///
    /// When they cannot be looked at or removed.
    pub(in super::super) fn remove_checkouts(&self) -> io::Result<()> {
        for (function, dir) in entries(&self.0.join(CHECKOUTS))? {
            // A namespace has no dot.
            let Some((namespace, name)) = function.split_once('.') else {
                continue;
            };
            let repository = self.repository(namespace, name, false);
            let held = repository.exists().then(|| repository.lock()).transpose()?;
            if !matches!(held, Some(None)) {
                remove_dir(&dir)?;
            }
        }
        Ok(())
    }
}

// === impl Repository ===

impl Repository {
    /// Removes what pushes that were killed have left, unless one is under way.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at or removed.
    pub(in super::super) fn tidy_up(&self, age: Duration) -> io::Result<()> {
        let left = self.leftovers(age)?;
        if !left.is_empty()
            && let Some(_held) = self.lock()?
        {
            // Whoever has written one of these anew meanwhile had the right to push, and is gone.
            remove(&left)?;
        }
        Ok(())
    }

    /// Whether there is anything of the kind; what a push under way works with is too.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub(in super::super) fn has_leftovers(&self) -> io::Result<bool> {
        Ok(!self.leftovers(Duration::ZERO)?.is_empty())
    }

    /// Removes what is so old, for whoever holds the right to push. Those who hear that another push is under way write
    /// here meanwhile too.
    ///
    /// # Errors
    ///
    /// As [`Repository::tidy_up`].
    pub(in super::super) fn remove_leftovers(&self, age: Duration) -> io::Result<()> {
        remove(&self.leftovers(age)?)
    }

    /// Files that git writes and then gives another name, or removes.
    fn leftovers(&self, age: Duration) -> io::Result<Vec<PathBuf>> {
        let mut left = Vec::new();
        let is_lock = |name: &str| is_lock(name) && name != LOCK_FILE;
        find(
            &self.dir,
            1,
            &|name| is_lock(name) || name == "gc.pid",
            &mut left,
        )?;
        find(&self.dir.join("refs"), DEEPEST, &is_lock, &mut left)?;
        let is_temporary = |name: &str| {
            is_lock(name)
                || ["tmp_", ".tmp-", "incoming-"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        };
        find(&self.dir.join("objects"), 2, &is_temporary, &mut left)?;
        let now = SystemTime::now();
        left.retain(|path| {
            let changed = path.symlink_metadata().and_then(|found| found.modified());
            // One that is gone meanwhile is nobody's.
            changed.is_ok_and(|changed| now.duration_since(changed).unwrap_or_default() >= age)
        });
        Ok(left)
    }
}

fn remove(left: &[PathBuf]) -> io::Result<()> {
    for path in left {
        if path.is_dir() {
            remove_dir(path)?;
        } else {
            remove_file(path)?;
        }
    }
    Ok(())
}

/// No branch and no tag has such a name (git-check-ref-format).
fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "lock")
}

/// Collects what has such a name in a folder, and in those below it as far as `depth` goes.
fn find(
    folder: &Path,
    depth: usize,
    is_left: &dyn Fn(&str) -> bool,
    left: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for (name, path) in entries(folder)? {
        if is_left(&name) {
            left.push(path);
        } else if depth > 1 && path.is_dir() {
            find(&path, depth - 1, is_left, left)?;
        }
    }
    Ok(())
}

/// What is in a folder, by name; nothing if it is not there.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_push_leaves_goes_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path().to_owned());
        let repository = root.repository("shop", "orders", false);
        let write = |name: &str| {
            let path = repository.dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            path
        };
        let goes = [
            "objects/tmp_objdir-incoming-a1/pack/tmp_pack_b",
            "objects/pack/tmp_pack_c",
            "objects/pack/.tmp-1-pack-d",
            "objects/ab/tmp_obj_e",
            "objects/info/commit-graph.lock",
            "refs/heads/team/main.lock",
            "packed-refs.lock",
            "gc.pid",
        ]
        .map(write);
        let stays = [
            "objects/pack/pack-1.pack",
            "objects/ab/cdef",
            "refs/heads/team/tmp_x",
            "packed-refs",
            "fermata.uid",
            "fermata.lock",
        ]
        .map(write);
        let held = repository.lock().unwrap().unwrap();
        repository.tidy_up(Duration::ZERO).unwrap();
        assert!(goes.iter().all(|path| path.exists()));
        drop(held);
        repository.tidy_up(Duration::ZERO).unwrap();
        let left: Vec<_> = goes.iter().filter(|path| path.exists()).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(
            !repository
                .dir
                .join("objects/tmp_objdir-incoming-a1")
                .exists()
        );
        let gone: Vec<_> = stays.iter().filter(|path| !path.exists()).collect();
        assert!(gone.is_empty(), "{gone:?}");
        let all = root.repositories().unwrap();
        let (namespace, name, _) = &all[0];
        assert_eq!(
            (namespace.as_str(), name.as_str(), all.len()),
            ("shop", "orders", 1)
        );
    }
}
