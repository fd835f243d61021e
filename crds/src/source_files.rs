//! The files of a function's source: what their paths may be, and how they stand in a ConfigMap.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::ByteString;
use sha2::{Digest as _, Sha256};

use crate::Source;

/// The most bytes that the files may hold together, paths included: a ConfigMap takes 1 MiB, and a Revision holds
/// them with everything else.
pub const MOST_SOURCE_BYTES: usize = 900 * 1024;

/// The most files.
pub const MOST_SOURCE_FILES: usize = 2000;

/// The longest path of a file, in bytes.
pub const LONGEST_PATH: usize = 253;

/// The files of a source, by path.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SourceFiles {
    /// Those that are text.
    pub text: BTreeMap<String, String>,
    /// The others.
    pub binary: BTreeMap<String, ByteString>,
}

/// Why something cannot be the path of a source file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    /// It is longer than [`LONGEST_PATH`].
    #[error("its path has more than {LONGEST_PATH} bytes")]
    TooLong,
    /// It is absolute, empty or leads up.
    #[error(
        "its path is not a plain one: no '.', '..' or empty segments, no '/' at its end, and no '/' or '..' at its beginning"
    )]
    NotPlain,
    /// It has a backslash or a control character.
    #[error("its path has a backslash or a control character")]
    Character,
    /// Another file has the path of a folder that this one is in.
    #[error("{0} is a file, and cannot be its folder too")]
    FolderIsFile(String),
    /// It is there as text and as something else.
    #[error("it is in files and in binaryFiles; leave it out of one of them")]
    Twice,
}

/// Whether a text can be the path of a source file, as `source.files` has it.
///
/// # Errors
///
/// With what is wrong with it.
pub fn check_path(path: &str) -> Result<(), PathError> {
    if path.len() > LONGEST_PATH {
        return Err(PathError::TooLong);
    }
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    // Kubernetes keeps names that begin with two dots for itself, in volumes (AtomicWriter).
    if path.starts_with("..") || !path.split('/').all(plain) {
        return Err(PathError::NotPlain);
    }
    if path.contains(|letter: char| letter == '\\' || letter.is_control()) {
        return Err(PathError::Character);
    }
    Ok(())
}

/// The key of a file in a ConfigMap, whose keys are letters, digits, `.`, `_` and `-`: the path itself where it can
/// be, else what is left of it with a digest of all of it.
#[must_use]
pub fn key(path: &str) -> Cow<'_, str> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if path.chars().all(allowed) && !path.starts_with("..") {
        return Cow::Borrowed(path);
    }
    let digest = Sha256::digest(path);
    let digest = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
    let digest: String = digest.collect();
    let name = path.rsplit('/').next().unwrap_or_default();
    let name: String = name.chars().filter(|letter| allowed(*letter)).collect();
    let name = name.get(..name.len().min(200)).unwrap_or_default();
    Cow::Owned(format!("{digest}-{name}"))
}

/// Whether the path is one of the inputs of a build. A pattern without `/` is for the names of files in all folders, one
/// with `/` for the whole path; `*` is any run of characters.
#[must_use]
pub fn is_input(patterns: &[String], path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    patterns.iter().any(|pattern| {
        let subject = if pattern.contains('/') { path } else { name };
        matches(pattern.as_bytes(), subject.as_bytes())
    })
}

/// In time that grows with the product of both lengths only: of several stars, the last one alone is tried again.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = text.get(position) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(expected) if expected == letter => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((place, taken)) = star else {
                    return false;
                };
                star = Some((place, taken + 1));
                at = place + 1;
                position = taken + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

// === impl SourceFiles ===

impl SourceFiles {
    /// The files that a source has inline.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        Self {
            text: source.files.clone().unwrap_or_default(),
            binary: source.binary_files.clone().unwrap_or_default(),
        }
    }

    /// Puts the files into a source, in place of those that it has inline.
    pub fn put(self, source: &mut Source) {
        source.files = (!self.text.is_empty()).then_some(self.text);
        source.binary_files = (!self.binary.is_empty()).then_some(self.binary);
    }

    /// Paths and contents, in no order that counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let text = self.text.iter();
        let text = text.map(|(path, text)| (path.as_str(), text.as_bytes()));
        let binary = self.binary.iter();
        text.chain(binary.map(|(path, bytes)| (path.as_str(), bytes.0.as_slice())))
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.binary.is_empty()
    }

    /// All paths and contents together, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.iter()
            .map(|(path, bytes)| path.len() + bytes.len())
            .sum()
    }

    /// Checks all paths, by themselves and together.
    ///
    /// # Errors
    ///
    /// With the path and what is wrong with it.
    pub fn check_paths(&self) -> Result<(), (String, PathError)> {
        let is_file = |path: &str| self.text.contains_key(path) || self.binary.contains_key(path);
        for (path, _) in self.iter() {
            let refused = |error| (path.to_owned(), error);
            check_path(path).map_err(refused)?;
            let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
            let file = folders.into_iter().find(|folder| is_file(folder));
            if let Some(file) = file {
                return Err(refused(PathError::FolderIsFile(file.to_owned())));
            }
            if self.text.contains_key(path) && self.binary.contains_key(path) {
                return Err(refused(PathError::Twice));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_and_say_what_is_wrong() {
        for path in ["main.py", "lib/util.py", "a b/ü.txt", ".hidden", "a/...b"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        for path in ["", "/a", "a/", "a//b", "../a", "a/./b", "a/..", "."] {
            assert_eq!(check_path(path), Err(PathError::NotPlain), "{path}");
        }
        for path in ["a\\b", "a\nb", "a\0"] {
            assert_eq!(check_path(path), Err(PathError::Character), "{path:?}");
        }
        assert_eq!(check_path(&"a".repeat(254)), Err(PathError::TooLong));
    }

    #[test]
    fn keys_are_those_of_a_config_map_and_differ() {
        assert_eq!(key("main.py"), "main.py");
        let paths = [
            "a/b.py", "a_b.py", "ab.py", "a b.py", "b/b.py", "..b.py", "ü/b.py",
        ];
        let keys: std::collections::BTreeSet<_> = paths.iter().map(|path| key(path)).collect();
        assert_eq!(keys.len(), paths.len());
        for key in keys {
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            assert!(key.chars().all(allowed) && !key.starts_with(".."), "{key}");
        }
        assert!(key(&format!("{}/x", "ü".repeat(120))).len() <= 253);
    }

    #[test]
    fn a_pattern_is_for_names_or_for_whole_paths() {
        let is = |pattern: &str, path: &str| is_input(&[pattern.to_owned()], path);
        assert!(is("requirements*.txt", "requirements.txt"));
        assert!(is("requirements*.txt", "a/requirements-dev.txt"));
        assert!(is("*.whl", "wheels/a-1.0-py3-none-any.whl"));
        assert!(is("vendor/*", "vendor/a/b.py") && !is("vendor/*", "a/vendor/b.py"));
        assert!(!is("requirements*.txt", "requirements.py"));
        assert!(is("*a*b", "xaxaxb") && !is("*a*b", "xaxax") && is("*", ""));
    }

    #[test]
    fn a_file_is_no_folder() {
        let text = |paths: &[&str]| SourceFiles {
            text: paths
                .iter()
                .map(|path| ((*path).to_owned(), String::new()))
                .collect(),
            binary: BTreeMap::new(),
        };
        assert_eq!(text(&["a/b", "a/c/d", "ab"]).check_paths(), Ok(()));
        let error = text(&["a", "a/b"]).check_paths().unwrap_err();
        assert_eq!(
            error,
            ("a/b".to_owned(), PathError::FolderIsFile("a".to_owned()))
        );
    }
}
