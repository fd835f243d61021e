//! The packages `fermata` that tests of functions use, as they come with this program.

use std::{fs, path::Path};

use anyhow::Context as _;

/// That of Python.
const PYTHON: [(&str, &str); 4] = [
    (
        "__init__.py",
        include_str!("../../../../runtimes/python/fermata/__init__.py"),
    ),
    (
        "_result.py",
        include_str!("../../../../runtimes/python/fermata/_result.py"),
    ),
    (
        "testing.py",
        include_str!("../../../../runtimes/python/fermata/testing.py"),
    ),
    (
        "py.typed",
        include_str!("../../../../runtimes/python/fermata/py.typed"),
    ),
];

/// That of Node.js.
const NODE: [(&str, &str); 5] = [
    (
        "index.cjs",
        include_str!("../../../../runtimes/node/fermata/index.cjs"),
    ),
    (
        "index.d.ts",
        include_str!("../../../../runtimes/node/fermata/index.d.ts"),
    ),
    (
        "package.json",
        include_str!("../../../../runtimes/node/fermata/package.json"),
    ),
    (
        "testing.mjs",
        include_str!("../../../../runtimes/node/fermata/testing.mjs"),
    ),
    (
        "testing.d.ts",
        include_str!("../../../../runtimes/node/fermata/testing.d.ts"),
    ),
];

/// Writes the package of Python into a folder for packages.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn python(place: &Path) -> anyhow::Result<()> {
    write(&place.join("fermata"), &PYTHON)
}

/// Writes the package of Node.js into a folder for packages.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn node(place: &Path) -> anyhow::Result<()> {
    write(&place.join("fermata"), &NODE)
}

/// Writes files into a folder, which is made.
///
/// # Errors
///
/// With the file that cannot be written.
pub(super) fn write(dir: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    fs::create_dir_all(dir)
        .with_context(|| format!("cannot make the directory {}", dir.display()))?;
    for (name, text) in files {
        let file = dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
