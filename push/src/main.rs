//! The program `fermata-push`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fermata_push::main()
}
