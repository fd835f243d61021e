//! Measures Fermata on the embedded cluster, or on a real one, and prints a table. `cargo xtask
//! bench` builds and runs it.

mod cold;
mod events;
mod idle;
mod load;
mod node;
mod peers;
mod process;
mod rest;
mod side_by_side;
mod source;
mod warm;

use std::time::Duration;

use fermata_tests::{Space, Up};

const HELP: &str =
    "usage: fermata-bench [cold] [warm] [idle] [--rounds N] [--seconds N] [--functions N]
       fermata-bench source [--rounds N]
       fermata-bench events [--seconds N] [--functions N] [--messages N]
       fermata-bench node [--rounds N]

Without a name, everything is measured on the embedded cluster, but for what needs registries.
  cold   time from a request to a function at zero until its answer, alone and in a crowd
  warm   what the gateway adds to a call: latency, and CPU time beside nginx and haproxy
  idle   what operator and gateway take at rest, without functions and with many
  source functions with dependencies, and changes of code; packages come from the registry of Python
  events asynchronous calls and messages: kept, made, waiting, at rest, and killed over and over
  node   cold starts on the real cluster that cargo xtask bench --cluster sets up";

/// What to measure, and how much of it.
struct Plan {
    what: Vec<String>,
    rounds: usize,
    seconds: u64,
    functions: usize,
    messages: u64,
}

#[tokio::main]
async fn main() {
    let plan = Plan::from_arguments();
    if plan.what == ["node"] {
        println!("| what | result |\n|---|---|");
        node::measure(&Space::new().await, plan.rounds).await;
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(dir.path(), ["--ephemeral"]);
    let space = Space::on(up.platform().clone()).await;
    println!("| what | result |\n|---|---|");
    if plan.what.iter().any(|what| what == "source") {
        source::measure(dir.path(), &up, &space, plan.rounds).await;
    }
    if plan.what.iter().any(|what| what == "events") {
        events::measure(&space, plan.seconds, plan.functions, plan.messages).await;
    }
    if plan.wants("idle") {
        rest::measure(&space).await;
    }
    if plan.wants("cold") {
        cold::measure(&space, plan.rounds).await;
    }
    if plan.wants("warm") {
        warm::measure(&space, Duration::from_secs(plan.seconds)).await;
    }
    if plan.wants("idle") {
        idle::measure(&space, up.process(), plan.functions).await;
    }
}

// === impl Plan ===

impl Plan {
    fn from_arguments() -> Self {
        let mut plan = Self {
            what: Vec::new(),
            rounds: 20,
            seconds: 8,
            functions: 1000,
            messages: 200_000,
        };
        let mut arguments = std::env::args().skip(1);
        let number = |value: Option<String>| {
            value
                .and_then(|value| value.parse().ok())
                .unwrap_or_else(|| panic!("a number is missing\n{HELP}"))
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "cold" | "warm" | "idle" | "source" | "events" | "node" => plan.what.push(argument),
                "--rounds" => {
                    plan.rounds = usize::try_from(number(arguments.next())).expect("it is small");
                }
                "--seconds" => plan.seconds = number(arguments.next()),
                "--messages" => plan.messages = number(arguments.next()),
                "--functions" => {
                    plan.functions =
                        usize::try_from(number(arguments.next())).expect("it is small");
                }
                _ => {
                    println!("{HELP}");
                    std::process::exit(i32::from(argument != "--help"));
                }
            }
        }
        plan
    }

    fn wants(&self, what: &str) -> bool {
        self.what.is_empty() || self.what.iter().any(|wanted| wanted == what)
    }
}

/// Prints one row of the table.
fn row(what: &str, result: &str) {
    println!("| {what} | {result} |");
}

/// The value below which this share of the sorted values lies (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

fn micros(duration: Duration) -> String {
    format!("{:.0} µs", duration.as_secs_f64() * 1e6)
}
