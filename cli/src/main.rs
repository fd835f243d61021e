//! `fermata`: the command line, and the whole platform in one process.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let own_name = arguments.next().unwrap_or_default();
    // One binary serves both roles: a Runtime's command says `fermata-invoker`.
    if Path::new(&own_name)
        .file_stem()
        .is_some_and(|name| name == "fermata-invoker")
    {
        return fermata_invoker::main(arguments);
    }
    // The node starts this very program once more for each container, and wants it quick and small.
    #[cfg(feature = "embedded")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == fermata::CONTAINER_COMMAND)
    {
        return fermata_local::supervise(arguments.skip(1));
    }
    fermata::main()
}
