//! Manifests: read from files, complete them, apply them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    discovery::{self, Scope},
};
use serde_json::Value;

/// The most a directory of source files may hold together; a ConfigMap takes 1 MiB.
const MOST_SOURCE: u64 = 900 * 1024;

/// A manifest larger than this is no manifest.
const MOST_MANIFEST: u64 = 4 * 1024 * 1024;

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) file: PathBuf,
    pub(crate) object: DynamicObject,
}

// === impl Manifest ===

impl Manifest {
    /// Kind and name, as people write it: `function/hello`.
    pub(crate) fn title(&self) -> String {
        let kind = self
            .object
            .types
            .as_ref()
            .map(|types| types.kind.to_lowercase())
            .unwrap_or_default();
        format!("{kind}/{}", self.object.name_any())
    }

    /// Applies the object as it is in its file, on the server's side. Fields that others have set
    /// meanwhile are taken over.
    ///
    /// # Errors
    ///
    /// With the server's own sentence when it refuses the object.
    pub(crate) async fn apply(
        &self,
        client: &Client,
        namespace: &str,
    ) -> anyhow::Result<DynamicObject> {
        let types = self.object.types.clone().unwrap_or_default();
        let kind = types
            .try_into()
            .with_context(|| format!("{}: apiVersion or kind is not valid", self.file.display()))?;
        let (resource, capabilities) =
            discovery::pinned_kind(client, &kind)
                .await
                .with_context(|| {
                    format!(
                        "{}: the cluster does not know the kind {} of {}",
                        self.file.display(),
                        kind.kind,
                        kind.api_version()
                    )
                })?;
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(
                client.clone(),
                self.object
                    .metadata
                    .namespace
                    .as_deref()
                    .unwrap_or(namespace),
                &resource,
            ),
        };
        let mut params = PatchParams::apply("fermata-cli").force();
        params.field_validation = Some(ValidationDirective::Strict);
        match api
            .patch(
                &self.object.name_any(),
                &params,
                &Patch::Apply(&self.object),
            )
            .await
        {
            Ok(applied) => Ok(applied),
            Err(kube::Error::Api(status)) => bail!(
                "{} in {} was refused: {}",
                self.title(),
                self.file.display(),
                status.message
            ),
            Err(error) => Err(error).with_context(|| {
                format!(
                    "{} in {} was not applied",
                    self.title(),
                    self.file.display()
                )
            }),
        }
    }
}

/// Reads the objects of files and directories, in the order to apply them: what others need comes
/// first. `-` is standard input.
///
/// # Errors
///
/// With the file's name, for a file that cannot be read or is no manifest.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = manifests_in(path)?;
            if files.is_empty() {
                bail!(
                    "there is no manifest (*.yaml, *.yml, *.json) in {}",
                    path.display()
                );
            }
            for file in files {
                manifests.extend(read_file(&file)?);
            }
        } else {
            manifests.extend(read_file(path)?);
        }
    }
    manifests.sort_by_key(|manifest| rank(&manifest.object));
    Ok(manifests)
}

/// Names, times and sizes of files.
pub(crate) type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// What tells whether files have changed: their names, times and sizes, those of the code beside
/// manifests included. Files that cannot be looked at are left out.
pub(crate) fn stamp(paths: &[PathBuf]) -> Stamp {
    let mut stamps = Vec::new();
    for path in paths {
        let dir = if path.is_dir() {
            path.as_path()
        } else {
            folder(path)
        };
        for file in entries(dir).unwrap_or_default() {
            if let Ok(metadata) = file.metadata() {
                stamps.push((file, metadata.modified().ok(), metadata.len()));
            }
        }
    }
    stamps.sort();
    stamps
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn rank(object: &DynamicObject) -> u8 {
    match object.types.as_ref().map(|types| types.kind.as_str()) {
        Some("Namespace") => 0,
        Some("CustomResourceDefinition") => 1,
        Some("Function") => 9,
        _ => 5,
    }
}

fn manifests_in(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = entries(dir)?
        .into_iter()
        .filter(|path| is_manifest(path) && path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)
        .with_context(|| format!("cannot read the directory {}", dir.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn is_manifest(path: &Path) -> bool {
    matches!(
        path.extension().and_then(|extension| extension.to_str()),
        Some("yaml" | "yml" | "json")
    )
}

fn read_file(path: &Path) -> anyhow::Result<Vec<Manifest>> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
    } else {
        let size = std::fs::metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .len();
        if size > MOST_MANIFEST {
            bail!(
                "{} has {size} bytes; a manifest has at most {MOST_MANIFEST}",
                path.display()
            );
        }
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    // YAML 1.2: a namespace called n is no boolean.
    let strict = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(&text, strict)
        .with_context(|| format!("{} is not valid YAML", path.display()))?;
    let mut manifests = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        for object in flatten(document) {
            manifests.push(parse(path, object)?);
        }
    }
    Ok(manifests)
}

/// A List stands for its items.
fn flatten(mut document: Value) -> Vec<Value> {
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items))
            if document["kind"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("List")) =>
        {
            items
        }
        Some(other) => {
            document["items"] = other;
            vec![document]
        }
        None => vec![document],
    }
}

fn parse(path: &Path, mut object: Value) -> anyhow::Result<Manifest> {
    complete(path, &mut object)?;
    let object: DynamicObject = serde_json::from_value(object)
        .with_context(|| format!("{} is not a Kubernetes manifest", path.display()))?;
    if object
        .types
        .as_ref()
        .is_none_or(|types| types.kind.is_empty() || types.api_version.is_empty())
    {
        bail!("{}: apiVersion and kind are missing", path.display());
    }
    if object.name_any().is_empty() {
        bail!("{}: metadata.name is missing", path.display());
    }
    Ok(Manifest {
        file: path.to_owned(),
        object,
    })
}

/// A Function whose source names no files has its code beside its manifest.
fn complete(path: &Path, object: &mut Value) -> anyhow::Result<()> {
    let is_function = object["kind"] == "Function"
        && object["apiVersion"]
            .as_str()
            .is_some_and(|version| version.starts_with("fermata.dev/"));
    let Some(source) = object
        .pointer_mut("/spec/source")
        .filter(|_| is_function)
        .and_then(Value::as_object_mut)
    else {
        return Ok(());
    };
    if source.contains_key("files") || source.contains_key("configMap") {
        return Ok(());
    }
    let dir = folder(path);
    let files = source_files(dir)?;
    if files.is_empty() {
        bail!(
            "{}: the function has no code: there are no files beside the manifest, and source names neither files nor configMap",
            path.display()
        );
    }
    source.insert("files".into(), serde_json::to_value(files)?);
    Ok(())
}

/// The code in a directory: its text files, but for manifests and hidden files.
pub(crate) fn source_files(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut size = 0;
    for path in entries(dir)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with('.') || is_manifest(&path) || !path.is_file() {
            continue;
        }
        let content = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot take {} as source text", path.display()))?;
        size += content.len() as u64;
        if size > MOST_SOURCE {
            bail!(
                "the source files in {} have more than {MOST_SOURCE} bytes; build an image instead",
                dir.display()
            );
        }
        files.insert(name.to_owned(), content);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    const FUNCTION: &str = "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: a}\nspec: {source: {runtime: python}}\n";

    #[test]
    fn code_beside_the_manifest_becomes_source_files() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "main.py", "def handle(request): return 'hi'\n");
        write(dir.path(), ".hidden", "x");
        write(dir.path(), "function.yaml", FUNCTION);
        let manifests = read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(manifests[0].title(), "function/a");
        let files = &manifests[0].object.data["spec"]["source"]["files"];
        assert_eq!(
            files,
            &serde_json::json!({"main.py": "def handle(request): return 'hi'\n"})
        );
    }

    #[test]
    fn what_functions_need_comes_before_them() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "main.py", "x = 1\n");
        let text = format!(
            "{FUNCTION}---\n---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Secret, metadata: {{name: s}}}}\n- {{apiVersion: v1, kind: Namespace, metadata: {{name: n}}}}\n"
        );
        let path = write(dir.path(), "all.yaml", &text);
        let titles: Vec<String> = read(&[path]).unwrap().iter().map(Manifest::title).collect();
        assert_eq!(titles, ["namespace/n", "secret/s", "function/a"]);
    }

    #[test]
    fn bad_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, says) in [
            ("a.yaml", "a: [", "not valid YAML"),
            (
                "b.yaml",
                "kind: Function\nmetadata: {name: a}\n",
                "apiVersion and kind are missing",
            ),
            (
                "c.yaml",
                "apiVersion: v1\nkind: Secret\n",
                "metadata.name is missing",
            ),
            ("d.yaml", FUNCTION, "the function has no code"),
        ] {
            let path = write(dir.path(), name, text);
            let error = format!("{:#}", read(std::slice::from_ref(&path)).unwrap_err());
            assert!(error.contains(says) && error.contains(name), "{error}");
        }
        let error = format!("{:#}", read(&[dir.path().join("none.yaml")]).unwrap_err());
        assert!(error.contains("none.yaml"), "{error}");
    }
}
