//! `fermata completion`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{args::Arguments, output};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The shell. For bash: source <(fermata completion bash)
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(options: &Options) {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Arguments::command(),
        "fermata",
        &mut script,
    );
    output::raw(&script);
}
