//! What the files of a function hold, as its manifest carries it, or as a bundle that the manifest names.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, bail};
use fermata_crds::source_files::{MOST_SOURCE_BYTES, MOST_SOURCE_FILES, SourceFiles};
use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use super::{
    super::folder::MOST_LOOKED_AT,
    pointers, secrets,
    walk::{self, Found},
};
use crate::{
    bundle::{self, Bundle, Kept, Store},
    output,
};

/// How many of the largest files are named when there is too much.
const LARGEST_NAMED: usize = 3;

/// The code of a function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Code {
    /// It fits into the manifest.
    Inline(SourceFiles),
    /// It does not.
    Bundle(Bundle),
}

/// The code of a function, where the function finds it.
#[derive(Clone, Debug)]
pub(crate) enum Placed {
    /// In the manifest.
    Inline(SourceFiles),
    /// In a repository that the manifest names.
    Kept(Kept),
}

// === impl Code ===

impl Code {
    /// It as it stands in a manifest, if it does.
    pub(crate) fn inline(self) -> Option<Placed> {
        match self {
            Self::Inline(files) => Some(Placed::Inline(files)),
            Self::Bundle(_) => None,
        }
    }

    /// Brings it to where the function finds it, if it does not fit into a manifest.
    ///
    /// # Errors
    ///
    /// When the cluster does not take it.
    pub(crate) async fn place(
        self,
        store: &Store,
        namespace: &str,
        function: &str,
    ) -> anyhow::Result<Placed> {
        match self {
            Self::Inline(files) => Ok(Placed::Inline(files)),
            Self::Bundle(bundle) => {
                let kept = store.keep(&bundle, namespace, function).await?;
                Ok(Placed::Kept(kept))
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Inline(files) if files.is_empty())
    }
}

// === impl Placed ===

impl Placed {
    /// Makes it the code of a `source`, in the place of what that has.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON, which does not happen.
    pub(crate) fn put(&self, source: &mut Map<String, Value>) -> anyhow::Result<()> {
        for place in super::PLACES {
            source.remove(place);
        }
        match self {
            Self::Inline(files) => {
                if !files.text.is_empty() {
                    source.insert("files".into(), serde_json::to_value(&files.text)?);
                }
                if !files.binary.is_empty() {
                    source.insert("binaryFiles".into(), serde_json::to_value(&files.binary)?);
                }
            }
            Self::Kept(kept) => kept.put(source),
        }
        Ok(())
    }
}

/// Reads files that were found in a folder.
///
/// # Errors
///
/// With the largest of them when they are too large together, with the name of one that cannot be read, and with those that
/// Git LFS keeps elsewhere.
pub(super) fn read(dir: &Path, found: &[Found]) -> anyhow::Result<Code> {
    pointers::refuse(dir, found)?;
    secrets::warn(dir, found);
    let sizes = found.iter().map(|file| file.size + file.name.len() as u64);
    let size: u64 = sizes.sum();
    if size > MOST_SOURCE_BYTES as u64 || found.len() > MOST_SOURCE_FILES {
        return bundled(dir, found).map(Code::Bundle);
    }
    inline(dir, found).map(Code::Inline)
}

fn inline(dir: &Path, found: &[Found]) -> anyhow::Result<SourceFiles> {
    let mut files = SourceFiles::default();
    let mut size = 0;
    for file in found {
        let mut bytes = Vec::new();
        // A file may have grown since.
        File::open(&file.path)
            .and_then(|open| {
                open.take(MOST_SOURCE_BYTES as u64 + 1)
                    .read_to_end(&mut bytes)
            })
            .with_context(|| format!("cannot read {}", file.path.display()))?;
        size += bytes.len();
        if size > MOST_SOURCE_BYTES {
            bail!(
                "the source in {} is more than {}, with {}; is that a file?",
                dir.display(),
                amount(MOST_SOURCE_BYTES as u64),
                file.path.display()
            );
        }
        let name = file.name.clone();
        let bytes = match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => {
                files.text.insert(name, text);
                continue;
            }
            Ok(text) => text.into_bytes(),
            Err(error) => error.into_bytes(),
        };
        files.binary.insert(name, ByteString(bytes));
    }
    check_paths(dir, &files)?;
    Ok(files)
}

/// A bundle of files that are too many, or too large, for a manifest.
fn bundled(dir: &Path, found: &[Found]) -> anyhow::Result<Bundle> {
    let size: u64 = found.iter().map(|file| file.size).sum();
    let summary = format!("{} in {} files", amount(size), found.len());
    let about = format!(
        "the source in {} has {summary} (the largest: {})",
        dir.display(),
        largest(found)
    );
    if size > bundle::MOST_BYTES || found.len() > MOST_LOOKED_AT {
        bail!(
            "{about}, and at most {} in {MOST_LOOKED_AT} files are taken. Leave out what the function does not need in {}, mount data as a volume, or build an image",
            amount(bundle::MOST_BYTES),
            dir.join(".fermataignore").display()
        );
    }
    let names = found.iter().map(|file| (file.name.clone(), String::new()));
    let names = SourceFiles {
        text: names.collect(),
        ..SourceFiles::default()
    };
    check_paths(dir, &names)?;
    let refused = found.iter().filter(|file| is_gits_own(&file.name));
    let refused: Vec<String> = refused
        .map(|file| format!("{} (git keeps this name for itself)", file.name))
        .collect();
    if !refused.is_empty() {
        return Err(walk::refusal(dir, &refused));
    }
    let files: Vec<bundle::File<'_>> = found
        .iter()
        .map(|file| bundle::File {
            name: &file.name,
            path: &file.path,
            size: file.size,
        })
        .collect();
    Bundle::of(&files, summary, about)
}

/// Whether git takes no file of this name into a commit.
fn is_gits_own(name: &str) -> bool {
    name.split('/')
        .any(|part| part.eq_ignore_ascii_case(".git") || part.eq_ignore_ascii_case("git~1"))
}

fn check_paths(dir: &Path, files: &SourceFiles) -> anyhow::Result<()> {
    files
        .check_paths()
        .map_err(|(path, why)| walk::refusal(dir, &[format!("{} ({why})", output::name(&path))]))
}

/// The largest files, in words.
fn largest(found: &[Found]) -> String {
    let mut largest: Vec<&Found> = found.iter().collect();
    largest.sort_by(|one, other| {
        (other.size, &one.name).cmp(&(one.size, &other.name)) // largest first
    });
    let named = largest.iter().take(LARGEST_NAMED);
    let named: Vec<String> = named
        .map(|file| format!("{} ({})", output::name(&file.name), amount(file.size)))
        .collect();
    named.join(", ")
}

/// Bytes as people write them.
fn amount(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        ..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes.div_ceil(KIB)),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        let amounts = [5, 900 * 1024, 900 * 1024 + 1, 5 * 1024 * 1024 / 2].map(amount);
        assert_eq!(amounts, ["5 bytes", "900 KiB", "901 KiB", "2.5 MiB"]);
    }
}
