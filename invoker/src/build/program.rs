//! Any program as a build.

use std::ffi::OsString;

use super::{Build, Done, Error, Tool, said::Words};
use crate::log;

/// What a program of a Runtime's own is called.
pub(super) const NAME: &str = "the program of the build";

pub(super) async fn build(build: &Build, mut program: Vec<OsString>) -> Result<Done, Error> {
    let name = program.remove(0);
    log::line(format_args!("running {}", name.display()));
    build
        .run(Tool {
            name: NAME,
            program: name,
            arguments: program,
            env: Vec::new(),
            defaults: Vec::new(),
            dir: build.place.source(),
            hint: "is it in the image of the build?",
            words: Words::Last,
            registry: false,
        })
        .await?;
    Ok(Done::Built)
}
