//! What an init container is given in its volumes, as digests.

use std::{collections::BTreeMap, fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The files of a volume, by their paths.
pub(super) type Files = BTreeMap<String, File>;

/// A file, as far as it makes a difference.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct File {
    pub(super) executable: bool,
    pub(super) digest: String,
}

/// Reads the files of a volume.
pub(super) fn read(volume: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![volume.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let mut digest = Sha256::new();
            if metadata.is_symlink() {
                digest.update(fs::read_link(&path)?.as_os_str().as_encoded_bytes());
            } else {
                io::copy(&mut fs::File::open(&path)?, &mut digest)?;
            }
            let name = path.strip_prefix(volume).unwrap_or(&path);
            let file = File {
                executable: metadata.permissions().mode() & 0o111 != 0,
                digest: hex(&digest.finalize()),
            };
            files.insert(name.to_string_lossy().into_owned(), file);
        }
    }
    Ok(files)
}

/// Bytes as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
