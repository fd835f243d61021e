//! Why a fetch fails, and how that is told.

use std::{io, path::PathBuf, process::ExitCode};

use super::git::Failure;
use crate::build::{NO_ROOM, room, size};

/// What programs end with when what was asked for is not there (EX_NOINPUT of sysexits.h).
const NOT_FOUND: u8 = 66;

/// What programs end with when another try may succeed (EX_TEMPFAIL).
const TRY_AGAIN: u8 = 75;

/// What programs end with who may not do what was asked for (EX_NOPERM).
const NOT_ALLOWED: u8 = 77;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0} is not given")]
    NotGiven(&'static str),
    #[error("FERMATA_GIT_TIMEOUT is {0:?}; it must be a whole number of seconds from 1 to 86400")]
    Timeout(String),
    #[error("{0}")]
    Refused(String),
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot run git; install it (https://git-scm.com/downloads)")]
    NoGit(#[source] io::Error),
    /// git itself says what.
    #[error("{said}{}", hint(*.failure))]
    Git { failure: Failure, said: String },
    #[error("git took longer than {0} s and was ended; another try may succeed")]
    TimedOut(u64),
    #[error("it was told to stop")]
    Stopped,
    #[error("there is no branch and no tag named {reference} in {url}{}", short(.reference))]
    NoReference { reference: String, url: String },
    /// git takes a page of one line for a repository that is empty.
    #[error("{0} has no commits; is it the address that `git clone` takes?")]
    Empty(String),
    #[error("the commit {commit} is not in {url} (any more)")]
    NoCommit { commit: String, url: String },
    #[error("there is no folder {path} in the commit {commit}")]
    NoFolder { path: String, commit: String },
    #[error("the files are more than {}; name a folder in source.git.path, or build an image", size(*.0))]
    TooLarge(u64),
    #[error("there are more than {0} files; name a folder in source.git.path, or build an image")]
    TooMany(u64),
    #[error("{link} is a link that leads out of the folder, to {to}; put in what it leads to")]
    LeadsOut { link: PathBuf, to: PathBuf },
    #[error(
        "Git LFS keeps what {count} of the files hold ({named}), and there is no git-lfs on PATH to ask it; install that (https://git-lfs.com), commit the files themselves, name a folder without them in source.git.path, or deploy the folder with `fermata deploy` after `git lfs pull`"
    )]
    Pointers { count: usize, named: String },
    #[error("git lists more than {}, which no repository of a function has; is it the right one?", size(*.0))]
    LongList(u64),
    #[error("git took more than {} of memory for what the repository holds or the server lists, and was ended; is it the right one?", size(*.0))]
    Memory(u64),
    #[error("submodules are nested deeper than {0}")]
    Deep(usize),
    #[error("there are more than {0} submodules")]
    ManySubmodules(usize),
    #[error("cannot use the system")]
    System(#[from] io::Error),
}

/// A word about a reference that is perhaps a commit.
fn short(reference: &str) -> &'static str {
    let is_hex = reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    if (4..40).contains(&reference.len()) && is_hex {
        "; if it is a commit, give all of its 40 digits (git rev-parse prints them)"
    } else {
        ""
    }
}

fn hint(failure: Failure) -> &'static str {
    match failure {
        Failure::KeyRefused => {
            "; the host does not take the key in ssh-privatekey of the Secret in source.git.secretName, which must be a private key without a passphrase that may read the repository"
        }
        Failure::UnknownHost => {
            "; the host has another key than known_hosts of the Secret in source.git.secretName says, or none there: compare `ssh-keyscan HOST` with what the host publishes"
        }
        Failure::NoRepository => {
            "; something else answers there, such as a page: give the address in source.git.url that `git clone` takes"
        }
        Failure::NoObject => {
            "; Git LFS does not have what the commit names: `git lfs push --all` brings it there from a clone that has it"
        }
        Failure::NoRoom => "; another try succeeds once there is room on the disk",
        Failure::Damaged => "; the repository is damaged: `git fsck` says there what is missing",
        Failure::NotAllowed => {
            "; if the repository is there, it needs credentials that may read it: see source.git.secretName"
        }
        _ => "",
    }
}

// === impl Error ===

impl Error {
    pub(super) fn code(&self) -> ExitCode {
        match self {
            error if room::is_missed(error) => NO_ROOM.into(),
            Self::TimedOut(_) | Self::Stopped => TRY_AGAIN.into(),
            Self::Git { failure, .. } => match failure {
                Failure::Away => TRY_AGAIN.into(),
                Failure::NotAllowed | Failure::KeyRefused => NOT_ALLOWED.into(),
                Failure::NotFound => NOT_FOUND.into(),
                Failure::NoRoom => NO_ROOM.into(),
                Failure::UnknownHost
                | Failure::NoRepository
                | Failure::NoObject
                | Failure::Damaged
                | Failure::Other => ExitCode::FAILURE,
            },
            Self::NoReference { .. }
            | Self::Empty(_)
            | Self::NoCommit { .. }
            | Self::NoFolder { .. } => NOT_FOUND.into(),
            _ => ExitCode::FAILURE,
        }
    }
}
