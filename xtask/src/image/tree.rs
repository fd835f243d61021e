//! Files of a layer, in memory.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Context as _;

/// Files by their path, which is relative to the root. Everything belongs to root, and nothing has
/// a time.
#[derive(Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// A file, folder or link.
#[derive(Debug)]
pub(super) struct Entry {
    /// Permissions.
    pub(super) mode: u32,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Folder,
    File(Vec<u8>),
    Link(String),
}

impl Tree {
    /// What every image has: users, and a place for temporary files.
    pub(super) fn add_basics(&mut self, user: u32) {
        let users = format!(
            "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{user}:{user}:nonroot:/tmp:/sbin/nologin\n"
        );
        self.add_file("etc/passwd", 0o644, users);
        self.add_file(
            "etc/group",
            0o644,
            format!("root:x:0:\nnonroot:x:{user}:\n"),
        );
        self.add_folder("tmp", 0o1777);
    }

    pub(super) fn add_file(
        &mut self,
        path: impl Into<String>,
        mode: u32,
        content: impl Into<Vec<u8>>,
    ) {
        self.add(path.into(), mode, Content::File(content.into()));
    }

    pub(super) fn add_folder(&mut self, path: impl Into<String>, mode: u32) {
        self.add(path.into(), mode, Content::Folder);
    }

    /// Adds an entry, and the folders that lead to it where they are missing.
    fn add(&mut self, path: String, mode: u32, content: Content) {
        for (end, _) in path.match_indices('/') {
            self.entries.entry(path[..end].to_owned()).or_insert(Entry {
                mode: 0o755,
                content: Content::Folder,
            });
        }
        self.entries.insert(path, Entry { mode, content });
    }

    /// Adds what a folder of this machine holds, as far as it is wanted. What is neither file,
    /// folder nor link is left out.
    pub(super) fn add_all(
        &mut self,
        root: &Path,
        wanted: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let here = root.join(&folder);
            let entries =
                fs::read_dir(&here).with_context(|| format!("cannot read {}", here.display()))?;
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let name = name
                    .to_str()
                    .with_context(|| format!("{} is no UTF-8", entry.path().display()))?;
                let path = if folder.is_empty() {
                    name.to_owned()
                } else {
                    format!("{folder}/{name}")
                };
                if !wanted(&path) {
                    continue;
                }
                let kind = entry.file_type()?;
                let mode = entry.metadata()?.permissions().mode() & 0o7777;
                if kind.is_dir() {
                    self.add_folder(path.clone(), mode);
                    folders.push(path);
                } else if kind.is_file() {
                    self.add_file(path, mode, fs::read(entry.path())?);
                } else if kind.is_symlink() {
                    let target = fs::read_link(entry.path())?;
                    let target = target
                        .to_str()
                        .context("a link leads to what is no UTF-8")?;
                    self.add(path, 0o777, Content::Link(target.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// All entries; a folder goes before what it holds.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }
}
