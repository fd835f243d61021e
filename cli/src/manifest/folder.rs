//! What a folder holds, and the folders below it.

use std::{
    fs::{FileType, Metadata},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{document, ignored::Ignored};

/// How far below a named folder functions are looked for.
const DEEPEST: usize = 4;

/// The most folders that are looked into for functions.
const MOST_FOLDERS: usize = 1000;

/// The most files and folders that are looked at for one purpose.
pub(super) const MOST_LOOKED_AT: usize = 10_000;

/// A folder without what is left out.
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    /// The same with its links followed.
    pub(super) real: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// Files that say what is left out.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(dead_code, reason = "for who follows changes")
    )]
    pub(super) rules: Vec<PathBuf>,
    ignored: Ignored,
}

/// One entry of a folder.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// What it is itself; a link is a link.
    pub(super) own: FileType,
    /// What it leads to; absent for a link that leads nowhere.
    pub(super) target: Option<Metadata>,
}

// === impl Folder ===

impl Folder {
    /// Looks into a folder. Rules of folders above it count up to `top`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or what it leaves out is not said well.
    pub(super) fn open(dir: &Path, top: &Path) -> anyhow::Result<Self> {
        let ignored = Ignored::of(dir, top)?;
        let real = ignored.folder().to_owned();
        Self::read(dir.to_owned(), real, ignored)
    }

    /// Looks into a folder that is an entry of this one, or that the entry is a link to. `real` is where it
    /// is without links.
    ///
    /// # Errors
    ///
    /// As [`Folder::open`].
    pub(super) fn below(&self, entry: &Entry, real: PathBuf) -> anyhow::Result<Self> {
        let ignored = self.ignored.below(&entry.name)?;
        Self::read(entry.path.clone(), real, ignored)
    }

    fn read(dir: PathBuf, real: PathBuf, ignored: Ignored) -> anyhow::Result<Self> {
        let read = || format!("cannot read the directory {}", dir.display());
        let (mut entries, mut rules) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&dir).with_context(read)? {
            let entry = entry.with_context(read)?;
            let path = entry.path();
            // What goes away meanwhile is not there.
            let Ok(own) = entry.file_type() else { continue };
            let target = std::fs::metadata(&path).ok();
            let is_dir = target.as_ref().is_some_and(Metadata::is_dir);
            let name = entry.file_name().to_string_lossy().into_owned();
            if Ignored::is_rules(&name) {
                rules.push(path);
            } else if !ignored.leaves_out(&name, is_dir) {
                entries.push(Entry {
                    name,
                    path,
                    own,
                    target,
                });
            }
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self {
            dir,
            real,
            entries,
            rules,
            ignored,
        })
    }

    /// A folder and those below it in which functions are looked for, links excepted.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or there are too many.
    pub(super) fn tree(top: &Path) -> anyhow::Result<Vec<Self>> {
        let mut folders = vec![Self::open(top, top)?];
        let mut level = 0..1;
        for _ in 0..DEEPEST {
            let below = folders[level.clone()].iter().map(Self::folders);
            let below: usize = below.map(Iterator::count).sum();
            let seen: usize = folders.iter().map(|folder| folder.entries.len()).sum();
            if folders.len() + below > MOST_FOLDERS || seen > MOST_LOOKED_AT {
                bail!(
                    "there are more than {MOST_FOLDERS} folders or {MOST_LOOKED_AT} files in {}; name those of the functions one by one, or leave folders out in {}",
                    top.display(),
                    top.join(".fermataignore").display()
                );
            }
            let mut next = Vec::with_capacity(below);
            for folder in &folders[level.clone()] {
                for entry in folder.folders() {
                    next.push(folder.below(entry, folder.real.join(&entry.name))?);
                }
            }
            level = folders.len()..folders.len() + next.len();
            folders.append(&mut next);
        }
        Ok(folders)
    }

    /// A folder and those below it, as far down as they go, nearest first, links excepted; the first of
    /// them if they are too many. What cannot be read is not there.
    ///
    /// # Errors
    ///
    /// When the folder itself cannot be read.
    #[cfg(feature = "embedded")]
    pub(super) fn with_all_below(top: &Path) -> anyhow::Result<Vec<Self>> {
        let mut found = vec![Self::open(top, top)?];
        let (mut next, mut seen) = (0, 0);
        while next < found.len() && seen <= MOST_LOOKED_AT {
            let folder = &found[next];
            let below = folder
                .folders()
                .take(MOST_LOOKED_AT)
                .filter_map(|entry| folder.below(entry, folder.real.join(&entry.name)).ok());
            let mut below: Vec<Self> = below.collect();
            seen += folder.entries.len();
            found.append(&mut below);
            next += 1;
        }
        Ok(found)
    }

    fn folders(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.own.is_dir())
    }

    /// The files that may be manifests by their names.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Entry> {
        let named = |entry: &&Entry| document::is_candidate(&entry.path) && entry.is_file();
        self.entries.iter().filter(named)
    }

    /// Whether a manifest of a Function is in it.
    pub(super) fn has_functions(&self) -> bool {
        self.candidates()
            .any(|entry| document::speaks_of_functions(&entry.path))
    }
}

// === impl Entry ===

impl Entry {
    /// Whether it is a file, or a link to one.
    pub(super) fn is_file(&self) -> bool {
        self.target.as_ref().is_some_and(Metadata::is_file)
    }
}
