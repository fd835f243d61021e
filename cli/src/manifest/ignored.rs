//! Which files of a folder are no part of a function.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// What a folder's own rules are written in; the first that is there counts.
const FILES: [&str; 2] = [".fermataignore", ".gitignore"];

/// The most bytes of such a file.
const MOST_RULES: u64 = 1024 * 1024;

/// What is no part of a function unless a rule with `!` says that it is: hidden files, what editors and
/// tools leave behind, installed packages, tests, and what people read.
const DEFAULTS: [&str; 31] = [
    ".*",
    "*~",
    "\\#*#",
    "*.pyc",
    "__pycache__/",
    "*.egg-info/",
    "node_modules/",
    "venv/",
    "test/",
    "tests/",
    "__tests__/",
    "test_*.py",
    "*_test.py",
    "conftest.py",
    "*_test.go",
    "*.test.js",
    "*.test.mjs",
    "*.test.cjs",
    "*.test.ts",
    "*.test.mts",
    "*.test.cts",
    "*.spec.js",
    "*.spec.mjs",
    "*.spec.cjs",
    "*.spec.ts",
    "*.spec.mts",
    "*.spec.cts",
    "README*",
    "readme*",
    "LICENSE*",
    "LICENCE*",
];

/// What Cargo builds stands beside its manifest; elsewhere a folder of that name is anybody's.
const CARGO: (&str, &str) = ("Cargo.toml", "/target/");

/// By this file a folder is a virtual environment of Python, whatever its name.
const VIRTUAL_ENVIRONMENT: &str = "pyvenv.cfg";

/// The rules that hold in one folder.
#[derive(Clone)]
pub(super) struct Ignored {
    /// The folder, which paths begin with that are held against the rules.
    folder: PathBuf,
    /// The outermost folder whose rules count. Links do not lead out of it.
    outermost: PathBuf,
    /// Its own rules, then those of the folders above it.
    rules: Vec<Arc<Gitignore>>,
    /// What is usual, which every rule comes before.
    usual: Vec<Arc<Gitignore>>,
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
        let outermost = above[last].to_owned();
        for dir in &above[..=last] {
            rules.extend(written(dir, &outermost)?);
        }
        let mut usual = vec![made(&folder, &DEFAULTS)?];
        usual.extend(of_cargo(&folder)?);
        Ok(Self {
            folder,
            outermost,
            rules,
            usual,
        })
    }

    /// The rules for a folder in this one.
    ///
    /// # Errors
    ///
    /// As [`Ignored::of`].
    pub(super) fn below(&self, name: &str) -> anyhow::Result<Self> {
        let mut below = self.clone();
        below.folder.push(name);
        if let Some(own) = written(&below.folder, &below.outermost)? {
            below.rules.insert(0, own);
        }
        below.usual.extend(of_cargo(&below.folder)?);
        Ok(below)
    }

    /// Whether the entry of this name is left out. The nearest rule that says anything decides.
    pub(super) fn leaves_out(&self, name: &str, is_dir: bool) -> bool {
        let path = self.folder.join(name);
        let said = self
            .rules
            .iter()
            .chain(&self.usual)
            .map(|rules| rules.matched(&path, is_dir))
            .find(|said| !said.is_none());
        match said {
            Some(said) => said.is_ignore(),
            None => is_dir && path.join(VIRTUAL_ENVIRONMENT).is_file(),
        }
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

/// The rules that are written down in a folder.
fn written(dir: &Path, outermost: &Path) -> anyhow::Result<Option<Arc<Gitignore>>> {
    let files = FILES.map(|name| dir.join(name));
    let Some(file) = files.iter().find(|file| file.is_file()) else {
        return Ok(None);
    };
    let read = || format!("cannot use the rules in {}", file.display());
    // Who wrote the folder may not be who reads it, and is not to have other files of theirs read.
    let real = file.canonicalize().with_context(read)?;
    if !real.starts_with(outermost) {
        bail!(
            "{} is a link out of {}; put in the file itself",
            file.display(),
            outermost.display()
        );
    }
    let mut text = Vec::new();
    File::open(&real)
        .and_then(|open| open.take(MOST_RULES + 1).read_to_end(&mut text))
        .with_context(read)?;
    if text.len() as u64 > MOST_RULES {
        bail!(
            "{} has more than {MOST_RULES} bytes, and rules have at most that many",
            file.display()
        );
    }
    let text = String::from_utf8(text).with_context(read)?;
    let mut builder = GitignoreBuilder::new(dir);
    for line in text.trim_start_matches('\u{feff}').lines() {
        builder.add_line(None, line).with_context(read)?;
    }
    let rules = builder.build().context("the rules cannot be used")?;
    Ok(Some(Arc::new(rules)))
}

/// Rules of our own.
fn made(dir: &Path, patterns: &[&str]) -> anyhow::Result<Arc<Gitignore>> {
    let mut builder = GitignoreBuilder::new(dir);
    for pattern in patterns {
        builder
            .add_line(None, pattern)
            .context("a pattern is not valid")?;
    }
    let rules = builder.build().context("the patterns cannot be used")?;
    Ok(Arc::new(rules))
}

fn of_cargo(dir: &Path) -> anyhow::Result<Option<Arc<Gitignore>>> {
    let (manifest, built) = CARGO;
    let is_package = dir.join(manifest).is_file();
    is_package.then(|| made(dir, &[built])).transpose()
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
            "main_test.go",
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
    fn what_tools_build_and_install_is_no_code() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("env")).unwrap();
        let leaves_out = |name: &str| {
            let rules = Ignored::of(dir.path(), dir.path()).unwrap();
            rules.leaves_out(name, true)
        };
        for name in ["node_modules", "__pycache__", "venv", ".venv", ".git"] {
            assert!(leaves_out(name), "{name}");
        }
        for name in ["target", "env", "dist", "lib"] {
            assert!(!leaves_out(name), "{name}");
        }
        std::fs::write(dir.path().join("Cargo.toml"), "").unwrap();
        std::fs::write(dir.path().join("env/pyvenv.cfg"), "").unwrap();
        assert!(leaves_out("target") && leaves_out("env"));
        std::fs::write(dir.path().join(".fermataignore"), "!target\n!env\n").unwrap();
        assert!(!leaves_out("target") && !leaves_out("env"));
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

    #[test]
    fn rules_are_files_of_the_folder_and_no_larger_than_rules_are() {
        let dir = tempfile::tempdir().unwrap();
        let (own, inner) = (dir.path().join("own"), dir.path().join("own/inner"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(dir.path().join("secret"), "[a-").unwrap();
        std::fs::write(own.join("shared"), "*.csv\n").unwrap();
        let link = own.join(".gitignore");
        std::os::unix::fs::symlink("../secret", &link).unwrap();
        let error = |dir: &Path| Ignored::of(dir, dir).err().unwrap().to_string();
        let told = error(&own);
        assert!(
            told.contains("a link out of") && !told.contains("[a-"),
            "{told}"
        );
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("../../secret", inner.join(".gitignore")).unwrap();
        let top = Ignored::of(&own, &own).unwrap();
        assert!(top.below("inner").is_err());

        std::os::unix::fs::symlink("shared", &link).unwrap();
        assert!(left_out(&own, "a.csv") && !left_out(&own, "a.txt"));
        std::fs::remove_file(&link).unwrap();
        std::fs::write(&link, "#".repeat(1 << 21)).unwrap();
        assert!(error(&own).contains("more than 1048576 bytes"));
    }

    #[test]
    fn patterns_reach_into_folders_below_as_those_of_git() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let rules = "/top.txt\na/one.txt\n**/deep.txt\nlogs/\n*.csv\n!keep.csv\n";
        std::fs::write(dir.path().join(".fermataignore"), rules).unwrap();
        std::fs::write(dir.path().join("a/.gitignore"), "/own.txt\n!deep.txt\n").unwrap();
        let top = Ignored::of(dir.path(), dir.path()).unwrap();
        let a = top.below("a").unwrap();
        let b = a.below("b").unwrap();
        assert!(top.leaves_out("top.txt", false) && !a.leaves_out("top.txt", false));
        assert!(a.leaves_out("one.txt", false) && !b.leaves_out("one.txt", false));
        assert!(a.leaves_out("own.txt", false) && !b.leaves_out("own.txt", false));
        assert!(top.leaves_out("deep.txt", false) && !b.leaves_out("deep.txt", false));
        assert!(b.leaves_out("logs", true) && !b.leaves_out("logs", false));
        assert!(b.leaves_out("x.csv", false) && !b.leaves_out("keep.csv", false));
    }
}
