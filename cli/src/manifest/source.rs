//! A function's code: the files beside its manifest.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    Manifest, document,
    folder::{Entry, Folder},
};

/// The most that source files may hold together; a ConfigMap takes 1 MiB.
const MOST_SOURCE: u64 = 900 * 1024;

/// Gives a Function whose source names no files those beside its manifest.
///
/// # Errors
///
/// When there are none, or something there cannot be source.
pub(super) fn complete(manifest: &mut Manifest) -> anyhow::Result<()> {
    if !manifest.is_function() {
        return Ok(());
    }
    let Some(source) = manifest
        .object
        .data
        .pointer_mut("/spec/source")
        .and_then(Value::as_object_mut)
    else {
        return Ok(());
    };
    if source.contains_key("files") || source.contains_key("configMap") {
        return Ok(());
    }
    let dir = folder_of(&manifest.file);
    let files = in_folder(dir)?;
    if files.is_empty() {
        bail!(
            "{}: the function has no code: there are no files beside the manifest (but for those that are left out, see .fermataignore), and source names neither files nor configMap",
            manifest.file.display()
        );
    }
    source.insert("files".into(), serde_json::to_value(files)?);
    Ok(())
}

/// The code in a folder: its text files, without manifests and what is left out.
///
/// # Errors
///
/// With the names of everything that cannot be source.
pub(crate) fn in_folder(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let folder = Folder::open(dir, dir)?;
    let mut files = BTreeMap::new();
    let mut refused = Vec::new();
    for entry in &folder.entries {
        // A manifest that is broken is one all the same, and whoever reads it says so.
        if document::is_candidate(&entry.path)
            && entry.is_file()
            && !matches!(document::find(&entry.path), Ok(None))
        {
            continue;
        }
        match take(&folder, entry) {
            Ok(Some(text)) => {
                files.insert(entry.name.clone(), text);
            }
            Ok(None) => {}
            Err(why) => refused.push(format!("{} ({why})", entry.name)),
        }
    }
    refuse(dir, &refused)?;
    check_size(&dir.display().to_string(), &files)?;
    Ok(files)
}

/// The code in files and folders that were named one by one.
///
/// # Errors
///
/// With the name of what cannot be source.
pub(crate) fn named(paths: &[std::path::PathBuf]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            files.extend(in_folder(path)?);
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("{} is no file name", path.display()))?;
        let metadata =
            std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = check_name(name)
            .and_then(|()| text(path, metadata.len()))
            .map_err(|why| format!("{name} ({why})"));
        match text {
            Ok(text) => files.insert(name.to_owned(), text),
            Err(refused) => return refuse(folder_of(path), &[refused]).map(|()| files),
        };
    }
    check_size("the command line", &files)?;
    Ok(files)
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// The text of an entry; `None` for a folder with functions of its own, and why it cannot be source.
fn take(folder: &Folder, entry: &Entry) -> Result<Option<String>, String> {
    if entry.is_folder() {
        let others = Folder::open(&entry.path, &folder.dir);
        return if entry.own.is_dir() && others.is_ok_and(|others| others.has_functions()) {
            Ok(None)
        } else {
            Err("a folder".to_owned())
        };
    }
    let Some(metadata) = &entry.target else {
        return Err("a link to nothing".to_owned());
    };
    if !metadata.is_file() {
        return Err("no regular file".to_owned());
    }
    if entry.own.is_symlink() {
        let target = std::fs::canonicalize(&entry.path).map_err(|error| error.to_string())?;
        if !target.starts_with(&folder.real) {
            return Err("a link out of the folder".to_owned());
        }
    }
    check_name(&entry.name)?;
    text(&entry.path, metadata.len()).map(Some)
}

/// The rule of `source.files`, told with the file's name.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if name.chars().all(allowed) {
        return Ok(());
    }
    Err("its name has more than letters, digits, '.', '_' and '-'".to_owned())
}

fn text(path: &Path, size: u64) -> Result<String, String> {
    if size > MOST_SOURCE {
        return Err(format!("{size} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "no UTF-8 text".to_owned())?;
    if text.contains('\0') {
        return Err("no text: it has a zero byte".to_owned());
    }
    Ok(text)
}

fn refuse(dir: &Path, refused: &[String]) -> anyhow::Result<()> {
    if refused.is_empty() {
        return Ok(());
    }
    bail!(
        "{} cannot be source: {}. Source is text files of at most {MOST_SOURCE} bytes, without folders; leave out what the function does not need in {}, mount data as a volume, or build an image",
        dir.display(),
        refused.join(", "),
        dir.join(".fermataignore").display()
    );
}

fn check_size(whose: &str, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let size: u64 = files.values().map(|text| text.len() as u64).sum();
    if size > MOST_SOURCE {
        bail!(
            "the source files of {whose} have {size} bytes together, and at most {MOST_SOURCE} are taken; leave some out in .fermataignore, or build an image"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_cannot_be_source_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("f");
        std::fs::create_dir_all(inside.join("lib")).unwrap();
        std::fs::write(dir.path().join("secret.txt"), "x").unwrap();
        std::fs::write(inside.join("main.py"), "x = 1\n").unwrap();
        std::fs::write(inside.join("logo.png"), [0x89, b'P', 0, 0xff]).unwrap();
        std::fs::write(inside.join("my file.py"), "").unwrap();
        std::os::unix::fs::symlink("../secret.txt", inside.join("secret.txt")).unwrap();
        std::os::unix::fs::symlink("main.py", inside.join("same.py")).unwrap();
        let error = in_folder(&inside).unwrap_err().to_string();
        for part in [
            "lib (a folder)",
            "logo.png (no UTF-8 text)",
            "my file.py (its name",
            "secret.txt (a link out of the folder)",
            ".fermataignore",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(
            !error.contains("same.py") && !error.contains("main.py"),
            "{error}"
        );

        let rules = "lib/\n*.png\nmy*\nsecret.txt\n";
        std::fs::write(inside.join(".fermataignore"), rules).unwrap();
        let files = in_folder(&inside).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["main.py", "same.py"]);
    }

    #[test]
    fn what_is_no_manifest_is_source() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("package.json", "{\"type\": \"module\"}");
        write("config.yaml", "kind: of\nvalues: [1]\n");
        write(
            "template.yaml",
            "{% for kind in all %}\n- a: [\n{% endfor %}\n",
        );
        write(
            "function.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
        );
        let files = in_folder(dir.path()).unwrap();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            ["config.yaml", "package.json", "template.yaml"]
        );
    }
}
