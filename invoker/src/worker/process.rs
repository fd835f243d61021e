//! The process of a worker: its start, its link and its end.

use std::{
    ffi::OsString,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    calls::Calls,
    protocol::{FRAME_HEADER, FromWorker, ProtocolError, ToWorker, read_header},
};
use crate::{log, orphans::Awaited};

/// How long a worker without calls may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How large the buffers of the link are.
const BUFFER: usize = 64 * 1024;

/// What to start.
pub(crate) struct Launch {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    /// What to do when the program is not there.
    pub(crate) hint: &'static str,
    /// The program is known to say why it ends before its handler is loaded.
    pub(crate) tells: bool,
}

/// A worker's process.
pub(crate) struct Process {
    child: Child,
    /// Writes to the link, and ends with it.
    writer: JoinHandle<()>,
    reader: JoinHandle<()>,
    _awaited: Awaited,
}

/// How a worker's process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ended(Option<ExitStatus>);

/// Why a worker is not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The program cannot be run.
    #[error("cannot run {program:?}; {hint}")]
    Program {
        /// The program.
        program: OsString,
        /// What to do.
        hint: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no link to it.
    #[error("cannot make a link to the worker")]
    Link(#[source] std::io::Error),
    /// It ended before its handler was loaded.
    #[error("the handler was not loaded: the worker {how}")]
    Ended {
        /// How it ended.
        how: Ended,
        /// It is known to have said why, unless it was killed.
        told: bool,
    },
}

/// Starts a worker and waits until it is ready. Dropping the future kills it.
pub(super) async fn start(launch: Launch) -> Result<(Process, Arc<Calls>), StartError> {
    let (own, theirs) = std::os::unix::net::UnixStream::pair().map_err(StartError::Link)?;
    own.set_nonblocking(true).map_err(StartError::Link)?;
    let link = UnixStream::from_std(own).map_err(StartError::Link)?;
    let mut child = Command::new(&launch.program)
        .args(&launch.arguments)
        // The link is the worker's standard input, in both directions: the one descriptor that can
        // be handed over without touching the others, of which two are the log.
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| StartError::Program {
            program: launch.program.clone(),
            hint: launch.hint,
            source,
        })?;
    let awaited = Awaited::new(child.id());
    let (calls, queue) = Calls::new();
    let (read, write) = link.into_split();
    let (ready, is_ready) = oneshot::channel();
    let writer = tokio::spawn(write_frames(write, queue));
    let reader = tokio::spawn(read_frames(read, calls.clone(), ready));
    let loaded = tokio::select! {
        ready = is_ready => ready.is_ok(),
        _ = child.wait() => false,
    };
    let mut process = Process {
        child,
        writer,
        reader,
        _awaited: awaited,
    };
    if loaded {
        Ok((process, calls))
    } else {
        Err(StartError::Ended {
            how: process.end().await,
            told: launch.tells,
        })
    }
}

async fn write_frames(link: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<ToWorker>) {
    let mut link = BufWriter::with_capacity(BUFFER, link);
    while let Some(frame) = queue.recv().await {
        let written = async {
            link.write_all(&frame.head).await?;
            link.write_all(&frame.body).await?;
            if queue.is_empty() {
                link.flush().await?;
            }
            Ok::<_, std::io::Error>(())
        };
        if written.await.is_err() {
            // The worker is gone, of which the reader tells.
            break;
        }
    }
}

async fn read_frames(link: OwnedReadHalf, calls: Arc<Calls>, ready: oneshot::Sender<()>) {
    let mut link = BufReader::with_capacity(BUFFER, link);
    let mut ready = Some(ready);
    loop {
        match read_frame(&mut link).await {
            Ok(Some((_, FromWorker::Ready))) => {
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
            }
            Ok(Some((id, frame))) => {
                if let Err(error) = calls.take(id, frame) {
                    log::error(&error);
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                log::error(&error);
                break;
            }
        }
    }
    calls.fail();
}

/// The next frame; none at the end.
async fn read_frame(
    link: &mut BufReader<OwnedReadHalf>,
) -> Result<Option<(u32, FromWorker)>, ProtocolError> {
    let mut header = [0; FRAME_HEADER];
    if link.read_exact(&mut header).await.is_err() {
        return Ok(None);
    }
    let (size, kind, id) = read_header(header)?;
    let mut payload = BytesMut::zeroed(size);
    if link.read_exact(&mut payload).await.is_err() {
        return Ok(None);
    }
    let payload: Bytes = payload.freeze();
    Ok(Some((id, FromWorker::read(kind, payload)?)))
}

// === impl Process ===

impl Process {
    /// Closes the link and waits for the process to end; kills it if it takes too long.
    pub(crate) async fn end(&mut self) -> Ended {
        self.writer.abort();
        self.reader.abort();
        match timeout(END_TIMEOUT, self.child.wait()).await {
            Ok(status) => Ended(status.ok()),
            Err(_) => {
                log::line("the worker does not end and is killed");
                let _ = self.child.kill().await;
                Ended(self.child.wait().await.ok())
            }
        }
    }
}

// === impl Ended ===

impl Ended {
    /// Whether the process chose to end, and was not killed.
    pub(crate) fn by_itself(self) -> bool {
        self.0.is_some_and(|status| status.code().is_some())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = self.0.as_ref();
        match (
            status.and_then(ExitStatus::code),
            status.and_then(|status| status.signal()),
        ) {
            (Some(code), _) => write!(formatter, "ended with exit code {code}"),
            (None, Some(signal)) => write!(formatter, "was ended by signal {signal}"),
            (None, None) => formatter.write_str("ended"),
        }
    }
}
