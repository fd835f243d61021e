//! The command line.

use std::ffi::OsString;

use clap::{Parser, Subcommand, ValueEnum};

/// Serves a handler function over HTTP, and builds what it needs before that.
#[derive(Debug, Parser)]
#[command(name = "fermata-invoker", version, after_help = SETTINGS)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Serve a handler.
    #[command(flatten)]
    Serve(Runtime),
    /// Install what the files of a function ask for into FERMATA_TARGET.
    #[command(after_help = BUILD)]
    Build {
        /// Whose files say what to install.
        #[arg(required_unless_present = "program", conflicts_with = "program")]
        language: Option<Language>,
        /// A program that does it, with its arguments.
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    /// Fetch the source files of a function from a git repository into FERMATA_TARGET.
    #[command(after_help = FETCH)]
    Fetch {
        /// Only say to which commit the reference leads.
        #[arg(long)]
        look: bool,
    },
    /// Become a program that serves HTTP on PORT by itself; below FERMATA_ROOT if it is there.
    Exec {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<OsString>,
    },
}

/// A language whose own tool is known.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Language {
    /// requirements.txt, pylock.toml, uv.lock or pyproject.toml, with pip.
    Python,
    /// package.json, with npm.
    Node,
    /// A module, with go build.
    Go,
    /// A package, with cargo build.
    Rust,
}

/// What runs a handler.
#[derive(Debug, Subcommand)]
pub(crate) enum Runtime {
    /// A Python function: FERMATA_HANDLER is MODULE.FUNCTION.
    Python,
    /// A JavaScript function: FERMATA_HANDLER is MODULE.FUNCTION.
    Node,
    /// A program for each request: FERMATA_HANDLER is its command line.
    Command,
    /// A program that speaks the worker protocol.
    Worker {
        /// The program and its arguments.
        #[arg(required = true, last = true)]
        program: Vec<OsString>,
    },
}

const SETTINGS: &str = "\
Environment:
  FERMATA_HANDLER      what to call (python, node: main.handle; command: required)
  PORT                 port to listen on (8080)
  HOST                 address to listen on (0.0.0.0)
  FERMATA_CONCURRENCY  most calls at once; further ones wait (python, node: 1000; command: 64)
  FERMATA_MAX_BODY     most bytes of a request's body, else 413 (16777216)
  FERMATA_THREADS      python: most threads for handlers that are not async
                       (FERMATA_CONCURRENCY, at most 256; 32 without)
  FERMATA_PYTHON       the Python to run (python3)
  FERMATA_SITE_PACKAGES  python: `warn` says so in the log when a package is found only among
                       those that are installed with that Python (nothing is said)
  FERMATA_NODE         the Node.js to run (node)";

const FETCH: &str = "\
Environment:
  FERMATA_GIT_URL          where the repository is (required)
  FERMATA_GIT_REF          a branch, a tag or a reference (HEAD)
  FERMATA_GIT_COMMIT       the commit whose files are fetched (required, but for --look)
  FERMATA_GIT_PATH         the folder of the repository (all of it)
  FERMATA_GIT_CREDENTIALS  a folder with the keys of a Secret, if there is one (/credentials)
  FERMATA_GIT_TIMEOUT      seconds that it may take (300; with --look 50)
  FERMATA_TARGET           the folder for the files, which is emptied first (required, but for --look)
  FERMATA_ROOT             the folder below which the folders stand (/)

Exit codes: 0 done; 66 there is no such repository, reference, commit or folder; 75 the repository cannot be
reached, which is worth another try; 77 it wants other credentials; all others: failed. The reason is in the
last line. With --look the commit is on standard output, and in /dev/termination-log.";

const BUILD: &str = "\
Environment:
  FERMATA_TARGET           the folder to install into, which is emptied first (required)
  FERMATA_SOURCE           the folder with the files (the working directory)
  FERMATA_ROOT             the folder below which FERMATA_TARGET stands (/)
  FERMATA_BUILD_TIMEOUT    seconds that it may take (600)
  FERMATA_BUILD_MAX_BYTES  most bytes of the result (1073741824)
  FERMATA_BUILD_MAX_FILES  most files and folders of the result (100000)
  FERMATA_PYTHON           the Python that has pip (python3)

Exit codes: 0 built; 75 a registry cannot be reached, which is worth another try; all others: failed,
with the reason in the last line.";
