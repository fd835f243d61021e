//! Tests in Node.js: `node --test`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::{dependencies, files, package, unavailable};

/// Lets modules find packages that are not beside them.
const HOOKS: [(&str, &str); 2] = [
    ("hooks.mjs", include_str!("hooks.mjs")),
    ("register.mjs", include_str!("register.mjs")),
];

/// The folder that Node.js looks for packages in.
const PACKAGES: &str = "node_modules";

/// What has Node.js read TypeScript.
const TSX: &str = "tsx";

/// The tool, for which modules find their dependencies and the package `fermata`.
///
/// # Errors
///
/// When there is no Node.js, there are no tests, the dependencies cannot be installed, or tests are in TypeScript
/// and nothing reads it.
pub(super) fn tool(dir: &Path, place: &Path, arguments: &[String]) -> anyhow::Result<Command> {
    let tests = files(dir, is_test)?;
    if tests.is_empty() {
        bail!(
            "there are no tests in {}: node --test looks for *.test.mjs, *.test.ts and their like, and in folders named test",
            dir.display()
        );
    }
    package::node(&place.join(PACKAGES))?;
    package::write(place, &HOOKS)?;
    let mut places = vec![place.to_owned()];
    let own = dir
        .ancestors()
        .find(|folder| folder.join(PACKAGES).is_dir());
    match own {
        Some(own) => places.push(own.to_owned()),
        None => {
            let installed = dependencies::installed(dir, "node", &version()?)?;
            places.extend(installed.map(|installed| installed.folder));
        }
    }
    let packages: Vec<PathBuf> = places.iter().map(|place| place.join(PACKAGES)).collect();
    let has_tsx = packages.iter().any(|folder| folder.join(TSX).is_dir());
    let mut options = env::var_os("NODE_OPTIONS").unwrap_or_default();
    if !options.is_empty() {
        options.push(" ");
    }
    options.push("--import=");
    options.push(place.join("register.mjs"));
    let packages = env::join_paths(packages).context("a path has a ':'")?;

    let mut tool = Command::new("node");
    tool.arg("--test")
        .args(arguments)
        .env("NODE_OPTIONS", options)
        .env("NODE_PATH", joined(packages))
        .env("FERMATA_TEST_PLACES", env::join_paths(&places)?);
    if has_tsx {
        tool.env("FERMATA_TEST_LOADER", TSX);
    }
    // Node.js looks for tests in TypeScript only where it reads that by itself.
    if let Some(test) = tests.iter().find(|test| is_typescript(test)) {
        if !has_tsx && !strips_types()? {
            bail!(
                "{} is TypeScript, which Node.js {} runs with the package tsx alone: npm install tsx",
                test.display(),
                String::from_utf8_lossy(&version()?).trim()
            );
        }
        let is_named = arguments
            .iter()
            .any(|argument| dir.join(argument).is_file());
        if !is_named {
            tool.args(&tests);
        }
    }
    Ok(tool)
}

/// What is in NODE_PATH already stays in it.
fn joined(mut packages: OsString) -> OsString {
    if let Some(own) = env::var_os("NODE_PATH").filter(|own| !own.is_empty()) {
        packages.push(":");
        packages.push(own);
    }
    packages
}

fn version() -> anyhow::Result<Vec<u8>> {
    printed("process.version")
}

fn strips_types() -> anyhow::Result<bool> {
    Ok(printed("Boolean(process.features.typescript)")?.starts_with(b"true"))
}

/// What Node.js prints for an expression.
fn printed(expression: &str) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("node");
    command.args(["--print", expression]);
    let output = command
        .output()
        .map_err(|error| unavailable(&command, error))?;
    Ok(output.stdout)
}

fn is_typescript(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("ts" | "mts" | "cts"))
}

/// The names by which `node --test` knows tests (<https://nodejs.org/api/test.html>).
fn is_test(folder: &str, name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let is_module = matches!(extension, "js" | "mjs" | "cjs" | "ts" | "mts" | "cts");
    let is_named = stem == "test"
        || stem.starts_with("test-")
        || [".test", "-test", "_test"]
            .iter()
            .any(|end| stem.ends_with(end));
    is_module && (is_named || folder == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_their_names() {
        for (folder, name) in [
            ("f", "main.test.mjs"),
            ("f", "test.js"),
            ("f", "main.test.ts"),
            ("f", "test-it.cjs"),
            ("test", "any.js"),
        ] {
            assert!(is_test(folder, name), "{folder}/{name}");
        }
        for (folder, name) in [("f", "main.mjs"), ("f", "test"), ("test", "data.json")] {
            assert!(!is_test(folder, name), "{folder}/{name}");
        }
    }
}
