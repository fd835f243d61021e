//! Runs a tool: its output, its time and its end.

use std::{
    cell::RefCell,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Command,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Build,
    error::Error,
    said::{Said, Words},
};
use crate::{
    orphans,
    process::{self, Running},
};

/// How often the size of the result is looked at while the tool runs.
const LOOK: Duration = Duration::from_secs(1);

/// How long the last of the output may take to come when nobody is left who could write any.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A line that is longer goes on as several.
const LONGEST_LINE: usize = 64 * 1024;

/// A tool to run.
pub(super) struct Tool {
    /// What people call it.
    pub(super) name: &'static str,
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    /// Variables besides those of this program.
    pub(super) env: Vec<(&'static str, OsString)>,
    /// Variables that it gets unless somebody has set them.
    pub(super) defaults: Vec<(&'static str, &'static str)>,
    pub(super) dir: PathBuf,
    /// What to do if it is not there.
    pub(super) hint: &'static str,
    pub(super) words: Words,
    /// Whether it asks registries, so that its lines about connections are about those.
    pub(super) registry: bool,
}

/// What becomes of a tool's standard output.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Use {
    /// It is this program's.
    PassedOn,
    /// It is an answer.
    Taken,
}

/// A tool that has ended, with all that it had started.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) said: Said,
}

/// When all of the build has to be over.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    given: Duration,
}

// === impl Deadline ===

impl Deadline {
    pub(super) fn new(given: Duration) -> Self {
        Self {
            at: Instant::now() + given,
            given,
        }
    }

    async fn passed(self) -> Error {
        sleep_until(self.at).await;
        Error::TimedOut(self.given.as_secs())
    }
}

/// Runs a tool to its end. When it takes too long or leaves too much, or when the future is dropped, it
/// is killed with all that it has started.
pub(super) async fn run(tool: Tool, output: Use, build: &Build) -> Result<Ended, Error> {
    let mut command = Command::new(&tool.program);
    command
        .args(&tool.arguments)
        .env_clear()
        .envs(environment(&tool, build))
        .current_dir(&tool.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = process::spawn(&mut command, || {}).map_err(|source| Error::Tool {
        program: tool.program.clone(),
        hint: tool.hint,
        source,
    })?;
    let pipes = running.stdout.take().zip(running.stderr.take());
    let (stdout, stderr) = pipes.ok_or_else(|| io::Error::other("a process has no pipes"))?;
    let said = RefCell::new(Said::new(tool.words));
    let reading = async {
        let on_output = |line: &[u8]| match output {
            Use::PassedOn => {
                write(line);
                said.borrow_mut()
                    .note(&String::from_utf8_lossy(line), false);
            }
            Use::Taken => said.borrow_mut().take(&String::from_utf8_lossy(line)),
        };
        let on_error = |line: &[u8]| {
            write(line);
            said.borrow_mut().note(&String::from_utf8_lossy(line), true);
        };
        tokio::join!(lines(stdout, on_output), lines(stderr, on_error));
    };
    let status = finish(running, reading, build).await?;
    Ok(Ended {
        status,
        said: said.into_inner(),
    })
}

/// Waits for the end of a tool, and sees to it that nothing of it is left and its output is read.
async fn finish(
    mut running: Running,
    reading: impl Future<Output = ()>,
    build: &Build,
) -> Result<ExitStatus, Error> {
    let mut reading = std::pin::pin!(reading);
    let ending = async {
        tokio::select! {
            status = &mut running.status => {
                status.map_err(|_| io::Error::other("the end of a process was missed").into())
            }
            error = build.deadline.passed() => Err(error),
            error = exceeded(build) => Err(error),
        }
    };
    let mut ending = std::pin::pin!(ending);
    let mut is_read = false;
    let ended = loop {
        tokio::select! {
            ended = &mut ending => break ended,
            () = &mut reading, if !is_read => is_read = true,
        }
    };
    match &ended {
        Ok(_) => running.group.ended(),
        Err(_) => running.group.kill(),
    }
    // Whoever has left the group, and may hold the output open.
    orphans::end();
    if !is_read {
        let _ = timeout(LAST_WORDS, reading).await;
    }
    ended
}

/// Ends when the tool has made more than a result may have.
async fn exceeded(build: &Build) -> Error {
    loop {
        sleep(LOOK).await;
        if let Err(error) = build.place.look(build.settings.bounds).await {
            return error;
        }
    }
}

/// This program's own variables but for Fermata's, and what the build sets.
fn environment(tool: &Tool, build: &Build) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"FERMATA_"))
        .collect();
    for (name, value) in &tool.defaults {
        let given = variables
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !given {
            variables.push((name.into(), value.into()));
        }
    }
    let own = [
        ("FERMATA_TARGET", build.place.target()),
        ("TMPDIR", build.place.temporary()),
    ];
    variables.extend(own.map(|(name, path)| (name.into(), path.into())));
    variables.extend(
        tool.env
            .iter()
            .map(|(name, value)| (name.into(), value.clone())),
    );
    variables
}

/// All goes to standard error: what comes through two pipes is in the log in any order, and its last line has to be
/// the last.
fn write(line: &[u8]) {
    let mut to = io::stderr().lock();
    // A log that cannot be written is no reason to stop.
    let _ = to.write_all(line).and_then(|()| to.write_all(b"\n"));
    let _ = to.flush();
}

async fn lines(stream: impl AsyncRead + Unpin, mut each: impl FnMut(&[u8])) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while read_line(&mut stream, &mut line).await {
        each(&line);
        line.clear();
    }
}

/// Reads a line without its end, or as much of it as a line may be; whether there was one.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> bool {
    loop {
        let Ok(part) = stream.fill_buf().await else {
            return !line.is_empty();
        };
        if part.is_empty() {
            return !line.is_empty();
        }
        let room = LONGEST_LINE - line.len();
        let end = part.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(part.len()).min(room);
        line.extend_from_slice(&part[..taken]);
        let is_end = end == Some(taken);
        stream.consume(taken + usize::from(is_end));
        if is_end || line.len() == LONGEST_LINE {
            return true;
        }
    }
}
