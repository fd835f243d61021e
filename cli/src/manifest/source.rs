//! A function's code: the files beside its manifest.

mod content;
mod pointers;
mod secrets;
mod walk;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use fermata_crds::RuntimeBuild;
use serde_json::Value;

use self::walk::Found;
use super::{Manifest, folder::Folder};

pub(crate) use self::content::{Code, Placed};

/// The fields of `source` that say where the code is.
const PLACES: [&str; 4] = ["files", "binaryFiles", "configMap", "git"];

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
    if PLACES.iter().any(|place| source.contains_key(*place)) {
        return Ok(());
    }
    let dir = folder_of(&manifest.file);
    let code = in_folder(dir)?;
    if code.is_empty() {
        bail!(
            "{}: the function has no code: there are no files beside the manifest (but for those that are left out, see .fermataignore), and source names neither files nor configMap",
            manifest.file.display()
        );
    }
    match code {
        Code::Inline(files) => Placed::Inline(files).put(source)?,
        Code::Bundle(bundle) => manifest.bundle = Some(bundle),
    }
    Ok(())
}

/// The code in a folder and below it, without manifests, folders with functions of their own, and what is
/// left out.
///
/// # Errors
///
/// With the names of everything that cannot be source.
pub(crate) fn in_folder(dir: &Path) -> anyhow::Result<Code> {
    content::read(dir, &walk::through(&Folder::open(dir, dir)?)?)
}

/// The code in files and folders that were named one by one.
///
/// # Errors
///
/// With the name of what cannot be source.
pub(crate) fn named(paths: &[PathBuf]) -> anyhow::Result<Code> {
    let mut found: Vec<Found> = Vec::new();
    let mut place = Path::new(".");
    for path in paths {
        if path.is_dir() {
            place = path;
            found.extend(walk::through(&Folder::open(path, path)?)?);
            continue;
        }
        place = folder_of(path);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("{} is no file name", path.display()))?;
        let metadata =
            std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        found.push(Found {
            name: name.to_owned(),
            path: path.clone(),
            size: metadata.len(),
        });
    }
    content::read(place, &found)
}

/// Those of the files of a folder that a build takes. What cannot be source is not there.
///
/// # Errors
///
/// When the folder cannot be read.
pub(crate) fn inputs(dir: &Path, build: &RuntimeBuild) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let found = walk::found(&Folder::open(dir, dir)?)?;
    let inputs = found.into_iter().filter(|file| build.is_input(&file.name));
    Ok(inputs.map(|file| (file.name, file.path)).collect())
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn source(code: Code) -> Value {
        let mut source = Map::new();
        source.insert("configMap".into(), json!({"name": "old"}));
        code.inline().unwrap().put(&mut source).unwrap();
        Value::Object(source)
    }

    #[test]
    fn text_and_other_content_have_fields_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("main.py", b"x = 1\n");
        write("lib/umlaut.txt", "ä".as_bytes());
        write("lib/logo.png", &[0x89, b'P', 0xff]);
        write("zero", b"a\0b");
        let expected = json!({
            "files": {"lib/umlaut.txt": "ä", "main.py": "x = 1\n"},
            "binaryFiles": {"lib/logo.png": "iVD/", "zero": "YQBi"},
        });
        assert_eq!(source(in_folder(dir.path()).unwrap()), expected);
    }

    #[test]
    fn the_largest_files_are_named_when_it_is_too_much() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        let write = |name: &str, size: usize| {
            std::fs::write(dir.path().join(name), vec![b'x'; size]).unwrap();
        };
        write("main.py", 10);
        // Paths count too.
        write(
            "data/model.bin",
            900 * 1024 - 10 - "main.py".len() - "data/model.bin".len(),
        );
        let code = in_folder(dir.path()).unwrap();
        assert!(matches!(code, Code::Inline(_)));
        write("one-more", 1);
        let code = in_folder(dir.path()).unwrap();
        assert!(matches!(code, Code::Bundle(_)), "{code:?}");
        // Not a file that takes room.
        let large = std::fs::File::create(dir.path().join("data/large")).unwrap();
        large.set_len(100 * 1024 * 1024).unwrap();
        let error = in_folder(dir.path()).unwrap_err().to_string();
        for part in [
            "100.8 MiB in 4 files",
            "the largest: data/large (100.0 MiB), data/model.bin (900 KiB), main.py (10 bytes)",
            "at most 100.0 MiB in 10000 files",
            ".fermataignore",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_git_would_not_take_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("lib/.git")).unwrap();
        std::fs::write(dir.path().join("lib/.git/config"), "").unwrap();
        std::fs::write(dir.path().join("model.bin"), vec![0; 1024 * 1024]).unwrap();
        std::fs::write(dir.path().join(".fermataignore"), "!.git\n").unwrap();
        let error = in_folder(dir.path()).unwrap_err().to_string();
        assert!(error.contains("lib/.git/config (git keeps"), "{error}");
    }

    #[test]
    fn what_does_not_end_is_no_source() {
        let error = named(&["/dev/zero".into()]).unwrap_err().to_string();
        assert!(
            error.contains("/dev/zero") && error.contains("900 KiB"),
            "{error}"
        );
    }

    #[test]
    fn files_that_are_named_lose_their_folders_and_folders_keep_what_is_below() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("app/lib")).unwrap();
        std::fs::write(dir.path().join("app/lib/a.py"), "a").unwrap();
        std::fs::write(dir.path().join("app/main.py"), "m").unwrap();
        let one = named(&[dir.path().join("app/main.py")]).unwrap();
        assert_eq!(source(one), json!({"files": {"main.py": "m"}}));
        let all = named(&[dir.path().join("app")]).unwrap();
        let files = json!({"files": {"lib/a.py": "a", "main.py": "m"}});
        assert_eq!(source(all), files);
    }
}
