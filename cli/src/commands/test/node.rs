//! Tests in Node.js: `node --test`.

use std::{env, ffi::OsString, path::Path, process::Command};

use anyhow::{Context as _, bail};

use super::{dependencies, has_file, package, unavailable};

/// Lets modules find packages that are not beside them.
const HOOKS: [(&str, &str); 2] = [
    ("hooks.mjs", include_str!("hooks.mjs")),
    (
        "register.mjs",
        "import { register } from \"node:module\";\n\nregister(\"./hooks.mjs\", import.meta.url);\n",
    ),
];

/// The folder that Node.js looks for packages in.
const PACKAGES: &str = "node_modules";

/// The tool, for which modules find their dependencies and the package `fermata`.
///
/// # Errors
///
/// When there is no Node.js, there are no tests, or the dependencies cannot be installed.
pub(super) fn tool(dir: &Path, place: &Path) -> anyhow::Result<Command> {
    if !has_file(dir, is_test)? {
        bail!(
            "there are no tests in {}: node --test looks for *.test.mjs and their like, and in folders named test",
            dir.display()
        );
    }
    package::node(&place.join(PACKAGES))?;
    package::write(place, &HOOKS)?;
    let mut places = vec![place.to_owned()];
    let has_packages = dir.ancestors().any(|folder| folder.join(PACKAGES).is_dir());
    if !has_packages {
        let installed = dependencies::installed(dir, "node", &version()?)?;
        places.extend(installed.map(|installed| installed.folder));
    }
    let packages = places.iter().map(|place| place.join(PACKAGES));
    let packages = env::join_paths(packages).context("a path has a ':'")?;
    let mut options = env::var_os("NODE_OPTIONS").unwrap_or_default();
    if !options.is_empty() {
        options.push(" ");
    }
    options.push("--import=");
    options.push(place.join("register.mjs"));

    let mut tool = Command::new("node");
    tool.arg("--test")
        .env("NODE_OPTIONS", options)
        .env("NODE_PATH", joined(packages))
        .env("FERMATA_TEST_PLACES", env::join_paths(&places)?);
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
    let mut command = Command::new("node");
    command.arg("--version");
    let output = command
        .output()
        .map_err(|error| unavailable(&command, error))?;
    Ok(output.stdout)
}

/// The names by which `node --test` knows tests (<https://nodejs.org/api/test.html>).
fn is_test(folder: &str, name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    let is_module = matches!(extension, "js" | "mjs" | "cjs");
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
