//! The command line.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

/// Serves a handler function over HTTP.
#[derive(Debug, Parser)]
#[command(name = "fermata-invoker", version, after_help = SETTINGS)]
pub(crate) struct Arguments {
    /// What runs the handler.
    #[command(subcommand)]
    pub(crate) runtime: Runtime,
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
