//! The program `fermata-invoker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fermata_invoker::main(std::env::args_os().skip(1))
}
