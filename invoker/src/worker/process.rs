//! The process of a worker: its start, its link and its end.

use std::{
    ffi::OsString,
    io,
    net::Shutdown,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream as Link,
    },
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
        BufWriter,
    },
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Command,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    calls::Calls,
    protocol::{FRAME_HEADER, FromWorker, ProtocolError, ToWorker, read_header},
};
use crate::{
    log,
    process::{self, Group},
};

/// The variable that tells a worker which of its descriptors is the link.
const LINK: &str = "FERMATA_LINK";

/// The least number of that descriptor: beyond those that programs use by habit, and below 16,
/// since Node.js keeps only its first sixteen from the programs that it starts.
const LEAST_LINK: i32 = 10;

/// How long a worker that is of no use any more may take to end before it is killed.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a frame may take once it has begun. A worker writes it at once; what has begun and does
/// not go on is no frame, and the next ones would be taken for its rest.
const FRAME_TIME: Duration = Duration::from_secs(10);

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

/// A worker's process. Dropping it kills the process with all it started.
pub(crate) struct Process {
    group: Group,
    status: oneshot::Receiver<ExitStatus>,
    link: Arc<Link>,
}

/// Fails all calls when it is dropped.
struct FailAtEnd(Arc<Calls>);

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
    let (own, theirs) = make_link().map_err(StartError::Link)?;
    let own = Arc::new(own);
    let stream = own.try_clone().and_then(UnixStream::from_std);
    let stream = stream.map_err(StartError::Link)?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .env(LINK, theirs.as_raw_fd().to_string())
        .stdin(Stdio::null());
    let link = own.clone();
    // What the worker said before its end is still read; what its children, which may hold the
    // other end, say after it is not.
    let ended = move || close(&link);
    let running = process::spawn(&mut command, ended).map_err(|source| StartError::Program {
        program: launch.program.clone(),
        hint: launch.hint,
        source,
    })?;
    drop(theirs);
    let (calls, queue) = Calls::new();
    let (read, write) = stream.into_split();
    let (ready, is_ready) = oneshot::channel();
    // Both end with the link.
    tokio::spawn(write_frames(write, queue));
    tokio::spawn(read_frames(read, calls.clone(), ready));
    let mut process = Process {
        group: running.group,
        status: running.status,
        link: own,
    };
    if is_ready.await.is_ok() {
        Ok((process, calls))
    } else {
        Err(StartError::Ended {
            how: process.end(LAST_WORDS).await,
            told: launch.tells,
        })
    }
}

/// A socket pair of which one end is handed on to the next program that is started.
fn make_link() -> io::Result<(Link, OwnedFd)> {
    let (own, theirs) = Link::pair()?;
    own.set_nonblocking(true)?;
    let theirs = fcntl_dupfd_cloexec(&theirs, LEAST_LINK)?;
    fcntl_setfd(&theirs, FdFlags::empty())?;
    Ok((own, theirs))
}

/// Ends the link, whoever else may hold an end of it.
fn close(link: &Link) {
    // That it has ended already is as good.
    let _ = link.shutdown(Shutdown::Both);
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
    // However the reading ends, nobody is left waiting for an answer.
    let calls = FailAtEnd(calls);
    let mut link = BufReader::with_capacity(BUFFER, link);
    let mut ready = Some(ready);
    loop {
        let taken = match read_frame(&mut link).await {
            Ok(None) => break,
            Ok(Some((_, FromWorker::Ready))) => {
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
                Ok(())
            }
            Ok(Some((id, frame))) => calls.0.take(id, frame),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            log::error(&error);
            break;
        }
    }
}

/// The next frame; none at the end.
async fn read_frame(
    link: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<(u32, FromWorker)>, ProtocolError> {
    match link.fill_buf().await {
        Ok(begun) if !begun.is_empty() => {}
        _ => return Ok(None),
    }
    timeout(FRAME_TIME, read_begun(link))
        .await
        .unwrap_or(Err(ProtocolError::Stalled))
}

/// A frame of which the first byte is there; none if the end comes first.
async fn read_begun(
    link: &mut (impl AsyncBufRead + Unpin),
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

// === impl FailAtEnd ===

impl Drop for FailAtEnd {
    fn drop(&mut self) {
        self.0.fail();
    }
}

// === impl Process ===

impl Process {
    /// Closes the link and waits for the process to end; kills it if it takes longer than that.
    /// What is left of what it has started is killed in any case.
    pub(crate) async fn end(&mut self, patience: Duration) -> Ended {
        close(&self.link);
        let mut ended = timeout(patience, &mut self.status).await;
        if ended.is_err() {
            log::line("the worker does not end and is killed");
            self.group.kill();
            ended = Ok((&mut self.status).await);
        }
        self.group.ended();
        Ended(ended.ok().and_then(Result::ok))
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
        match self.0 {
            Some(status) => formatter.write_str(&process::how(status)),
            None => formatter.write_str("ended"),
        }
    }
}

#[cfg(test)]
mod tests;
