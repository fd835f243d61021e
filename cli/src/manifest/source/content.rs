//! What the files of a function hold, as its manifest carries it.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, bail};
use fermata_crds::source_files::{MOST_SOURCE_BYTES, MOST_SOURCE_FILES, SourceFiles};
use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use super::walk::{self, Found};

/// How many of the largest files are named when there is too much.
const LARGEST_NAMED: usize = 5;

/// Makes files the code of a `source`, in the place of what that has.
///
/// # Errors
///
/// When they cannot be written as JSON, which does not happen.
pub(crate) fn put(files: SourceFiles, source: &mut Map<String, Value>) -> anyhow::Result<()> {
    for place in super::PLACES {
        source.remove(place);
    }
    if !files.text.is_empty() {
        source.insert("files".into(), serde_json::to_value(files.text)?);
    }
    if !files.binary.is_empty() {
        source.insert("binaryFiles".into(), serde_json::to_value(files.binary)?);
    }
    Ok(())
}

/// Reads files that were found in a folder.
///
/// # Errors
///
/// With the largest of them when they are too large together, and with the name of one that cannot be read.
pub(super) fn read(dir: &Path, found: &[Found]) -> anyhow::Result<SourceFiles> {
    check_size(dir, found)?;
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
    files
        .check_paths()
        .map_err(|(path, why)| walk::refusal(dir, &[format!("{path} ({why})")]))?;
    Ok(files)
}

fn check_size(dir: &Path, found: &[Found]) -> anyhow::Result<()> {
    let most = MOST_SOURCE_BYTES as u64;
    let sizes = found.iter().map(|file| file.size + file.name.len() as u64);
    let size: u64 = sizes.sum();
    if size <= most && found.len() <= MOST_SOURCE_FILES {
        return Ok(());
    }
    let mut largest: Vec<&Found> = found.iter().collect();
    largest.sort_by(|one, other| {
        (other.size, &one.name).cmp(&(one.size, &other.name)) // largest first
    });
    let named: Vec<String> = largest
        .iter()
        .take(LARGEST_NAMED)
        .map(|file| format!("{} ({})", file.name, amount(file.size)))
        .collect();
    bail!(
        "the source in {} has {} in {} files, and at most {} in {MOST_SOURCE_FILES} are taken; the largest: {}. Leave out what the function does not need in {}, mount data as a volume, or build an image",
        dir.display(),
        amount(size),
        found.len(),
        amount(most),
        named.join(", "),
        dir.join(".fermataignore").display()
    );
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
