//! A folder as a layer: a compressed tar. The same files give the same bytes, whoever made them and when.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use crate::{
    digest::Digesting,
    error::Error,
    settings::{Folder, KnownLayer},
};

/// Folders and what may be run; and all else. Nobody but root, to whom all belongs, could write to them.
const RUNNABLE: u32 = 0o555;
const READABLE: u32 = 0o444;

/// How much a layer may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// A layer in a file.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) file: PathBuf,
    pub(crate) layer: KnownLayer,
}

/// Packs a folder into a file. Links are not followed, and what is neither file, folder nor link is refused.
/// `what` is how the folder is called in errors.
pub(crate) fn pack(
    folder: &Folder,
    what: &'static str,
    limits: Limits,
    file: &Path,
) -> Result<Packed, Error> {
    let unwritable = |source| Error::Write {
        path: file.to_owned(),
        source,
    };
    let output = File::create(file).map_err(unwritable)?;
    // Neither time nor name of a file, nor the system that it was made on.
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Digesting::new(BufWriter::new(output)), Compression::new(6));
    let mut packing = Packing {
        tar: tar::Builder::new(Digesting::new(gzip)),
        root: &folder.from,
        target: &folder.target,
        what,
        limits,
        left: limits,
        file,
    };
    packing.all()?;
    let (gzip, diff_id, _) = packing.tar.into_inner().map_err(unwritable)?.finish();
    let (mut output, digest, size) = gzip.finish().map_err(unwritable)?.finish();
    output.flush().map_err(unwritable)?;
    Ok(Packed {
        file: file.to_owned(),
        layer: KnownLayer {
            digest,
            diff_id,
            size,
        },
    })
}

struct Packing<'a, W: io::Write> {
    tar: tar::Builder<W>,
    root: &'a Path,
    target: &'a str,
    what: &'static str,
    limits: Limits,
    left: Limits,
    file: &'a Path,
}

impl<W: io::Write> Packing<'_, W> {
    /// A folder goes before what it holds, and names in the order of their bytes.
    fn all(&mut self) -> Result<(), Error> {
        let mut due = vec![PathBuf::new()];
        while let Some(path) = due.pop() {
            let here = self.root.join(&path);
            let unreadable = |source| Error::Read {
                path: here.clone(),
                source,
            };
            // The folder itself may be reached by a link; nothing within is.
            let metadata = if path.as_os_str().is_empty() {
                fs::metadata(&here)
            } else {
                fs::symlink_metadata(&here)
            };
            let metadata = metadata.map_err(unreadable)?;
            self.count(1, 0)?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.append(EntryType::Directory, &path, RUNNABLE, 0, io::empty())?;
                let mut names = Vec::new();
                for entry in fs::read_dir(&here).map_err(unreadable)? {
                    let name = entry.map_err(unreadable)?.file_name();
                    self.check(&path, &name)?;
                    names.push(name);
                    // What is listed is in memory: no more of it than may be packed.
                    if names.len() as u64 > self.left.files {
                        return Err(self.too_many());
                    }
                }
                names.sort_unstable_by(|one, other| other.cmp(one));
                due.extend(names.into_iter().map(|name| path.join(name)));
            } else if kind.is_file() {
                let size = metadata.len();
                self.count(0, size)?;
                let mode = if metadata.permissions().mode() & 0o111 == 0 {
                    READABLE
                } else {
                    RUNNABLE
                };
                let content = File::open(&here).map_err(unreadable)?;
                self.append(
                    EntryType::Regular,
                    &path,
                    mode,
                    size,
                    Exactly {
                        content,
                        left: size,
                    },
                )?;
            } else if kind.is_symlink() {
                let to = fs::read_link(&here).map_err(unreadable)?;
                let mut header = header(EntryType::Symlink, 0o777, 0);
                let name = self.name(&path);
                let packed = self.tar.append_link(&mut header, name, to);
                packed.map_err(|source| self.unwritable(source))?;
            } else {
                return Err(Error::Content {
                    path,
                    why: "it is neither file, folder nor link; let the build leave it out",
                });
            }
        }
        Ok(())
    }

    /// A name by which a registry's layers say that something is gone.
    fn check(&self, path: &Path, name: &std::ffi::OsStr) -> Result<(), Error> {
        if name.as_encoded_bytes().starts_with(b".wh.") {
            return Err(Error::Content {
                path: path.join(name),
                why: "names that begin with .wh. delete files in images; rename it",
            });
        }
        Ok(())
    }

    fn name(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() {
            PathBuf::from(self.target)
        } else {
            Path::new(self.target).join(path)
        }
    }

    fn append(
        &mut self,
        kind: EntryType,
        path: &Path,
        mode: u32,
        size: u64,
        content: impl Read,
    ) -> Result<(), Error> {
        let mut name = self.name(path);
        if kind == EntryType::Directory {
            name.push("");
        }
        let mut header = header(kind, mode, size);
        let packed = self.tar.append_data(&mut header, name, content);
        packed.map_err(|source| self.unwritable(source))
    }

    fn count(&mut self, files: u64, bytes: u64) -> Result<(), Error> {
        let Some(files) = self.left.files.checked_sub(files) else {
            return Err(self.too_many());
        };
        let Some(bytes) = self.left.bytes.checked_sub(bytes) else {
            return Err(Error::TooMuch {
                what: self.what,
                most: self.limits.bytes,
                unit: "bytes",
            });
        };
        self.left = Limits { bytes, files };
        Ok(())
    }

    fn too_many(&self) -> Error {
        Error::TooMuch {
            what: self.what,
            most: self.limits.files,
            unit: "files and folders",
        }
    }

    fn unwritable(&self, source: io::Error) -> Error {
        Error::Write {
            path: self.file.to_owned(),
            source,
        }
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// A file as long as it was when it was looked at: a tar with other lengths is none.
struct Exactly {
    content: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.content.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::other(
                "a file became shorter while it was packed",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
