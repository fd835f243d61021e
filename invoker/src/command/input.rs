//! From the request's body to the program's standard input.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{io::AsyncWriteExt as _, process::ChildStdin, sync::oneshot, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::request::{BODY_IDLE, drain};

/// What is wrong with a request's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It is larger than allowed.
    TooLarge,
    /// Nothing came for too long.
    Stalled,
    /// It broke off.
    Incomplete,
}

/// A body that is being written to a program. Dropping it stops that.
pub(crate) struct Input {
    _task: AbortOnDropHandle<()>,
    /// None once the whole body is known to be in order.
    fault: Option<oneshot::Receiver<Fault>>,
}

/// Writes the body to the program as it comes. A program that reads no more is left in peace.
pub(crate) fn feed(body: Incoming, stdin: ChildStdin, most: usize) -> Input {
    let (sender, fault) = oneshot::channel();
    let task = tokio::spawn(async move {
        if let Err(fault) = copy(body, stdin, most).await {
            let _ = sender.send(fault);
        }
    });
    Input {
        _task: AbortOnDropHandle::new(task),
        fault: Some(fault),
    }
}

async fn copy(mut body: Incoming, mut stdin: ChildStdin, most: usize) -> Result<(), Fault> {
    let mut size = 0;
    loop {
        let frame = match timeout(BODY_IDLE, body.frame()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Fault::Incomplete),
            Err(_) => return Err(Fault::Stalled),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        size += data.len();
        if size > most {
            drain(&mut body).await;
            return Err(Fault::TooLarge);
        }
        if stdin.write_all(&data).await.is_err() {
            return Ok(());
        }
    }
}

// === impl Input ===

impl Input {
    /// Waits for something to be wrong with the body; for ever if nothing is. Cancel safe.
    pub(crate) async fn fault(&mut self) -> Fault {
        if let Some(receiver) = &mut self.fault {
            let fault = receiver.await;
            self.fault = None;
            if let Ok(fault) = fault {
                return fault;
            }
        }
        std::future::pending().await
    }
}
