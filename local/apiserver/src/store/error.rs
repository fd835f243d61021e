//! Why the store could not be opened or written to.

use std::path::{Path, PathBuf};

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError<G> {
    /// The object is not as the writer expected it.
    #[error("the object has changed")]
    Stale,
    /// The caller's own condition did not hold.
    #[error("a condition of the write does not hold")]
    Refused(G),
    #[error("too many writes wait for the disk")]
    Busy,
    #[error(transparent)]
    Failed(WriteFailed),
}

/// A write that the disk did not take.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot write to {}: {what}; free some space or mend the disk, then try again", path.display())]
pub(crate) struct WriteFailed {
    path: PathBuf,
    what: String,
    /// The disk is full, as opposed to broken.
    pub(crate) full: bool,
}

/// Why a store could not be opened. Nothing is changed or deleted in any of these cases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the file open.
    #[error("the store {} is in use by another process; stop it, or choose another data directory", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged or is no store.
    #[error("the store {} cannot be read: {what}; restore it from a copy, or move it away to begin with an empty one", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file cannot be opened or written.
    #[error("cannot open the store {}; check that its directory exists and is writable, and that the disk has space", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

// === impl WriteFailed ===

impl WriteFailed {
    pub(super) fn new(path: &Path, error: &redb::Error) -> Self {
        let full = matches!(error, redb::Error::Io(io) if matches!(
            io.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge
        ));
        Self {
            path: path.to_owned(),
            what: error.to_string(),
            full,
        }
    }

    pub(super) fn closed() -> Self {
        Self {
            path: PathBuf::from("the store"),
            what: "it is closed".to_owned(),
            full: false,
        }
    }
}

// === impl OpenError ===

impl OpenError {
    pub(super) fn from_database(path: &Path, error: redb::DatabaseError) -> Self {
        let path = path.to_owned();
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen
            | redb::DatabaseError::LockProtocolMismatch => Self::Locked { path },
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Io {
                    path,
                    source: error,
                }
            }
            other => Self::Corrupt {
                path,
                what: other.to_string(),
            },
        }
    }
}
