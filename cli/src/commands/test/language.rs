//! What a function is written in.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::manifest;

/// A language whose tool for tests is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Language {
    /// pytest if it is there, else unittest.
    Python,
    /// node --test.
    Node,
    /// go test ./...
    Go,
    /// cargo test.
    Rust,
}

/// Files that tell the language, the surest first.
const SIGNS: [(Language, &[&str]); 4] = [
    (Language::Go, &["go.mod"]),
    (Language::Rust, &["Cargo.toml"]),
    (Language::Python, &["requirements.txt", "pyproject.toml"]),
    (Language::Node, &["package.json"]),
];

/// Extensions that tell it where no such file is there.
const EXTENSIONS: [(Language, &[&str]); 3] = [
    (Language::Python, &["py"]),
    (Language::Node, &["mjs", "cjs", "js", "mts", "cts", "ts"]),
    (Language::Go, &["go"]),
];

/// The language of the function in a folder, by the Runtime in its manifest, else by its files.
///
/// # Errors
///
/// When neither tells, or a manifest is broken.
pub(super) fn of(dir: &Path) -> anyhow::Result<Language> {
    let runtime = manifest::runtime_in(dir)?;
    if let Some(runtime) = &runtime {
        if let Ok(language) = Language::from_str(runtime, false) {
            return Ok(language);
        }
        if runtime == "command" {
            bail!(
                "a function of the Runtime command has no tests that are known here; run them with their own tool"
            );
        }
    }
    let read = || format!("cannot read the directory {}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(read)? {
        names.push(
            entry
                .with_context(read)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    match detected(&names) {
        Some(language) => Ok(language),
        None => bail!(
            "{} does not tell what the function is written in; --runtime python, node, go or rust does",
            dir.display()
        ),
    }
}

fn detected(names: &[String]) -> Option<Language> {
    let by_name = SIGNS
        .iter()
        .find(|(_, signs)| names.iter().any(|name| signs.contains(&name.as_str())));
    let by_extension = || {
        EXTENSIONS.iter().find(|(_, extensions)| {
            names.iter().any(|name| {
                let extension = name.rsplit_once('.').map(|(_, extension)| extension);
                extension.is_some_and(|extension| extensions.contains(&extension))
            })
        })
    };
    by_name
        .map(|(language, _)| *language)
        .or_else(|| by_extension().map(|(language, _)| *language))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tell_the_language() {
        for (names, language) in [
            (&["main.py", "data.js"][..], Some(Language::Python)),
            (&["main.mjs"], Some(Language::Node)),
            (&["main.ts"], Some(Language::Node)),
            (&["package.json", "tool.py"], Some(Language::Node)),
            (&["go.mod", "main.go", "tool.py"], Some(Language::Go)),
            (&["Cargo.toml", "src"], Some(Language::Rust)),
            (&["README.md", "Makefile"], None),
        ] {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(detected(&names), language, "{names:?}");
        }
    }

    #[test]
    fn the_manifest_counts_before_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("main.py", "");
        let function = |runtime: &str| {
            format!(
                "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {{name: a}}\nspec: {{source: {{runtime: {runtime}}}}}\n"
            )
        };
        write("function.yaml", &function("node"));
        assert_eq!(of(dir.path()).unwrap(), Language::Node);
        write("function.yaml", &function("python-3-14"));
        assert_eq!(of(dir.path()).unwrap(), Language::Python);
        write("function.yaml", &function("command"));
        assert!(of(dir.path()).is_err());
    }
}
