//! The manifest of the function in a repository: the one that is there, or one that follows from its files.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::manifest;

/// The manifest where there is none.
const DEFAULT: &str = "function.yaml";

/// Runtimes, and the files that speak for them.
const RUNTIMES: [(&str, &[&str]); 4] = [
    ("python", &["requirements.txt", "pyproject.toml", "main.py"]),
    ("node", &["package.json", "main.mjs", "main.ts"]),
    ("go", &["go.mod"]),
    ("rust", &["Cargo.toml"]),
];

/// Gives the manifest in the folder the name that the function has, or writes one.
///
/// # Errors
///
/// When it is another function's or there is something else, or nothing says what runs the files.
pub(super) fn complete(dir: &Path, namespace: &str, name: &str) -> anyhow::Result<()> {
    let files = files(dir)?;
    let mut found = Vec::new();
    for file in &files {
        found.extend(objects(dir, file)?.into_iter().map(|object| (file, object)));
    }
    let (file, object) = match found.len() {
        0 => (DEFAULT, made(&files)?),
        1 => {
            let (file, object) = found.swap_remove(0);
            (file.as_str(), object)
        }
        _ => {
            let found: Vec<&str> = found.iter().map(|(file, _)| file.as_str()).collect();
            bail!(
                "there are several functions in {}, and a repository is one function",
                found.join(", ")
            );
        }
    };
    let object = named(file, object, namespace, name)?;
    let path = dir.join(file);
    // JSON is YAML. What is there is no link: those with such names were refused.
    fs::write(&path, serde_json::to_vec_pretty(&object)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut mark = fs::File::create(mark(dir))?;
    mark.write_all(file.as_bytes())?;
    Ok(())
}

/// The file with the manifest, once it is complete; relative to the folder.
pub(super) fn file(dir: &Path) -> anyhow::Result<PathBuf> {
    let file = fs::read_to_string(mark(dir)).context("there is no manifest")?;
    Ok(PathBuf::from(file))
}

fn mark(dir: &Path) -> PathBuf {
    dir.join(".git/manifest")
}

/// The names of the files in the folder itself, in order.
fn files(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push(name);
        } else if kind.is_symlink() && manifest::is_candidate(Path::new(&name)) {
            bail!("{name} is a link; put the file itself there");
        }
    }
    files.sort();
    Ok(files)
}

/// The functions in a file; none if it is something else.
fn objects(dir: &Path, file: &str) -> anyhow::Result<Vec<Value>> {
    if !manifest::is_candidate(Path::new(file)) {
        return Ok(Vec::new());
    }
    let is_meant = manifest::is_meant(Path::new(file));
    let Some(text) = manifest::text_found(&dir.join(file))? else {
        return Ok(Vec::new());
    };
    let strict = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = match serde_saphyr::from_multiple_with_options(&text, strict) {
        Ok(documents) => documents,
        // What names Fermata means to be one, and is not what it seems without it.
        Err(error) if is_meant || text.contains(fermata_crds::GROUP) => {
            return Err(error).with_context(|| format!("{file} is not valid YAML"));
        }
        Err(_) => return Ok(Vec::new()),
    };
    if is_meant && documents.is_empty() {
        bail!("{file} is no manifest of a Function: it is empty");
    }
    let mut objects = Vec::new();
    for document in documents {
        let field = |name: &str| document[name].as_str().unwrap_or_default();
        let (version, kind) = (field("apiVersion"), field("kind"));
        let is_ours = version
            .strip_prefix(fermata_crds::GROUP)
            .is_some_and(|rest| rest.starts_with('/'));
        match (version, kind) {
            (_, "Function") if is_ours => objects.push(document),
            ("", _) | (_, "") if is_meant => {
                bail!("{file} is no manifest of a Function: apiVersion or kind is missing");
            }
            ("", _) | (_, "") => {}
            _ => bail!(
                "{file} has a {kind}: a push deploys a Function alone; apply everything else with kubectl"
            ),
        }
    }
    Ok(objects)
}

/// A manifest for these files.
fn made(files: &[String]) -> anyhow::Result<Value> {
    let runtime = runtime(files)?;
    Ok(json!({
        "apiVersion": format!("{}/{}", fermata_crds::GROUP, fermata_crds::VERSION),
        "kind": "Function",
        "metadata": {},
        "spec": {"source": {"runtime": runtime}},
    }))
}

/// What runs these files.
fn runtime(files: &[String]) -> anyhow::Result<&'static str> {
    let mut spoken = RUNTIMES.iter().filter_map(|(runtime, known)| {
        let file = known
            .iter()
            .find(|known| files.iter().any(|file| file == *known))?;
        Some((*runtime, *file))
    });
    match (spoken.next(), spoken.next()) {
        (Some((runtime, _)), None) => Ok(runtime),
        (Some((one, because)), Some((other, too))) => bail!(
            "{because} speaks for {one} and {too} for {other}; say which it is in source.runtime of a function.yaml, as `fermata init` writes it"
        ),
        _ => bail!(
            "nothing says what runs these files: there is no function.yaml, as `fermata init` writes it, and none of {}",
            RUNTIMES
                .iter()
                .flat_map(|(_, files)| files.iter().copied())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// The manifest under the name that was pushed to.
fn named(file: &str, mut object: Value, namespace: &str, name: &str) -> anyhow::Result<Value> {
    for (field, pushed) in [("name", name), ("namespace", namespace)] {
        match &object["metadata"][field] {
            Value::Null => {}
            Value::String(own) if own == pushed => {}
            own => bail!(
                "{file} has the {field} {own}, and it was pushed to {pushed:?}; push it to /git/{}{}.git, or leave the {field} out",
                object["metadata"]["namespace"]
                    .as_str()
                    .filter(|own| *own != "default")
                    .map(|own| format!("{own}/"))
                    .unwrap_or_default(),
                object["metadata"]["name"].as_str().unwrap_or(name)
            ),
        }
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() && !metadata.is_null() {
        bail!("{file}: metadata has no fields");
    }
    metadata["name"] = name.into();
    metadata["namespace"] = namespace.into();
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn completed(files: &[(&str, &str)]) -> anyhow::Result<Value> {
        let dir = folder(files);
        complete(dir.path(), "default", "hello")?;
        let file = dir.path().join(file(dir.path())?);
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    const FUNCTION: &str = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nspec: {image: x}\n";

    #[test]
    fn a_manifest_gets_the_name_that_was_pushed_to() {
        let object = completed(&[("fn.yml", FUNCTION), ("package.json", "{}")]).unwrap();
        assert_eq!(object["metadata"]["name"], "hello");
        assert_eq!(object["metadata"]["namespace"], "default");
        assert_eq!(object["spec"]["image"], "x");
        let own = format!("metadata: {{name: hello}}\n{FUNCTION}");
        assert!(completed(&[("function.yaml", &own)]).is_ok());
    }

    #[test]
    fn without_one_the_files_say_what_runs_them() {
        for (file, runtime) in [
            ("requirements.txt", "python"),
            ("pyproject.toml", "python"),
            ("main.py", "python"),
            ("package.json", "node"),
            ("main.mjs", "node"),
            ("main.ts", "node"),
            ("go.mod", "go"),
            ("Cargo.toml", "rust"),
        ] {
            let object = completed(&[(file, ""), ("README.md", ""), ("a.yaml", "a: 1")]).unwrap();
            assert_eq!(object["spec"]["source"]["runtime"], runtime, "{file}");
        }
    }

    #[test]
    fn what_cannot_be_deployed_is_told() {
        let other = format!("metadata: {{name: other, namespace: shop}}\n{FUNCTION}");
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
        let two = format!("{FUNCTION}---\n{FUNCTION}");
        for (files, says) in [
            (&[("main.sh", "")][..], "nothing says what runs"),
            (
                &[("main.py", ""), ("go.mod", "")],
                "main.py speaks for python and go.mod for go",
            ),
            (&[("function.yaml", other.as_str())], "/git/shop/other.git"),
            (
                &[("all.yaml", secret), ("main.py", "")],
                "all.yaml has a Secret",
            ),
            (&[("function.yaml", two.as_str())], "several functions"),
            (
                &[("function.yaml", "a: ["), ("main.py", "")],
                "not valid YAML",
            ),
            (
                &[("function.yaml", "spec: {}"), ("main.py", "")],
                "is no manifest",
            ),
            (
                &[(
                    "function.yaml",
                    "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: x\n",
                )],
                "metadata",
            ),
        ] {
            let error = format!("{:#}", completed(files).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
