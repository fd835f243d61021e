//! Manifests: read from files, complete them, apply them.

mod apply;
mod document;
mod folder;
mod ignored;
pub(crate) mod source;

use std::path::{Path, PathBuf};
#[cfg(feature = "embedded")]
use std::time::SystemTime;

use anyhow::bail;
use kube::{ResourceExt as _, api::DynamicObject};

use self::folder::Folder;

pub(crate) use self::document::{is_candidate, is_meant, text_found};

#[cfg(feature = "embedded")]
use crate::{bundle::NoGit, errors};

use crate::bundle::Bundle;

/// The field manager of everything that the command line writes.
pub(crate) const FIELD_MANAGER: &str = "fermata-cli";

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) file: PathBuf,
    pub(crate) object: DynamicObject,
    /// The code of a Function, where it is too large for the manifest.
    pub(crate) bundle: Option<Bundle>,
    /// Why there is no such code on this machine; see [`read_what_can_be`].
    pub(crate) uncarried: Option<String>,
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

    /// Whether it is a Function of ours.
    pub(crate) fn is_function(&self) -> bool {
        is_function(&self.object)
    }
}

/// Reads the objects of files and folders, in the order to apply them: what others need comes first.
/// `-` is standard input. Of the folders below a named one, those with Functions are read too.
///
/// # Errors
///
/// With the file's name, for a file that cannot be read or is no manifest, or for code that cannot be
/// source.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = read_without_code(paths)?;
    for manifest in &mut manifests {
        source::complete(manifest)?;
    }
    Ok(manifests)
}

/// The same where the others are to run although there is no git that could carry the code of one, which fails
/// when it is deployed.
///
/// # Errors
///
/// As [`read`], but for that.
#[cfg(feature = "embedded")]
pub(crate) fn read_what_can_be(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = read_without_code(paths)?;
    for manifest in &mut manifests {
        match source::complete(manifest) {
            Err(error) if error.downcast_ref::<NoGit>().is_some() => {
                manifest.uncarried = Some(errors::line(&error));
            }
            completed => completed?,
        }
    }
    Ok(manifests)
}

/// The same without the code beside the manifests.
///
/// # Errors
///
/// As [`read`], but for the code.
pub(crate) fn read_without_code(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for path in paths {
        if !path.is_dir() {
            manifests.extend(document::read(path)?);
            continue;
        }
        let before = manifests.len();
        for folder in Folder::tree(path)? {
            if folder.dir != *path && !folder.has_functions() {
                continue;
            }
            for file in folder.candidates() {
                manifests.extend(document::find(&file.path)?.unwrap_or_default());
            }
        }
        if manifests.len() == before {
            bail!(
                "there is no manifest (*.yaml, *.yml or *.json with apiVersion and kind) in {}",
                path.display()
            );
        }
    }
    manifests.sort_by_key(|manifest| rank(&manifest.object));
    Ok(manifests)
}

/// The Runtime that a function in a folder names; nothing if none is there, or it has an image.
///
/// # Errors
///
/// With the file's name, for a manifest that is broken.
pub(crate) fn runtime_in(dir: &Path) -> anyhow::Result<Option<String>> {
    for file in Folder::open(dir, dir)?.candidates() {
        let manifests = document::find(&file.path)?.unwrap_or_default();
        let mut functions = manifests.iter().filter(|manifest| manifest.is_function());
        let runtime = functions.find_map(|function| {
            let runtime = function.object.data.pointer("/spec/source/runtime");
            runtime?.as_str().map(str::to_owned)
        });
        if runtime.is_some() {
            return Ok(runtime);
        }
    }
    Ok(None)
}

/// Whether an object is a Function of ours.
pub(crate) fn is_function(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| {
        types.kind == "Function"
            && types
                .api_version
                .strip_prefix(fermata_crds::GROUP)
                .is_some_and(|version| version.starts_with('/'))
    })
}

/// Names, times and sizes of files.
#[cfg(feature = "embedded")]
pub(crate) type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// What tells whether files have changed: their names, times and sizes, those of the code beside
/// manifests and below it included, without what is left out. Files that cannot be looked at are left out
/// too.
#[cfg(feature = "embedded")]
pub(crate) fn stamp(paths: &[PathBuf]) -> Stamp {
    let mut stamps = Vec::new();
    for path in paths {
        let dir = if path.is_dir() {
            path
        } else {
            source::folder_of(path)
        };
        let folders = Folder::with_all_below(dir).unwrap_or_default();
        for folder in folders {
            let files = folder.entries.into_iter().map(|entry| entry.path);
            for file in files.chain(folder.rules) {
                if let Ok(metadata) = file.metadata() {
                    stamps.push((file, metadata.modified().ok(), metadata.len()));
                }
            }
        }
    }
    stamps.sort();
    stamps
}

fn rank(object: &DynamicObject) -> u8 {
    match object.types.as_ref().map(|types| types.kind.as_str()) {
        Some("Namespace") => 0,
        Some("CustomResourceDefinition") => 1,
        Some("Function") => 9,
        _ => 5,
    }
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
            let folder = dir.path().join(name.replace('.', "-"));
            std::fs::create_dir(&folder).unwrap();
            let path = write(&folder, name, text);
            let error = format!("{:#}", read(std::slice::from_ref(&path)).unwrap_err());
            assert!(error.contains(says) && error.contains(name), "{error}");
        }
        let error = format!("{:#}", read(&[dir.path().join("none.yaml")]).unwrap_err());
        assert!(error.contains("none.yaml"), "{error}");
    }

    #[test]
    fn what_does_not_end_is_no_manifest() {
        for path in ["/dev/zero", "/dev/urandom"] {
            let error = read(&[path.into()]).unwrap_err().to_string();
            assert!(error.contains("more than 4194304 bytes"), "{error}");
        }
    }

    #[test]
    fn functions_in_folders_below_are_found_and_what_is_no_function_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, file, text) in [
            (
                "",
                "namespace.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n",
            ),
            ("one", "function.yaml", FUNCTION),
            ("one", "main.py", "x = 1\n"),
            (
                "deep/two",
                "function.yaml",
                &FUNCTION.replace("name: a", "name: b"),
            ),
            ("deep/two", "main.py", "x = 2\n"),
            (
                "chart",
                "pod.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .name }}\n",
            ),
            ("node_modules/x", "function.yaml", FUNCTION),
        ] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            write(&dir.path().join(folder), file, text);
        }
        let manifests = read(&[dir.path().to_owned()]).unwrap();
        let mut titles: Vec<String> = manifests.iter().map(Manifest::title).collect();
        titles.sort();
        assert_eq!(titles, ["function/a", "function/b", "namespace/n"]);
        let code = |manifest: &Manifest| manifest.object.data["spec"]["source"]["files"].clone();
        let two = manifests
            .iter()
            .find(|manifest| manifest.title() == "function/b");
        assert_eq!(
            code(two.unwrap()),
            serde_json::json!({"main.py": "x = 2\n"})
        );
    }

    #[test]
    fn a_broken_manifest_in_a_folder_is_no_source() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "main.py", "x = 1\n");
        for text in [
            "apiVersion: fermata.dev/v1alpha1\nkind: Function\nmetadata: {name: [\n",
            "kind: Function\nmetadata: {name: a}\n",
        ] {
            write(dir.path(), "function.yaml", text);
            let error = format!("{:#}", read(&[dir.path().to_owned()]).unwrap_err());
            assert!(error.contains("function.yaml"), "{error}");
        }
    }

    #[test]
    fn what_has_the_name_of_a_manifest_is_never_passed_over() {
        let utf16: Vec<u8> = FUNCTION.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with_mark = [&[0xff, 0xfe][..], &utf16].concat();
        let large = format!("{FUNCTION}# {}\n", "x".repeat(4 << 20)).into_bytes();
        let neither = b"spec: {}\n".to_vec();
        for (name, bytes, says) in [
            ("function.yaml", &utf16, "UTF-8"),
            ("function.yml", &with_mark, "UTF-8"),
            ("function.YAML", &with_mark, "UTF-8"),
            ("function.json", &large, "more than 4194304 bytes"),
            ("Function.yaml", &neither, "apiVersion and kind are missing"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "main.py", "x = 1\n");
            write(dir.path(), "other.yaml", FUNCTION);
            let below = dir.path().join("below");
            std::fs::create_dir(&below).unwrap();
            for folder in [dir.path(), &below] {
                let path = folder.join(name);
                std::fs::write(&path, bytes).unwrap();
                let read = read(&[dir.path().to_owned()]);
                std::fs::remove_file(path).unwrap();
                if folder == below && says.starts_with("apiVersion") {
                    continue;
                }
                let error = format!("{:#}", read.unwrap_err());
                assert!(error.contains(says) && error.contains(name), "{error}");
            }
            // The same is data by any other name.
            std::fs::write(dir.path().join("data.yaml"), bytes).unwrap();
            if bytes.len() < 1 << 20 {
                assert_eq!(read(&[dir.path().to_owned()]).unwrap().len(), 1);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "main.py", "x = 1\n");
        write(dir.path(), "function.YML", FUNCTION);
        let read = read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(read[0].title(), "function/a");
    }

    #[test]
    fn what_is_left_out_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().to_owned()];
        write(dir.path(), "main.py", "x = 1\n");
        let before = stamp(&paths);
        write(dir.path(), "main.py~", "x");
        write(dir.path(), "test_main.py", "x");
        assert_eq!(stamp(&paths), before);
        write(dir.path(), ".fermataignore", "*.txt\n");
        assert_ne!(stamp(&paths), before);
    }

    #[test]
    fn a_change_far_below_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("1/2/3/4/5/6");
        std::fs::create_dir_all(&deep).unwrap();
        let manifest = write(dir.path(), "function.yaml", FUNCTION);
        for paths in [[dir.path().to_owned()], [manifest]] {
            write(&deep, "a.py", "x = 1\n");
            let before = stamp(&paths);
            write(&deep, "a.py", "x = 10\n");
            assert_ne!(stamp(&paths), before);
        }
    }
}
