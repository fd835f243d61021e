//! The build of a function: what its files ask for is installed into a folder, before it starts.
//!
//! The tool of the language does the work, in a copy of the inputs, since what is mounted cannot be
//! written to and is made of links on a cluster. It gets this program's own environment without
//! the variables of Fermata, which are the build's own, and no descriptor but the three of every program.

mod compiled;
mod error;
mod go;
mod node;
mod place;
mod program;
mod python;
pub(crate) mod registry;
pub(crate) mod room;
mod rust;
mod said;
pub(crate) mod settings;
mod tool;
pub(crate) mod tree;

use std::{
    env,
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    process::ExitCode,
    time::{Duration, Instant},
};

pub(crate) use self::error::NO_ROOM;
use self::{
    error::Error,
    place::Place,
    said::Said,
    settings::Settings,
    tool::{Deadline, Ended, Tool, Use},
};
use crate::{arguments::Language, log, orphans, stop::Stop};

/// The signal by which the kernel ends processes where memory runs out.
const SIGKILL: i32 = 9;

/// A build under way.
struct Build {
    settings: Settings,
    place: Place,
    deadline: Deadline,
}

/// What a language's own part says at its end.
enum Done {
    /// The target holds what was asked for.
    Built,
    /// Nothing is asked for, as the sentence says.
    Nothing(String),
}

/// Builds, and says how it ended: in the exit code and in the last line of standard error.
pub(crate) fn main(language: Option<Language>, program: Vec<OsString>) -> ExitCode {
    match run(language, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.tell();
            error.code()
        }
    }
}

fn run(language: Option<Language>, program: Vec<OsString>) -> Result<(), Error> {
    let settings = Settings::read(|name| env::var_os(name))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = build(language, program, settings) => result,
            () = orphans::reap() => Ok(()),
        }
    });
    runtime.shutdown_background();
    orphans::end();
    result
}

async fn build(
    language: Option<Language>,
    program: Vec<OsString>,
    settings: Settings,
) -> Result<(), Error> {
    let begin = Instant::now();
    let deadline = Deadline::new(settings.timeout);
    let place = Place::new(&settings)?;
    let build = Build {
        settings,
        place,
        deadline,
    };
    let mut stop = Stop::new()?;
    let steps = async {
        match language {
            Some(Language::Python) => python::build(&build).await,
            Some(Language::Node) => node::build(&build).await,
            Some(Language::Go) => go::build(&build).await,
            Some(Language::Rust) => rust::build(&build).await,
            None => program::build(&build, program).await,
        }
    };
    let done = tokio::select! {
        done = steps => done?,
        () = stop.asked() => return Err(Error::Stopped),
    };
    // What the tool has left running could still change the result.
    orphans::end();
    match done {
        Done::Nothing(why) => log::line(format_args!("nothing to install: {why}")),
        Done::Built => {
            let bytes = build.place.accept(build.settings.bounds)?;
            log::line(format_args!(
                "built in {}, {}",
                seconds(begin.elapsed()),
                size(bytes)
            ));
        }
    }
    Ok(())
}

// === impl Build ===

impl Build {
    /// Runs a tool in the copy of the inputs; its output goes to this program's standard error.
    async fn run(&self, tool: Tool) -> Result<Said, Error> {
        let name = tool.name;
        let registry = tool.registry;
        let ended = tool::run(tool, Use::PassedOn, self).await?;
        if ended.status.success() {
            return Ok(ended.said);
        }
        Err(self.failure(name, registry, ended))
    }

    /// Runs a tool and takes what it writes to standard output.
    async fn ask(&self, tool: Tool) -> Result<String, Error> {
        let (name, registry) = (tool.name, tool.registry);
        let ended = tool::run(tool, Use::Taken, self).await?;
        if ended.status.success() {
            return Ok(ended.said.output);
        }
        Err(self.failure(name, registry, ended))
    }

    fn failure(&self, tool: &'static str, registry: bool, ended: Ended) -> Error {
        let Ended { status, mut said } = ended;
        if let Some(line) = said.full.take() {
            return Error::Full(line);
        }
        if said.killed || status.signal() == Some(SIGKILL) {
            return Error::Killed { tool };
        }
        match said.sign {
            Some(sign) if registry => Error::Registry(sign),
            _ => Error::Failed { tool, status, said },
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1024.0 * 1024.0 {
        format!("{:.1} KiB", bytes / 1024.0)
    } else {
        format!("{:.1} MiB", bytes / (1024.0 * 1024.0))
    }
}

/// A number of things, in words.
fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}
