//! The supervisor as a program of its own, for the tests of this crate. `fermata` has it built in.

use std::process::ExitCode;

fn main() -> ExitCode {
    fermata_node::supervise(std::env::args_os().skip(1))
}
