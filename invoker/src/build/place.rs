//! Where a build works: a copy of the inputs, a folder for temporary files, and the target.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use super::{
    error::Error,
    settings::{Bounds, Settings},
    tree::{self, CopyError, Flaw, Size},
};

/// The most that the inputs may be: files of a function are far less, and a wrong folder is more.
const INPUTS: Bounds = Bounds {
    bytes: 256 << 20,
    files: 20_000,
};

/// How much more than its result a tool may have in temporary files.
const SCRATCH: u64 = 4;

/// The folders of a build. Dropping it removes all but the target.
#[derive(Debug)]
pub(super) struct Place {
    target: PathBuf,
    scratch: PathBuf,
}

// === impl Place ===

impl Place {
    /// Copies the inputs, and removes what an earlier try has left.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let target = made(&settings.target)?;
        let source = fs::canonicalize(&settings.source).map_err(|source| Error::Inputs {
            path: settings.source.clone(),
            source,
        })?;
        if source.starts_with(&target) {
            return Err(Error::Refused(format!(
                "FERMATA_TARGET is {}, which is emptied, but the inputs are there; name another folder",
                target.display()
            )));
        }
        let place = Self {
            scratch: scratch(&target)?,
            target,
        };
        for folder in [&place.target, &place.scratch] {
            tree::clear(folder).map_err(|error| unwritable(folder, error))?;
        }
        for folder in [place.source(), place.temporary()] {
            fs::create_dir(&folder).map_err(|error| unwritable(&folder, error))?;
        }
        let leave_out = [place.target.as_path(), place.scratch.as_path()];
        tree::copy_inputs(&source, &place.source(), INPUTS, &leave_out).map_err(
            |error| match error {
                CopyError::Exceeds => Error::ManyInputs {
                    path: source,
                    bytes: INPUTS.bytes,
                    files: INPUTS.files,
                },
                CopyError::LeadsNowhere(link, to) => Error::LeadsNowhere {
                    link: link.strip_prefix(&source).unwrap_or(&link).to_owned(),
                    to,
                },
                CopyError::Io(path, source) => Error::Inputs { path, source },
            },
        )?;
        Ok(place)
    }

    /// The copy of the inputs.
    pub(super) fn source(&self) -> PathBuf {
        self.scratch.join("source")
    }

    /// The folder for temporary files.
    pub(super) fn temporary(&self) -> PathBuf {
        self.scratch.join("tmp")
    }

    /// The folder to install into.
    pub(super) fn target(&self) -> PathBuf {
        self.target.clone()
    }

    /// Fails if there is more than a result may have, or too much beside it.
    pub(super) async fn look(&self, bounds: Bounds) -> Result<(), Error> {
        let (target, scratch) = (self.target.clone(), self.scratch.clone());
        let more = Bounds {
            bytes: bounds.bytes.saturating_mul(SCRATCH),
            files: bounds.files.saturating_mul(SCRATCH),
        };
        let looked = tokio::task::spawn_blocking(move || {
            // What else stands in its place is refused at the end, and not followed.
            if is_folder(&target) {
                within(tree::measure(&target, bounds)?, bounds)?;
            }
            within(tree::measure(&scratch, more)?, more)
        });
        match looked.await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error).into()),
        }
    }

    /// Takes the result as it is, if it may be so; its bytes.
    pub(super) fn accept(&self, bounds: Bounds) -> Result<u64, Error> {
        // A tool may have put something else in its place, and what that leads to is none of the result.
        if !is_folder(&self.target) {
            return Err(Error::Replaced(self.target.clone()));
        }
        let (size, flaw) = tree::inspect(&self.target, bounds)?;
        match flaw {
            Some(Flaw::Unfit(path, what)) => Err(Error::Unfit { path, what }),
            Some(Flaw::LeadsOut(link, to)) => Err(Error::LeadsOut { link, to }),
            None => within(size, bounds).map(|()| size.bytes),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed is found by the next try.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn within(size: Size, bounds: Bounds) -> Result<(), Error> {
    if size.bytes > bounds.bytes {
        return Err(Error::TooLarge(bounds.bytes));
    }
    if size.files > bounds.files {
        return Err(Error::TooMany(bounds.files));
    }
    Ok(())
}

/// The folder's real path; it is made if it is not there.
fn made(folder: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder)
        .and_then(|()| fs::canonicalize(folder))
        .map_err(|error| unwritable(folder, error))
}

/// A folder for all that is not the result. Its name follows from the target, so that the next try finds
/// what this one may leave.
fn scratch(target: &Path) -> Result<PathBuf, Error> {
    let mut hash = DefaultHasher::new();
    target.hash(&mut hash);
    let name = format!("fermata-build-{:016x}", hash.finish());
    let folder = std::env::temp_dir().join(name);
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(unwritable(&folder, error));
        }
        _ => {}
    }
    // Anybody may make folders there.
    let metadata = fs::symlink_metadata(&folder).map_err(|error| unwritable(&folder, error))?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        return Err(Error::Foreign(folder));
    }
    fs::canonicalize(&folder).map_err(|error| unwritable(&folder, error))
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}
