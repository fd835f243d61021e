//! What is asked for.

use std::time::Duration;

const HELP: &str = "usage: fermata-soak [--minutes N] [--seed N] [--embedded]";

/// How long, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How long the load goes on.
    pub(crate) time: Duration,
    /// What the order of events follows from.
    pub(crate) seed: u64,
    /// On a `fermata up` of its own, instead of the cluster that the environment names.
    pub(crate) embedded: bool,
}

// === impl Plan ===

impl Plan {
    /// The plan of the command line. Ends the program if that makes no sense.
    pub(crate) fn from_arguments() -> Self {
        let mut plan = Self {
            time: Duration::from_secs(60 * 60),
            seed: 1,
            embedded: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                value.unwrap_or_else(|| end(1))
            };
            match argument.as_str() {
                "--minutes" => plan.time = Duration::from_secs(60 * number()),
                "--seed" => plan.seed = number(),
                "--embedded" => plan.embedded = true,
                "--help" => end(0),
                _ => end(1),
            }
        }
        plan
    }
}

/// Says how it is used, and ends the program.
fn end(code: i32) -> ! {
    println!("{HELP}");
    std::process::exit(code)
}
