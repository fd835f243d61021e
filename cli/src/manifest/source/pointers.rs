//! Files that Git LFS keeps. Where it has not fetched one, a few lines stand in its place that say what it is: a function
//! that got these would only find out when it reads them.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::walk::Found;
use crate::{git::Within, output};

/// What a pointer begins with (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>), and how large it may be.
const BEGIN: &[u8] = b"version https://git-lfs.github.com/spec/v1";
const LARGEST: u64 = 1024;

/// By which a folder says which files Git LFS keeps (<https://git-scm.com/docs/gitattributes>).
const ATTRIBUTES: &str = ".gitattributes";

/// The most bytes of it that are read.
const MOST_ATTRIBUTES: u64 = 1024 * 1024;

/// How many pointers are named.
const MOST_NAMED: usize = 5;

/// Refuses files that Git LFS keeps and that are not there but for their pointers. A file that only looks like one stays
/// as it is.
///
/// # Errors
///
/// With their names and the way out, if there are any.
pub(super) fn refuse(dir: &Path, found: &[Found]) -> anyhow::Result<()> {
    let mut repository = Repository::default();
    let mut pointers = found
        .iter()
        .filter(|file| is_pointer(file) && repository.keeps(dir, &file.path));
    let named: Vec<String> = pointers
        .by_ref()
        .take(MOST_NAMED)
        .map(|file| output::name(&file.name).to_string())
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    let more = match pointers.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = named.join(", ");
    Err(if Within::of_environment().is_some() {
        anyhow!(
            "Git LFS keeps what belongs to {named}{more}, and a push brings no more than its pointers. Name the repository in source.git of a manifest, from where it is fetched; or store the files themselves: git lfs untrack PATTERN, git add --renormalize ."
        )
    } else {
        anyhow!(
            "{named}{more} in {} cannot be source: Git LFS keeps what belongs there, and a pointer is all that is there. Fetch it with git lfs pull, or leave it out in {}",
            dir.display(),
            dir.join(".fermataignore").display()
        )
    })
}

fn is_pointer(file: &Found) -> bool {
    let begins = || {
        let mut begin = Vec::new();
        let open = File::open(&file.path).ok()?;
        // What cannot be read is told elsewhere.
        open.take(BEGIN.len() as u64).read_to_end(&mut begin).ok()?;
        Some(begin == BEGIN)
    };
    file.size <= LARGEST && begins() == Some(true)
}

/// What a repository, or a folder that is in none, says of its files.
#[derive(Default)]
struct Repository {
    /// The rules of its folders.
    rules: HashMap<PathBuf, Option<Gitignore>>,
}

// === impl Repository ===

impl Repository {
    /// Whether Git LFS keeps a file below this folder. The nearest rule that says anything decides.
    fn keeps(&mut self, dir: &Path, file: &Path) -> bool {
        let (Ok(dir), Ok(file)) = (dir.canonicalize(), file.canonicalize()) else {
            return false;
        };
        let folders = || file.ancestors().skip(1);
        let top = folders()
            .find(|folder| folder.join(".git").exists())
            .or_else(|| folders().find(|folder| *folder == dir))
            .or_else(|| file.parent())
            .map(ToOwned::to_owned);
        for folder in folders() {
            let rules = self.rules.entry(folder.to_owned());
            let said = rules
                .or_insert_with(|| rules_of(folder))
                .as_ref()
                .map(|rules| rules.matched(&file, false));
            if let Some(said) = said.filter(|said| !said.is_none()) {
                return said.is_ignore();
            }
            if top.as_deref() == Some(folder) {
                break;
            }
        }
        false
    }
}

/// The patterns of a folder for what Git LFS keeps, as those of files that are ignored, since git has them alike; those
/// for what it does not keep are exceptions.
fn rules_of(folder: &Path) -> Option<Gitignore> {
    let path = folder.join(ATTRIBUTES);
    // Git follows no link here either.
    let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
    let mut text = Vec::new();
    let open = is_file.then(|| File::open(&path).ok()).flatten()?;
    open.take(MOST_ATTRIBUTES).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut builder = GitignoreBuilder::new(folder);
    for (pattern, keeps) in text.lines().filter_map(rule) {
        let line = if keeps {
            pattern
        } else {
            format!("!{pattern}")
        };
        // Git has no use for what is no pattern.
        let _ = builder.add_line(None, &line);
    }
    builder.build().ok()
}

/// A line's pattern, and whether Git LFS keeps what it is for; nothing if it does not speak of that.
fn rule(line: &str) -> Option<(String, bool)> {
    let line = line.trim_start_matches('\u{feff}').trim();
    let (pattern, attributes) = match line.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let (pattern, attributes) = line.split_once(char::is_whitespace)?;
            (pattern.to_owned(), attributes)
        }
    };
    if pattern.starts_with(['#', '!']) || pattern.starts_with("[attr]") {
        return None;
    }
    let keeps = attributes
        .split_whitespace()
        .rev()
        .find_map(|attribute| match attribute {
            "filter=lfs" => Some(true),
            "filter" | "-filter" | "!filter" => Some(false),
            other => other.starts_with("filter=").then_some(false),
        })?;
    // Git LFS writes a space so, and names of classes are not known here.
    Some((pattern.replace("[[:space:]]", "?"), keeps))
}

/// A pattern in quotes, without them, and what follows.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut pattern = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((pattern, &quoted[at + 1..])),
            '\\' => pattern.push(letters.next()?.1),
            letter => pattern.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

    /// The pointers that are refused in a folder with these attributes.
    fn refused(attributes: &[(&str, &str)], pointers: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        for (name, text) in attributes {
            write(name, text);
        }
        let found: Vec<Found> = pointers
            .iter()
            .map(|name| Found {
                name: (*name).to_owned(),
                path: write(name, POINTER),
                size: POINTER.len() as u64,
            })
            .collect();
        let mut repository = Repository::default();
        found
            .into_iter()
            .filter(|file| is_pointer(file) && repository.keeps(dir.path(), &file.path))
            .map(|file| file.name)
            .collect()
    }

    #[test]
    fn what_git_lfs_keeps_is_known_by_the_attributes_of_all_folders_up_to_the_repositorys() {
        let attributes = [
            (
                ".gitattributes",
                "# models\n*.bin filter=lfs diff=lfs merge=lfs -text\nplain.bin -filter\na[[:space:]]b.dat filter=lfs\n\"c d.dat\" text filter=lfs\n/top.txt filter=lfs\ndata/** filter=lfs\nbroken\n",
            ),
            (
                "own/.gitattributes",
                "*.bin filter=other\nx.md filter=lfs\n",
            ),
        ];
        let pointers = [
            "model.bin",
            "deep/er/model.bin",
            "plain.bin",
            "a b.dat",
            "c d.dat",
            "top.txt",
            "below/top.txt",
            "data/x/y",
            "own/model.bin",
            "own/x.md",
            "x.md",
        ];
        let expected = [
            "model.bin",
            "deep/er/model.bin",
            "a b.dat",
            "c d.dat",
            "top.txt",
            "data/x/y",
            "own/x.md",
        ];
        assert_eq!(refused(&attributes, &pointers), expected);
    }

    #[test]
    fn a_file_that_only_looks_like_a_pointer_stays() {
        assert_eq!(refused(&[], &["model.bin"]), [""; 0]);
        assert_eq!(
            refused(&[(".gitattributes", "*.bin text\n")], &["model.bin"]),
            [""; 0]
        );
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".gitattributes"), "*.bin filter=lfs\n").unwrap();
        for (text, is_one) in [
            (POINTER.to_owned(), true),
            ("a model".to_owned(), false),
            (format!("{POINTER}{}", "x".repeat(1024)), false),
        ] {
            let path = dir.path().join("model.bin");
            fs::write(&path, &text).unwrap();
            let found = Found {
                name: "model.bin".into(),
                path,
                size: text.len() as u64,
            };
            let told = refuse(dir.path(), &[found]);
            assert_eq!(told.is_err(), is_one, "{text}");
        }
    }

    #[test]
    fn rules_of_folders_above_count_in_a_repository_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("functions/hello");
        fs::create_dir_all(&folder).unwrap();
        fs::write(dir.path().join(".gitattributes"), "*.bin filter=lfs\n").unwrap();
        let path = folder.join("model.bin");
        fs::write(&path, POINTER).unwrap();
        let keeps = || Repository::default().keeps(&folder, &path);
        assert!(!keeps());
        fs::create_dir(dir.path().join(".git")).unwrap();
        assert!(keeps());
    }
}
