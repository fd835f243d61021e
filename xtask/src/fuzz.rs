//! `cargo xtask fuzz`: the property tests, each for long.
//!
//! A target is a test whose name begins with `fuzz_`, wherever it stands: an ordinary test, which
//! `cargo test` runs for a second.

mod outcome;
mod target;

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;

use outcome::{Outcome, Verdict};
use target::Target;

/// How long one target runs among all other tests.
const AMONG_TESTS: Duration = Duration::from_secs(3);

/// How long all of them may take there, one after the other.
const ALL_AMONG_TESTS: Duration = Duration::from_secs(180);

/// Where bolero reads how long to run, in milliseconds.
const TIME: &str = "BOLERO_RANDOM_TEST_TIME_MS";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only targets whose name contains this.
    filter: Option<String>,

    /// Name the targets, and run none.
    #[arg(long)]
    list: bool,

    /// How long each target runs.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,

    /// How many targets run at once; without it, one on each core.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is for people"
)]
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut targets = target::all()?;
    if let Some(filter) = &options.filter {
        targets.retain(|target| target.to_string().contains(filter.as_str()));
        if targets.is_empty() {
            bail!("no target's name contains {filter:?}; see cargo xtask fuzz --list");
        }
    }
    if options.list {
        for target in &targets {
            println!("{target}");
        }
        return Ok(());
    }
    let time = Duration::from_secs(options.seconds);
    let jobs = match options.jobs {
        Some(jobs) => jobs.get(),
        None => thread::available_parallelism().map_or(1, NonZeroUsize::get),
    };
    report(&targets, &run_all(&targets, time, jobs)?)
}

/// Runs all targets, so many at once; what came of each, in their order.
#[allow(clippy::print_stderr, reason = "progress is for people")]
fn run_all(targets: &[Target], time: Duration, jobs: usize) -> anyhow::Result<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(target) = targets.get(number) else {
                return anyhow::Ok(done);
            };
            eprintln!("== {} of {}: {target}", number + 1, targets.len());
            done.push((number, outcome::of(target, time)?));
        }
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(targets.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut done = Vec::new();
        for worker in workers {
            let ended = worker.join().ok().context("a runner of targets panicked")?;
            done.extend(ended?);
        }
        anyhow::Ok(done)
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

/// How long a target runs among all other tests, as an environment variable.
pub(crate) fn among_tests() -> anyhow::Result<(&'static str, String)> {
    let count = u32::try_from(target::all()?.len()).unwrap_or(u32::MAX);
    let time = AMONG_TESTS.min(ALL_AMONG_TESTS / count.max(1));
    Ok((TIME, time.as_millis().to_string()))
}

#[allow(clippy::print_stdout, reason = "it is the result")]
fn report(targets: &[Target], outcomes: &[Outcome]) -> anyhow::Result<()> {
    println!("\n| target | runs | result |\n|---|---|---|");
    for (target, outcome) in targets.iter().zip(outcomes) {
        println!("| {target} | {} | {} |", outcome.runs, outcome.verdict);
    }
    let mut failed = 0;
    for (target, outcome) in targets.iter().zip(outcomes) {
        if outcome.verdict == Verdict::Passed {
            continue;
        }
        failed += 1;
        println!("\n{target}\n{}", outcome.said);
        println!(
            "To repeat it:\n    {}",
            target.repeat(outcome.seed.as_deref())
        );
    }
    if failed > 0 {
        bail!("{failed} of {} targets failed", targets.len());
    }
    Ok(())
}
