//! What the files of a function hold, as its manifest carries it.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, bail};
use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use super::walk::Found;

/// The most that source files may hold together; a ConfigMap takes 1 MiB.
const MOST_SOURCE: u64 = 900 * 1024;

/// How many of the largest files are named when there is too much.
const LARGEST_NAMED: usize = 5;

/// Files by their paths from the function's folder.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Code {
    texts: BTreeMap<String, String>,
    /// What is no text.
    binaries: BTreeMap<String, ByteString>,
}

// === impl Code ===

impl Code {
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.binaries.is_empty()
    }

    /// Makes it the code of a `source`, in the place of what that has.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON, which does not happen.
    pub(crate) fn put_into(self, source: &mut Map<String, Value>) -> anyhow::Result<()> {
        for place in super::PLACES {
            source.remove(place);
        }
        if !self.texts.is_empty() {
            source.insert("files".into(), serde_json::to_value(self.texts)?);
        }
        if !self.binaries.is_empty() {
            source.insert("binaryFiles".into(), serde_json::to_value(self.binaries)?);
        }
        Ok(())
    }
}

/// Reads files that were found in a folder.
///
/// # Errors
///
/// With the largest of them when they are too large together, and with the name of one that cannot be read.
pub(super) fn read(dir: &Path, found: Vec<Found>) -> anyhow::Result<Code> {
    check_size(dir, &found)?;
    let mut code = Code::default();
    for file in &found {
        let mut bytes = Vec::new();
        // A file may have grown since.
        File::open(&file.path)
            .and_then(|open| open.take(MOST_SOURCE + 1).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", file.path.display()))?;
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => {
                code.texts.insert(file.name.clone(), text);
            }
            Ok(text) => {
                let bytes = ByteString(text.into_bytes());
                code.binaries.insert(file.name.clone(), bytes);
            }
            Err(error) => {
                let bytes = ByteString(error.into_bytes());
                code.binaries.insert(file.name.clone(), bytes);
            }
        }
    }
    Ok(code)
}

fn check_size(dir: &Path, found: &[Found]) -> anyhow::Result<()> {
    let size: u64 = found.iter().map(|file| file.size).sum();
    if size <= MOST_SOURCE {
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
        "the source in {} has {} in {} files, and at most {} are taken; the largest: {}. Leave out what the function does not need in {}, mount data as a volume, or build an image",
        dir.display(),
        amount(size),
        found.len(),
        amount(MOST_SOURCE),
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
