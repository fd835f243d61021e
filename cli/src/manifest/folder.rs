//! What a folder holds, and the folders below it.

use std::{
    fs::{FileType, Metadata},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{document, ignored::Ignored};

/// How far below a named folder functions are looked for.
const DEEPEST: usize = 4;

/// The most folders that are looked into.
const MOST_FOLDERS: usize = 1000;

/// A folder without what is left out.
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    /// The same with its links followed.
    pub(super) real: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// Files that say what is left out.
    pub(super) rules: Vec<PathBuf>,
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
        let read = || format!("cannot read the directory {}", dir.display());
        let (mut entries, mut rules) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(dir).with_context(read)? {
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
            dir: dir.to_owned(),
            real: ignored.folder().to_owned(),
            entries,
            rules,
        })
    }

    /// A folder and those below it, links excepted.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or there are too many.
    pub(super) fn tree(top: &Path) -> anyhow::Result<Vec<Self>> {
        let mut folders = vec![Self::open(top, top)?];
        let mut level = 0..1;
        for _ in 0..DEEPEST {
            let below: Vec<PathBuf> = folders[level.clone()]
                .iter()
                .flat_map(Self::folders)
                .map(|entry| entry.path.clone())
                .collect();
            if folders.len() + below.len() > MOST_FOLDERS {
                bail!(
                    "there are more than {MOST_FOLDERS} folders in {}; name those of the functions one by one, or leave folders out in {}",
                    top.display(),
                    top.join(".fermataignore").display()
                );
            }
            level = folders.len()..folders.len() + below.len();
            for dir in below {
                folders.push(Self::open(&dir, top)?);
            }
        }
        Ok(folders)
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

    /// Whether it is a folder, or a link to one.
    pub(super) fn is_folder(&self) -> bool {
        self.target.as_ref().is_some_and(Metadata::is_dir)
    }
}
