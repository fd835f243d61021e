//! Which files of a folder are no part of a function.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

/// What a folder's own rules are written in; the first that is there counts.
const FILES: [&str; 2] = [".fermataignore", ".gitignore"];

/// What is no part of a function unless a rule with `!` says that it is: hidden files, what editors and
/// tools leave behind, tests, and what people read.
const DEFAULTS: [&str; 24] = [
    ".*",
    "*~",
    "\\#*#",
    "*.pyc",
    "__pycache__/",
    "node_modules/",
    "venv/",
    "test/",
    "tests/",
    "__tests__/",
    "test_*.py",
    "*_test.py",
    "conftest.py",
    "*.test.js",
    "*.test.mjs",
    "*.test.cjs",
    "*.test.ts",
    "*.spec.js",
    "*.spec.mjs",
    "*.spec.ts",
    "README*",
    "readme*",
    "LICENSE*",
    "LICENCE*",
];

/// The rules that hold in one folder.
pub(super) struct Ignored {
    /// The folder with its links followed, which the rules are relative to.
    folder: PathBuf,
    /// Its own rules, then those of the folders above it, then the defaults.
    rules: Vec<Gitignore>,
}

// === impl Ignored ===

impl Ignored {
    /// Reads the rules for a folder: its own, and those of the folders above it up to the repository's
    /// (the one with `.git`), else up to `top`.
    ///
    /// # Errors
    ///
    /// With the file's name, when it cannot be read or has a pattern that is none.
    pub(super) fn of(dir: &Path, top: &Path) -> anyhow::Result<Self> {
        let folder = real(dir)?;
        let top = real(top)?;
        let above: Vec<&Path> = folder.ancestors().collect();
        let last = above
            .iter()
            .position(|dir| dir.join(".git").exists())
            .or_else(|| above.iter().position(|dir| *dir == top))
            .unwrap_or(0);
        let mut rules = Vec::new();
        for dir in &above[..=last] {
            if let Some(file) = FILES
                .map(|name| dir.join(name))
                .iter()
                .find(|file| file.is_file())
            {
                let mut builder = GitignoreBuilder::new(dir);
                if let Some(error) = builder.add(file) {
                    return Err(error)
                        .with_context(|| format!("cannot use the rules in {}", file.display()));
                }
                rules.push(builder.build().context("the rules cannot be used")?);
            }
        }
        let mut defaults = GitignoreBuilder::new(&folder);
        for pattern in DEFAULTS {
            defaults
                .add_line(None, pattern)
                .context("a pattern is not valid")?;
        }
        rules.push(defaults.build().context("the patterns cannot be used")?);
        Ok(Self { folder, rules })
    }

    /// Whether the entry of this name is left out. The nearest rule that says anything decides.
    pub(super) fn leaves_out(&self, name: &str, is_dir: bool) -> bool {
        let path = self.folder.join(name);
        let said = self
            .rules
            .iter()
            .map(|rules| rules.matched(&path, is_dir))
            .find(|said| !said.is_none());
        matches!(said, Some(Match::Ignore(_)))
    }

    /// The folder with its links followed.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a file of this name has rules.
    pub(super) fn is_rules(name: &str) -> bool {
        FILES.contains(&name)
    }
}

fn real(dir: &Path) -> anyhow::Result<PathBuf> {
    std::fs::canonicalize(dir)
        .with_context(|| format!("cannot read the directory {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(dir: &Path, name: &str) -> bool {
        Ignored::of(dir, dir).unwrap().leaves_out(name, false)
    }

    #[test]
    fn what_editors_leave_tests_and_documents_are_no_code() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            ".env",
            ".main.py.swp",
            "main.py~",
            "#main.py#",
            ".DS_Store",
            "test_main.py",
            "main_test.py",
            "main.test.js",
            "README.md",
            "LICENSE",
        ] {
            assert!(left_out(dir.path(), name), "{name}");
        }
        for name in ["main.py", "contest.py", "package.json", "config.yaml"] {
            assert!(!left_out(dir.path(), name), "{name}");
        }
    }

    #[test]
    fn the_own_file_counts_before_that_of_git_and_before_what_is_usual() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".gitignore"), "*.js\n").unwrap();
        assert!(left_out(dir.path(), "a.js"));
        std::fs::write(dir.path().join(".fermataignore"), "*.txt\n!README.md\n").unwrap();
        assert!(!left_out(dir.path(), "a.js") && left_out(dir.path(), "a.txt"));
        assert!(!left_out(dir.path(), "README.md") && left_out(dir.path(), "LICENSE"));
    }

    #[test]
    fn rules_above_hold_up_to_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let (repository, inner) = (dir.path().join("r"), dir.path().join("r/a/b"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(dir.path().join(".gitignore"), "*.a\n").unwrap();
        std::fs::write(repository.join(".gitignore"), "*.b\n").unwrap();
        assert!(!left_out(&inner, "x.b"));
        std::fs::create_dir(repository.join(".git")).unwrap();
        assert!(left_out(&inner, "x.b") && !left_out(&inner, "x.a"));
    }
}
