//! From the program's standard output to the answer's body.

use std::{
    pin::Pin,
    process::ExitStatus,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, ReadBuf},
    process::ChildStdout,
    sync::{OwnedSemaphorePermit, oneshot},
};

use super::input::{Fault, Input};
use crate::{
    body::Aborted,
    log,
    process::{Group, how},
};

const PIECE: usize = 32 * 1024;

/// The output of a program that runs. Dropping it before the end kills the program.
pub(crate) struct Output {
    first: Option<Bytes>,
    stdout: ChildStdout,
    status: oneshot::Receiver<ExitStatus>,
    closed: bool,
    group: Group,
    input: Input,
    _place: Option<OwnedSemaphorePermit>,
}

/// What a program writes first.
pub(crate) enum First {
    /// Something, and there may be more.
    Some(Bytes, Output),
    /// Nothing at all; how it ended.
    None(ExitStatus),
    /// Nothing yet, and the request's body is at fault.
    Fault(Fault),
}

// === impl Output ===

impl Output {
    /// Waits for the first output, or for the end without any. Dropping the future kills the
    /// program.
    pub(crate) async fn first(
        stdout: ChildStdout,
        status: oneshot::Receiver<ExitStatus>,
        group: Group,
        input: Input,
        place: Option<OwnedSemaphorePermit>,
    ) -> First {
        let mut output = Self {
            first: None,
            stdout,
            status,
            closed: false,
            group,
            input,
            _place: place,
        };
        let mut first = BytesMut::with_capacity(PIECE);
        let read = tokio::select! {
            read = output.stdout.read_buf(&mut first) => read,
            fault = output.input.fault() => return First::Fault(fault),
        };
        if read.is_ok_and(|size| size > 0) {
            return First::Some(first.freeze(), output);
        }
        // Its output is closed, but it may still read.
        tokio::select! {
            status = &mut output.status => match status {
                Ok(status) => {
                    output.group.ended();
                    First::None(status)
                }
                // The process cannot be waited for; what it did is not known.
                Err(_) => First::Fault(Fault::Incomplete),
            },
            fault = output.input.fault() => First::Fault(fault),
        }
    }

    /// The output as a body that begins with what was read first.
    pub(crate) fn begin(mut self, first: Bytes) -> Self {
        self.first = Some(first);
        self
    }

    /// The next piece. A program that ends badly breaks the body off.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Aborted>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if !self.closed {
            let mut piece = BytesMut::zeroed(PIECE);
            let mut buffer = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut self.stdout).poll_read(context, &mut buffer));
            let size = buffer.filled().len();
            if read.is_ok() && size > 0 {
                piece.truncate(size);
                return Poll::Ready(Some(Ok(piece.freeze())));
            }
            self.closed = true;
        }
        let status = ready!(Pin::new(&mut self.status).poll(context));
        Poll::Ready(match status {
            Ok(status) => {
                self.group.ended();
                if status.success() {
                    None
                } else {
                    log::line(format_args!(
                        "the program {} in the middle of its answer",
                        how(status)
                    ));
                    Some(Err(Aborted))
                }
            }
            Err(_) => Some(Err(Aborted)),
        })
    }
}
