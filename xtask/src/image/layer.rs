//! A layer: a tree as a compressed tar.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::tree::{Content, Tree};

/// A layer as a registry keeps it.
#[derive(Debug)]
pub(super) struct Layer {
    /// The compressed tar.
    pub(super) blob: Vec<u8>,
    /// The digest of the tar before it was compressed.
    pub(super) diff_id: String,
}

impl Layer {
    /// Packs a tree. The same tree gives the same bytes.
    pub(super) fn pack(tree: &Tree) -> io::Result<Self> {
        let tar = pack(tree)?;
        // Neither time nor name of a file, nor the system that it was made on.
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(Vec::new(), Compression::default());
        gzip.write_all(&tar)?;
        Ok(Self {
            blob: gzip.finish()?,
            diff_id: digest(&tar),
        })
    }

    /// A layer that was packed before.
    pub(super) fn unpack(blob: Vec<u8>) -> io::Result<Self> {
        let mut tar = Vec::new();
        GzDecoder::new(blob.as_slice()).read_to_end(&mut tar)?;
        let diff_id = digest(&tar);
        Ok(Self { blob, diff_id })
    }
}

fn pack(tree: &Tree) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, entry) in tree.entries() {
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        match &entry.content {
            Content::Folder => {
                header.set_entry_type(EntryType::Directory);
                tar.append_data(&mut header, format!("{path}/"), io::empty())?;
            }
            Content::File(content) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content.as_slice())?;
            }
            Content::Link(target) => {
                header.set_entry_type(EntryType::Symlink);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    tar.into_inner()
}

/// A digest as OCI writes it.
pub(super) fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.add_file("usr/bin/b", 0o755, "b");
        tree.add_file("usr/a", 0o644, "a");
        tree.add_folder("tmp", 0o1777);
        tree
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        assert_eq!(
            Layer::pack(&tree()).unwrap().blob,
            Layer::pack(&tree()).unwrap().blob
        );
    }

    #[test]
    fn a_packed_layer_is_known_again() {
        let layer = Layer::pack(&tree()).unwrap();
        assert_eq!(
            Layer::unpack(layer.blob.clone()).unwrap().diff_id,
            layer.diff_id
        );
    }

    #[test]
    fn folders_go_before_their_files_and_all_belongs_to_root() {
        let tar = pack(&tree()).unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let seen: Vec<(String, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
                assert_eq!(header.mtime().unwrap(), 0);
                (
                    entry.path().unwrap().display().to_string(),
                    header.mode().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("tmp/", 0o1777),
            ("usr/", 0o755),
            ("usr/a", 0o644),
            ("usr/bin/", 0o755),
            ("usr/bin/b", 0o755),
        ];
        let expected: Vec<(String, u32)> = expected
            .into_iter()
            .map(|(path, mode)| (path.to_owned(), mode))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_digest_is_that_of_sha256() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
    }
}
