//! The program from begin to end.

use std::{ffi::OsString, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser as _;

use crate::{
    arguments::{Arguments, Runtime, Task},
    build,
    command::{CommandError, CommandLine},
    exec, fetch, log, orphans,
    server::{self, Handler, Reserved},
    settings::{Settings, SettingsError},
    stop::Stop,
    worker::{Ended, LAST_WORDS, Launch, StartError, Worker},
};

/// In this order; see `runtimes/python/module.py`.
const PYTHON_SHIM: &str = concat!(
    include_str!("../../runtimes/python/fermata/__init__.py"),
    include_str!("../../runtimes/python/module.py"),
    include_str!("../../runtimes/python/fermata/_result.py"),
    include_str!("../../runtimes/python/link.py"),
    include_str!("../../runtimes/python/fork.py"),
    include_str!("../../runtimes/python/answer.py"),
    include_str!("../../runtimes/python/apps.py"),
    include_str!("../../runtimes/python/log.py"),
    include_str!("../../runtimes/python/shim.py"),
);

/// A script and no module, since the option that makes a module of it would go on to the threads and
/// processes that a handler starts; in a function, since a script's names are everybody's.
const NODE_SHIM: &str = concat!(
    "(() => {",
    include_str!("../../runtimes/node/fermata/index.cjs"),
    include_str!("../../runtimes/node/shim.cjs"),
    "})();",
);

/// How long a worker without calls may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How long answers about a worker that is gone may take to be sent.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the program ends badly.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("a setting is wrong")]
    Settings(#[from] SettingsError),
    #[error("cannot listen on {address}; is the port in use?")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the function does not start")]
    Worker(#[from] StartError),
    #[error("the function does not start")]
    Command(#[from] CommandError),
    #[error("the worker {0}; calls that were running have failed")]
    WorkerGone(Ended),
    #[error("cannot use the system")]
    System(#[from] std::io::Error),
}

pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let own_name = std::iter::once(OsString::from("fermata-invoker"));
    let arguments = match Arguments::try_parse_from(own_name.chain(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is no error, and clap knows which of the two it is.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = match arguments.task {
        Task::Fetch { look } => return fetch::main(look),
        Task::Build { language, program } => return build::main(language, program),
        Task::Exec { program } => return exec::main(&program),
        Task::Serve(runtime) => runtime,
    };
    match run(runtime) {
        Ok(()) => ExitCode::SUCCESS,
        // The shim has said why. The cluster shows the last line of a log, which should be that.
        Err(Error::Worker(StartError::Ended { how, told: true })) if how.by_itself() => {
            ExitCode::FAILURE
        }
        Err(error) => {
            log::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(runs: Runtime) -> Result<(), Error> {
    let settings = Settings::read(|name| std::env::var_os(name))?;
    // One thread is enough to move bytes between sockets, and starts sooner than several.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = serve(runs, settings) => result,
            () = orphans::reap() => Ok(()),
        }
    });
    runtime.shutdown_background();
    orphans::end();
    result
}

async fn serve(runtime: Runtime, settings: Settings) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    let address = settings.address;
    let listen = |source| Error::Listen { address, source };
    let reserved = Reserved::new(address).map_err(listen)?;
    let started = tokio::select! {
        started = start(runtime, &settings) => started?,
        () = stop.asked() => return Ok(()),
    };
    let (handler, process) = started;
    let gone = match &handler {
        Handler::Worker(worker) => worker.gone(),
        Handler::Command(_) => tokio_util::sync::CancellationToken::new(),
    };
    let listener = reserved.listen().map_err(listen)?;
    let handler = Arc::new(handler);
    let ended = async {
        tokio::select! {
            () = stop.asked() => {}
            () = gone.cancelled() => {}
        }
    };
    let serving = server::serve(listener, handler, ended);
    let farewell = async {
        gone.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = serving => {}
        () = farewell => {}
    }
    let Some(mut process) = process else {
        return Ok(());
    };
    if gone.is_cancelled() {
        return Err(Error::WorkerGone(process.end(LAST_WORDS).await));
    }
    process.end(END_TIMEOUT).await;
    Ok(())
}

type Started = (Handler, Option<crate::worker::Process>);

async fn start(runtime: Runtime, settings: &Settings) -> Result<Started, Error> {
    let launch = match runtime {
        Runtime::Command => {
            let command = CommandLine::new(settings)?;
            return Ok((Handler::Command(command), None));
        }
        Runtime::Python => Launch {
            program: settings.python.clone(),
            // -S: the site packages are added when an import first misses something, since looking
            // through them takes longer than everything else. -B: the source is read-only.
            arguments: ["-S", "-B", "-c", PYTHON_SHIM].map(OsString::from).into(),
            hint: "install Python 3.10 or later, or name it in FERMATA_PYTHON",
            tells: true,
        },
        Runtime::Node => Launch {
            program: settings.node.clone(),
            arguments: ["--eval", NODE_SHIM].map(OsString::from).into(),
            hint: "install Node.js 20 or later, or name it in FERMATA_NODE",
            tells: true,
        },
        Runtime::Worker { mut program } => Launch {
            program: program.remove(0),
            arguments: program,
            hint: "give a program that speaks the worker protocol",
            tells: false,
        },
    };
    let (worker, process) = Worker::start(launch, settings).await?;
    Ok((Handler::Worker(worker), Some(process)))
}
