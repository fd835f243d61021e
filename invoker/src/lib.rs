//! The invoker: runs a handler function, which is given as source code, behind HTTP.
//!
//! `fermata-invoker python` serves a Python handler, `node` a JavaScript one, `command` any program
//! by its standard input and output, and `worker -- PROGRAM` a language of one's own through the
//! protocol in `runtimes/README.md`. The source is the working directory; the handler is in
//! `FERMATA_HANDLER`; requests are taken on `PORT` as soon as, and not before, the handler is
//! loaded, so that an open port means ready.
//!
//! `fermata-invoker build LANGUAGE` installs what the files of a function ask for, before it starts,
//! `fetch` brings them from a git repository before that, and `exec PROGRAM` becomes a program that serves HTTP by itself.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod arguments;
mod body;
mod build;
mod command;
mod exec;
mod failure;
mod fetch;
mod log;
mod orphans;
mod process;
mod request;
mod run;
mod server;
mod settings;
mod stop;
mod worker;

use std::{ffi::OsString, process::ExitCode};

/// The Runtimes that come with Fermata: their names and manifests.
pub const RUNTIMES: &[(&str, &str)] = &[
    (
        "command",
        include_str!("../../runtimes/command/runtime.yaml"),
    ),
    ("go", include_str!("../../runtimes/go/runtime.yaml")),
    ("node", include_str!("../../runtimes/node/runtime.yaml")),
    ("python", include_str!("../../runtimes/python/runtime.yaml")),
    ("rust", include_str!("../../runtimes/rust/runtime.yaml")),
];

/// The program `fermata-invoker`, with the arguments after its name. Returns when it is told to
/// stop (SIGTERM, SIGINT) and all running calls are done, or when it cannot go on.
#[must_use]
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    run::main(arguments)
}
