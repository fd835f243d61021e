//! The source files of a function that are in a git repository.
//!
//! `fetch` brings those of one commit into a folder, and `fetch --look` says to which commit a reference leads. The
//! machine's own git does the work, with no settings but those that are given here: what a repository holds is
//! written by others, and nothing of it may run or be followed before the function itself does.

mod address;
mod credentials;
mod error;
mod files;
mod git;
mod lfs;
mod look;
mod memory;
mod settings;
mod submodules;

use std::{env, fs, io, path::PathBuf, process::ExitCode};

use self::{
    address::Address, credentials::Credentials, error::Error, git::Git, settings::Settings,
};
use crate::{log, orphans, stop::Stop};

/// Does what is asked for, and says how it ended: in the exit code and in the last line of standard error.
pub(crate) fn main(look: bool) -> ExitCode {
    match run(look) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error(&error);
            error.code()
        }
    }
}

fn run(look: bool) -> Result<(), Error> {
    let settings = Settings::read(|name| env::var_os(name), look)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut stop = Stop::new()?;
        tokio::select! {
            result = work(&settings, look) => result,
            () = stop.asked() => Err(Error::Stopped),
            () = orphans::reap() => Ok(()),
        }
    });
    runtime.shutdown_background();
    orphans::end();
    result
}

async fn work(settings: &Settings, look: bool) -> Result<(), Error> {
    let address = Address::parse(&settings.url)?;
    let scratch = Scratch::new()?;
    let credentials = Credentials::read(&settings.credentials, &address, &scratch.0)?;
    let git = Git::new(&scratch.0, credentials, settings.timeout);
    if look {
        return look::look(&git, settings).await;
    }
    files::fetch(&git, settings, &scratch.0).await
}

/// A folder for all that is not the result. Dropping it removes it.
struct Scratch(PathBuf);

// === impl Scratch ===

impl Scratch {
    /// Its name is always the same, so that what a killed try has left is found.
    fn new() -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt as _;

        let folder = env::temp_dir().join("fermata-fetch");
        let made = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::DirBuilder::new().mode(0o700).create(&folder),
        };
        made.and_then(|()| fs::canonicalize(&folder))
            .map(Self)
            .map_err(|source| Error::Write {
                path: folder,
                source,
            })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is found by the next try.
        let _ = fs::remove_dir_all(&self.0);
    }
}
