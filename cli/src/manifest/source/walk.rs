//! Which files of a folder, and of the folders below it, are a function's code.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
};

use anyhow::{anyhow, bail};
use fermata_crds::source_files::check_path;

use super::super::{
    document,
    folder::{Entry, Folder, MOST_LOOKED_AT},
};
use crate::output;

/// How many of the things that cannot be source are named.
const MOST_NAMED: usize = 20;

/// A file of a function.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path from the function's folder.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) size: u64,
}

/// The files of a folder and of those below it, without manifests beside them, folders with functions of
/// their own, and what is left out. Links are followed as long as they stay in the folder.
///
/// # Errors
///
/// With the names of everything that cannot be source, or when there is too much to look at.
pub(super) fn through(folder: &Folder) -> anyhow::Result<Vec<Found>> {
    let walk = Walk::through(folder)?;
    if walk.refused.is_empty() {
        return Ok(walk.found);
    }
    Err(refusal(&folder.dir, &walk.refused))
}

/// The same without a word about what cannot be source.
///
/// # Errors
///
/// When there is too much to look at.
pub(super) fn found(folder: &Folder) -> anyhow::Result<Vec<Found>> {
    Ok(Walk::through(folder)?.found)
}

/// The sentence about what cannot be source.
pub(super) fn refusal(dir: &Path, refused: &[String]) -> anyhow::Error {
    let named = &refused[..refused.len().min(MOST_NAMED)];
    let more = match refused.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    anyhow!(
        "{} cannot be source: {}{more}. Leave out what the function does not need in {}",
        dir.display(),
        named.join(", "),
        dir.join(".fermataignore").display()
    )
}

struct Walk<'a> {
    top: &'a Folder,
    looked_at: usize,
    found: Vec<Found>,
    /// Names, and why they cannot be source.
    refused: Vec<String>,
}

/// What an entry of a folder is to a function.
enum Part {
    File(u64),
    /// A folder, and where it is without links.
    Folder(PathBuf),
    /// No part of it.
    Nothing,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn through(folder: &'a Folder) -> anyhow::Result<Self> {
        let mut walk = Self {
            top: folder,
            looked_at: 0,
            found: Vec::new(),
            refused: Vec::new(),
        };
        walk.descend(folder, "", &mut vec![folder.real.clone()])?;
        Ok(walk)
    }

    /// `within` is where the folder is without links, after those that it is in.
    fn descend(
        &mut self,
        folder: &Folder,
        prefix: &str,
        within: &mut Vec<PathBuf>,
    ) -> anyhow::Result<()> {
        for entry in &folder.entries {
            self.looked_at += 1;
            if self.looked_at > MOST_LOOKED_AT {
                bail!(
                    "there are more than {MOST_LOOKED_AT} files in {}; leave out what the function does not need in {}",
                    self.top.dir.display(),
                    self.top.dir.join(".fermataignore").display()
                );
            }
            let name = format!("{prefix}{}", entry.name);
            let part = match self.part(folder, entry, &name, within) {
                Ok(part) => part,
                Err(why) => {
                    let name = output::name(&name);
                    self.refused.push(format!("{name} ({why})"));
                    continue;
                }
            };
            match part {
                Part::Nothing => {}
                Part::File(size) => self.found.push(Found {
                    name,
                    path: entry.path.clone(),
                    size,
                }),
                Part::Folder(real) => {
                    let below = folder.below(entry, real.clone())?;
                    if !below.has_functions() {
                        within.push(real);
                        self.descend(&below, &format!("{name}/"), within)?;
                        within.pop();
                    }
                }
            }
        }
        Ok(())
    }

    /// What the entry is, or why it cannot be source.
    fn part(
        &self,
        folder: &Folder,
        entry: &Entry,
        name: &str,
        within: &[PathBuf],
    ) -> Result<Part, String> {
        // A manifest that is broken is one all the same, and whoever reads it says so. Those in folders
        // below are nobody's: they are files as others are.
        let is_beside = within.len() == 1;
        if is_beside
            && document::is_candidate(&entry.path)
            && entry.is_file()
            && !matches!(document::find(&entry.path), Ok(None))
        {
            return Ok(Part::Nothing);
        }
        let Some(metadata) = &entry.target else {
            return Err("a link to nothing".to_owned());
        };
        if entry
            .path
            .file_name()
            .is_none_or(|name| name.to_str().is_none())
        {
            return Err("its name is no UTF-8 text".to_owned());
        }
        check_path(name).map_err(|error| error.to_string())?;
        let real = if entry.own.is_symlink() {
            self.target(entry)?
        } else {
            folder.real.join(&entry.name)
        };
        if metadata.is_dir() {
            if within.contains(&real) {
                return Err("a link to a folder that it is in".to_owned());
            }
            return Ok(Part::Folder(real));
        }
        size(metadata)
    }

    /// Where a link leads to.
    fn target(&self, entry: &Entry) -> Result<PathBuf, String> {
        let target = std::fs::canonicalize(&entry.path).map_err(|error| error.to_string())?;
        if target.starts_with(&self.top.real) {
            Ok(target)
        } else {
            Err("a link out of the folder".to_owned())
        }
    }
}

fn size(metadata: &Metadata) -> Result<Part, String> {
    if metadata.is_file() {
        Ok(Part::File(metadata.len()))
    } else {
        Err("no regular file".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn walked(dir: &Path) -> anyhow::Result<Vec<String>> {
        let found = through(&Folder::open(dir, dir)?)?;
        Ok(found.into_iter().map(|file| file.name).collect())
    }

    #[test]
    fn everything_that_cannot_be_source_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("f");
        write(dir.path(), "secret.txt", "x");
        write(&inside, "main.py", "x = 1\n");
        write(&inside, "lib/a\\b.py", "");
        write(&inside, "lib/a\nb.py", "");
        symlink("../secret.txt", inside.join("secret.txt")).unwrap();
        symlink("..", inside.join("lib/loop")).unwrap();
        symlink("nothing", inside.join("gone")).unwrap();
        let deep = ["d".repeat(100), "e".repeat(100), "f".repeat(60)].join("/");
        write(&inside, &deep, "");
        let error = walked(&inside).unwrap_err().to_string();
        for part in [
            "lib/a\\b.py (its path has a backslash or a control character)",
            "lib/a\\nb.py (its path has a backslash or a control character)",
            "secret.txt (a link out of the folder)",
            "lib/loop (a link to a folder that it is in)",
            "gone (a link to nothing)",
            "ffff (its path has more than 253 bytes)",
            ".fermataignore",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("main.py"), "{error}");

        let rules = "/lib/a*\nloop\n/d*\nsecret.txt\ngone\n";
        write(&inside, ".fermataignore", rules);
        assert_eq!(walked(&inside).unwrap(), ["main.py"]);
    }

    #[test]
    fn folders_below_come_along_and_those_of_other_functions_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let function = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: a}\n";
        write(dir, "function.yaml", function);
        write(dir, "main.py", "");
        write(dir, "shop/__init__.py", "");
        write(dir, "shop/data/prices v1.csv", "");
        write(dir, "shop/secret.yaml", "apiVersion: v1\nkind: Secret\n");
        write(dir, "other/function.yaml", function);
        write(dir, "other/main.py", "");
        write(dir, "shop/deep/other/function.yaml", function);
        write(dir, "tests/data.csv", "");
        fs::create_dir(dir.join("empty")).unwrap();
        symlink("shop/data", dir.join("data")).unwrap();
        symlink("../main.py", dir.join("shop/same.py")).unwrap();
        assert_eq!(
            walked(dir).unwrap(),
            [
                "data/prices v1.csv",
                "main.py",
                "shop/__init__.py",
                "shop/data/prices v1.csv",
                "shop/same.py",
                "shop/secret.yaml",
            ]
        );
    }

    #[test]
    fn what_is_no_manifest_is_source() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, "package.json", "{\"type\": \"module\"}");
        write(dir, "config.yaml", "kind: of\nvalues: [1]\n");
        let template = "{% for kind in all %}\n- a: [\n{% endfor %}\n";
        write(dir, "template.yaml", template);
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
        write(dir, "function.yaml", secret);
        let code = ["config.yaml", "package.json", "template.yaml"];
        assert_eq!(walked(dir).unwrap(), code);
    }

    #[test]
    fn too_many_files_are_told_and_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=MOST_LOOKED_AT {
            fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        let error = walked(dir.path()).unwrap_err().to_string();
        assert!(error.contains("more than 10000 files"), "{error}");
    }
}
