//! Programs written in Rust, with `cargo build`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Build, Done, Error, Tool, said::Words};
use crate::log;

/// What the program is called where it stands, and may be called where there are several.
const FUNCTION: &str = "function";

pub(super) async fn build(build: &Build) -> Result<Done, Error> {
    let source = build.place.source();
    let Ok(manifest) = fs::read_to_string(source.join("Cargo.toml")) else {
        return Err(Error::Refused(
            "there is no Cargo.toml; `cargo init` writes it".to_owned(),
        ));
    };
    let mut arguments = vec!["build", "--release"];
    if source.join("Cargo.lock").is_file() {
        arguments.push("--locked");
    }
    log::line("building with cargo");
    let output = build.place.temporary().join("cargo");
    build
        .run(Tool {
            name: "cargo",
            program: "cargo".into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            env: vec![("CARGO_TARGET_DIR", output.clone().into())],
            defaults: vec![("CARGO_INCREMENTAL", "0"), ("CARGO_TERM_COLOR", "never")],
            dir: source,
            hint: "install Rust (https://rustup.rs)",
            words: Words::Cargo,
            registry: true,
        })
        .await?;
    let program = chosen(programs(&output)?, package(&manifest))?;
    let to = build.place.target().join(FUNCTION);
    fs::copy(program, &to).map_err(|source| Error::Write { path: to, source })?;
    Ok(Done::Built)
}

/// The programs that were built, sorted; for a platform that is named they stand a folder deeper.
fn programs(output: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = vec![output.join("release")];
    for entry in fs::read_dir(output)? {
        folders.push(entry?.path().join("release"));
    }
    let mut programs = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let metadata = fs::metadata(&path)?;
            let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
            if is_program && path.extension().is_none() {
                programs.push(path);
            }
        }
    }
    programs.sort();
    Ok(programs)
}

/// The only one, or that which is named like the package or `function`.
fn chosen(mut programs: Vec<PathBuf>, package: Option<&str>) -> Result<PathBuf, Error> {
    if programs.is_empty() {
        return Err(Error::Refused(
            "the package has no program; it needs a src/main.rs".to_owned(),
        ));
    }
    let called = |name: Option<&str>| {
        let is_it = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|own| Some(own) == name.map(str::as_ref))
        };
        programs.iter().position(is_it)
    };
    let only = (programs.len() == 1).then_some(0);
    if let Some(place) = only
        .or_else(|| called(Some(FUNCTION)))
        .or_else(|| called(package))
    {
        return Ok(programs.swap_remove(place));
    }
    let names: Vec<_> = programs
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.display().to_string())
        .collect();
    Err(Error::Refused(format!(
        "the package has several programs ({}); call the one that serves `{FUNCTION}`",
        names.join(", ")
    )))
}

/// The name of the package in a manifest.
fn package(manifest: &str) -> Option<&str> {
    let mut lines = manifest.lines().map(str::trim);
    lines.find(|line| *line == "[package]")?;
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("name"))
        .find_map(|rest| rest.trim_start().strip_prefix('='))
        .map(|name| name.trim().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_programs_that_of_the_package_is_taken() {
        let manifest = "[package]\nname = \"shop\"\nversion = \"1\"\n[[bin]]\nname = \"seed\"\n";
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let name = package(manifest);
        assert_eq!(name, Some("shop"));
        let of = |names: &[&str]| chosen(paths(names), name).map_err(|error| error.to_string());
        assert_eq!(of(&["r/seed"]), Ok("r/seed".into()));
        assert_eq!(of(&["r/seed", "r/shop"]), Ok("r/shop".into()));
        assert_eq!(of(&["r/function", "r/shop"]), Ok("r/function".into()));
        let error = of(&["r/a", "r/b"]).unwrap_err();
        assert!(error.contains("several programs (a, b)"), "{error}");
        assert!(of(&[]).unwrap_err().contains("src/main.rs"));
    }
}
