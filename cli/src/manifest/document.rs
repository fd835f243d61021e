//! The objects in one file, and what is no manifest.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, bail};
use kube::{ResourceExt as _, api::DynamicObject};
use serde_json::Value;

use super::Manifest;

/// A manifest larger than this is no manifest.
const MOST_MANIFEST: u64 = 4 * 1024 * 1024;

/// Whether a file may be a manifest by its name.
pub(crate) fn is_candidate(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json")) || is_meant(path)
}

/// Whether a file has the name of a function's manifest, however its letters are written: it is meant to be one, and
/// nothing is deployed without what it says.
pub(crate) fn is_meant(path: &Path) -> bool {
    let has = |part: Option<&OsStr>, names: &[&str]| {
        part.is_some_and(|part| names.iter().any(|name| part.eq_ignore_ascii_case(name)))
    };
    has(path.file_stem(), &["function"]) && has(path.extension(), &["yaml", "yml", "json"])
}

/// The text of a file that was found; nothing if it is too large for a manifest, or no text.
///
/// # Errors
///
/// With its name and the reason, when it has the name of a function's manifest all the same.
pub(crate) fn text_found(path: &Path) -> anyhow::Result<Option<String>> {
    // What is no file may never end, or never begin.
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let why = match File::open(path).and_then(bounded) {
        Ok(Some(text)) if !text.contains('\0') || !is_meant(path) => return Ok(Some(text)),
        Ok(None) => {
            format!("it has more than {MOST_MANIFEST} bytes, and manifests have at most that many")
        }
        Err(error) if error.kind() != io::ErrorKind::InvalidData => error.to_string(),
        // Of UTF-16 every other byte is mostly NUL.
        Ok(Some(_)) | Err(_) => "it is no UTF-8 text; save it as UTF-8".to_owned(),
    };
    if is_meant(path) {
        bail!("{} cannot be read as a manifest: {why}", path.display());
    }
    Ok(None)
}

/// Whether a file has a manifest of a Function, as far as that can be told of a broken one too.
pub(super) fn speaks_of_functions(path: &Path) -> bool {
    match text_found(path) {
        Ok(text) => text.is_some_and(|text| {
            text.contains("kind") && text.contains(&format!("{}/", fermata_crds::GROUP))
        }),
        // Whoever reads it says why it cannot be read.
        Err(_) => true,
    }
}

/// The objects in a file that was named, or in standard input, `-`.
///
/// # Errors
///
/// With the file's name, when it cannot be read or is no manifest.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Manifest>> {
    let (what, text) = if path == Path::new("-") {
        ("standard input".to_owned(), bounded(io::stdin()))
    } else {
        let what = path.display().to_string();
        (what, File::open(path).and_then(bounded))
    };
    let text = text.with_context(|| format!("cannot read {what}"))?;
    let Some(text) = text else {
        bail!("{what} has more than {MOST_MANIFEST} bytes, and manifests have at most that many");
    };
    let objects = objects(&text).with_context(|| not_yaml(path))?;
    objects
        .into_iter()
        .map(|object| manifest(path, object))
        .collect()
}

/// The objects in a file that was found in a folder, or `None` when it is something else, such as
/// `package.json`.
///
/// # Errors
///
/// With the file's name, when it is a manifest, but a broken one.
pub(super) fn find(path: &Path) -> anyhow::Result<Option<Vec<Manifest>>> {
    let Some(text) = text_found(path)? else {
        return Ok(None);
    };
    let is_meant = is_meant(path);
    if !is_meant
        && !["apiVersion", "kind"]
            .iter()
            .any(|field| text.contains(field))
    {
        return Ok(None);
    }
    let objects = match objects(&text) {
        Ok(objects) => objects,
        Err(error) if is_meant || looks_like_manifest(&text) => {
            return Err(error).with_context(|| not_yaml(path));
        }
        Err(_) => return Ok(None),
    };
    if !objects.iter().any(is_object) {
        if is_meant {
            bail!(
                "{} is no manifest of a Function: apiVersion and kind are missing",
                path.display()
            );
        }
        return Ok(None);
    }
    let manifests = objects.into_iter().map(|object| manifest(path, object));
    manifests.collect::<anyhow::Result<_>>().map(Some)
}

/// The text that is read; nothing if it is too long for a manifest.
fn bounded(from: impl Read) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    from.take(MOST_MANIFEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_MANIFEST {
        return Ok(None);
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn looks_like_manifest(text: &str) -> bool {
    let has = |field: &str| {
        text.lines()
            .any(|line| line.trim_start_matches(['{', ' ', '"']).starts_with(field))
    };
    has("apiVersion") && has("kind")
}

/// Whether a document wants to be a Kubernetes object, even if it lacks something.
fn is_object(document: &Value) -> bool {
    let has = |field: &str| document[field].is_string();
    match (has("apiVersion"), has("kind")) {
        (true, true) => true,
        (false, false) => false,
        _ => document["metadata"].is_object(),
    }
}

fn not_yaml(path: &Path) -> String {
    format!("{} is not valid YAML", path.display())
}

fn objects(text: &str) -> anyhow::Result<Vec<Value>> {
    // YAML 1.2: a namespace called n is no boolean.
    let strict = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, strict)?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    Ok(documents.flat_map(flatten).collect())
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

fn manifest(path: &Path, object: Value) -> anyhow::Result<Manifest> {
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
        bundle: None,
        uncarried: None,
        file: path.to_owned(),
        object,
    })
}
