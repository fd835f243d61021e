//! Why a build fails, and how that is told.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::{ExitCode, ExitStatus},
};

use super::{registry::Sign, room, said::Said, settings::SettingsError, size};
use crate::{log, process::how};

/// What programs end with when another try may succeed (EX_TEMPFAIL of sysexits.h).
const TRY_AGAIN: u8 = 75;

/// What programs end with when a disk has no room (EX_IOERR), which passes as well.
pub(crate) const NO_ROOM: u8 = 74;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("a setting is wrong")]
    Settings(#[from] SettingsError),
    #[error("cannot read the inputs in {path}")]
    Inputs {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{link} is a link to {to}, which is not there; put in what it leads to, or take the link out"
    )]
    LeadsNowhere { link: PathBuf, to: PathBuf },
    #[error("the inputs are more than {} or {files} files; is {path} the right folder?", size(*.bytes))]
    ManyInputs {
        path: PathBuf,
        bytes: u64,
        files: u64,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} belongs to somebody else; set TMPDIR to a folder of your own")]
    Foreign(PathBuf),
    #[error("cannot run {program:?}; {hint}")]
    Tool {
        program: OsString,
        hint: &'static str,
        #[source]
        source: io::Error,
    },
    /// The files cannot be built as they are.
    #[error("{0}")]
    Refused(String),
    #[error(
        "{tool}, or what it had started, was killed, as happens where memory runs out; give the build more in source.build.resources"
    )]
    Killed { tool: &'static str },
    #[error("{tool} {}", how(*.status))]
    Failed {
        tool: &'static str,
        status: ExitStatus,
        said: Said,
    },
    #[error("a registry cannot be reached: {0}")]
    Registry(Sign),
    #[error("the disk of the build is full, and another try succeeds once there is room: {0}")]
    Full(String),
    #[error(
        "the build took longer than {0} s and was ended; source.build.timeout sets how long it may take"
    )]
    TimedOut(u64),
    #[error("the build was told to stop")]
    Stopped,
    #[error("the result is larger than {}; FERMATA_BUILD_MAX_BYTES sets how large it may be", size(*.0))]
    TooLarge(u64),
    #[error(
        "the result has more than {0} files and folders; FERMATA_BUILD_MAX_FILES sets how many it may have"
    )]
    TooMany(u64),
    #[error("the result has a link that leads out of it, {link} to {to}; put in what it leads to")]
    LeadsOut { link: PathBuf, to: PathBuf },
    #[error(
        "the build has put something else in the place of {0}, the folder for its result; write into the folder"
    )]
    Replaced(PathBuf),
    #[error("the result has {path}, {what}; leave it out")]
    Unfit { path: PathBuf, what: &'static str },
    #[error("cannot use the system")]
    System(#[from] io::Error),
}

// === impl Error ===

impl Error {
    /// Writes the last line of standard error, which the cluster shows.
    pub(super) fn tell(&self) {
        match self {
            Self::Failed { said, .. } if !said.telling.is_empty() => {
                if said.last != said.telling {
                    // A log that cannot be written is no reason to do anything else.
                    let _ = writeln!(io::stderr().lock(), "{}", said.telling);
                }
            }
            error => log::error(error),
        }
    }

    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Registry(sign) if sign.passes() => TRY_AGAIN.into(),
            Self::Full(_) => NO_ROOM.into(),
            error if room::is_missed(error) => NO_ROOM.into(),
            Self::Stopped => TRY_AGAIN.into(),
            // A program of the Runtime's own knows by itself what another try is worth.
            Self::Failed {
                tool: super::program::NAME,
                status,
                ..
            } => status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from),
            _ => ExitCode::FAILURE,
        }
    }
}
