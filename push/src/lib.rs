//! Puts what a build has made into an image: the files of a Runtime's image, and on them a layer with the
//! dependencies and one with the code. No container engine is needed for that, and no privilege.
//!
//! The program is the last container of a build's pod. It alone has the credentials of the registry. The same
//! folders on the same image give the same bytes, and so the same digest.
//!
//! Settings come from the environment; see [`HELP`]. The result is one line of JSON in the file that
//! `FERMATA_PUSH_RESULT` names; a failure is one sentence on standard error. Exit codes: 0 done; 65 the input is
//! wrong; 66 the layer that was to be used again is not there; 75 a registry is away, so that it is worth another
//! try; 77 a registry refuses, or the Secret for it cannot be used.

mod base;
mod credentials;
mod digest;
mod error;
mod image;
mod layer;
mod proxy;
mod push;
mod reference;
mod registry;
mod settings;

use std::{error::Error as _, io::Write as _, process::ExitCode};

use self::{error::Error, push::Pushed, settings::Settings};

/// The settings.
pub const HELP: &str = "\
Puts what a build has made into an image of a registry.

Environment:
  FERMATA_PUSH_REPOSITORY    where the image goes: HOST/NAME (required)
  FERMATA_PUSH_BASE          the image that it is made on (required)
  FERMATA_PUSH_TAG           what its tag begins with; its digest follows (build)
  FERMATA_PUSH_DEPENDENCIES  the folder with the dependencies, if there are some
  FERMATA_PUSH_TARGET        where they stand in the image (required with them)
  FERMATA_PUSH_REUSE         their layer, as an earlier push has told it, in place of the folder
  FERMATA_PUSH_CODE          the folder with the code (required)
  FERMATA_PUSH_CODE_TARGET   where it stands in the image (/function)
  FERMATA_PUSH_CREDENTIALS   a folder with .dockerconfigjson, and perhaps ca.crt (none)
  FERMATA_PUSH_PLAIN_HTTP    true: the registry of the repository is spoken to without TLS (false)
  HTTPS_PROXY, NO_PROXY      http://HOST:PORT that registries by https are reached through, and those that are not (none);
                             ALL_PROXY where there is no HTTPS_PROXY, and all three in small letters
  FERMATA_PUSH_SCRATCH       a folder to work in (/tmp)
  FERMATA_PUSH_MAX_BYTES     most bytes of a layer's files (2147483648)
  FERMATA_PUSH_MAX_FILES     most files and folders of a layer (200000)
  FERMATA_PUSH_TIMEOUT       seconds that all of it may take (600)
  FERMATA_PUSH_RETRY_PAUSE   milliseconds before the first of four tries is repeated; then doubled (1000)
  FERMATA_PUSH_RESULT        where the result is written (/dev/termination-log)";

/// The program: reads the settings, pushes and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.any(|argument| argument == "--help" || argument == "-h") {
        let _ = writeln!(std::io::stdout().lock(), "{HELP}");
        return ExitCode::SUCCESS;
    }
    match work() {
        Ok(pushed) => {
            say(&format!("pushed {}", pushed.image));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&sentence(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn work() -> Result<Pushed, Error> {
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let pushed = runtime.block_on(async {
        tokio::time::timeout(settings.timeout, push::push(&settings))
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    repository: settings.repository.to_string(),
                    seconds: settings.timeout.as_secs(),
                })
            })
    })?;
    let text = serde_json::to_string(&pushed).map_err(|error| Error::Result {
        file: settings.result.clone(),
        source: error.into(),
    })?;
    std::fs::write(&settings.result, text).map_err(|source| Error::Result {
        file: settings.result.clone(),
        source,
    })?;
    Ok(pushed)
}

/// The error with its causes, in one line.
fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

/// Writes one line. A log that cannot be written is no reason to stop.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "fermata: {message}");
}
