//! The program, driven as the platform drives it: by its environment, over HTTP and by signals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apps;
mod build;
mod build_compiled;
mod build_node;
mod build_python;
mod children;
mod command;
mod deaths;
mod fetch;
mod fetch_hostile;
mod fetch_lfs;
mod function;
mod headers;
mod hostile;
mod input;
mod lifecycle;
mod node;
mod python;
mod python_package;
mod worker;

/// The end-to-end suites have it too.
#[path = "../../../tests/src/git_server.rs"]
#[expect(unreachable_pub, reason = "it is public where it is at home")]
mod git_server;
