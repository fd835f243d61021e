//! Everything at once, for long: mixed load while functions, pods, gateways and operators are replaced and
//! killed, with every request accounted for. `cargo xtask soak` builds and runs it.

mod accounts;
mod chaos;
mod dice;
mod error;
mod functions;
mod ledger;
mod load;
mod plan;
mod report;
mod sockets;
mod usage;
mod watchdog;

use std::{process::ExitCode, sync::Arc, time::Duration};

use fermata_tests::{Platform, Space, Up};
use tokio::{sync::watch, time::timeout};

use crate::{
    accounts::Accounts, chaos::Chaos, error::SoakError, functions::Functions, ledger::Ledger,
    plan::Plan, report::Report, usage::Usage,
};

/// How long requests that run at the end may take.
const LAST_ANSWERS: Duration = Duration::from_secs(90);

/// How long what the functions have noted may take to arrive.
const LAST_NOTES: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    let plan = Plan::from_arguments();
    let mut report = Report::new(plan);
    let outcome = if plan.embedded {
        match tempfile::tempdir() {
            Ok(dir) => {
                let up = Up::start(dir.path(), ["--ephemeral"]);
                let platform = up.platform().clone();
                soak(platform, Some(up.process()), &mut report).await
            }
            Err(error) => Err(SoakError::Folder(error)),
        }
    } else if std::env::var_os("FERMATA_TEST_GATEWAY").is_none() {
        Err(SoakError::NoCluster)
    } else {
        soak(Platform::shared(), None, &mut report).await
    };
    println!("{report}");
    match outcome {
        Ok(()) if report.is_good() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Runs it, and notes what is found as it goes: when it ends with an error, that is there.
async fn soak(
    platform: Platform,
    process: Option<u32>,
    report: &mut Report,
) -> Result<(), SoakError> {
    let plan = report.plan;
    let accounts = Arc::new(Accounts::default());
    let ledger = Ledger::open(platform.api_address().await, accounts.clone()).await?;
    let space = Space::try_on(platform).await.map_err(SoakError::SetUp)?;
    let functions = Functions::make(&space, ledger.address()).await?;
    let usage = Usage::watch(process);
    let mut chaos = Chaos::new(&space, &functions, accounts.clone(), plan.seed);

    let (stop, stopped) = watch::channel(false);
    let mut callers = load::start(&space, &accounts, &stopped);
    sockets::start(&mut callers, &space, &accounts, &stopped);
    let outcome = tokio::select! {
        () = tokio::time::sleep(plan.time) => Ok(()),
        error = watchdog::watch(&space.client) => Err(error),
        error = chaos.go_on() => Err(error),
    };
    report.done(chaos.done());
    stop.send_replace(true);
    let ending = async { while callers.join_next().await.is_some() {} };
    // What has not ended then has no answer in the accounts.
    let _ = timeout(LAST_ANSWERS, ending).await;
    tokio::time::sleep(LAST_NOTES).await;
    report.settle(&accounts);
    report.use_of(usage.end());
    outcome
}
