//! Calls under way in a worker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::protocol::{BadHead, CallHead, FromWorker, Head, ProtocolError, ToWorker, WINDOW};
use crate::{body::Aborted, failure::Failure};

/// What a call holds until its answer ends: its place among the calls at once, and the room of its
/// body.
pub(crate) type Holds = (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

/// All calls that were begun and have not ended.
///
/// The queue to the worker holds at most one frame with a body for each call, one cancellation for
/// each, and credit for what the callers took; it is bounded by the calls at once.
pub(crate) struct Calls {
    table: Mutex<Table>,
    to_worker: mpsc::UnboundedSender<ToWorker>,
    gone: CancellationToken,
}

#[derive(Default)]
struct Table {
    last: u32,
    slots: HashMap<u32, Slot>,
}

struct Slot {
    stage: Stage,
    /// Bytes that were received and not taken yet.
    waiting: usize,
}

enum Stage {
    Asked(oneshot::Sender<Result<Answered, Failure>>),
    Answering(mpsc::UnboundedSender<Piece>),
}

/// The beginning of an answer, on its way to whoever asked.
enum Answered {
    Whole(Head, Bytes),
    Stream(Head, mpsc::UnboundedReceiver<Piece>),
}

enum Piece {
    Data(Bytes),
    End,
    Broken,
}

/// The beginning of an answer.
pub(crate) enum Begun {
    /// It is all there.
    Whole(Head, Bytes),
    /// The body follows.
    Stream(Head, Answer),
}

/// The rest of an answer. Dropping it before the end cancels the call.
pub(crate) struct Answer {
    pieces: mpsc::UnboundedReceiver<Piece>,
    ticket: Ticket,
}

/// A call's place in the table. Dropping it before the answer's end cancels the call.
struct Ticket {
    id: u32,
    calls: Arc<Calls>,
    _holds: Holds,
}

// === impl Calls ===

impl Calls {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ToWorker>) {
        let (to_worker, queue) = mpsc::unbounded_channel();
        let calls = Self {
            table: Mutex::default(),
            to_worker,
            gone: CancellationToken::new(),
        };
        (Arc::new(calls), queue)
    }

    pub(crate) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Begins a call and waits for the head of its answer. Dropping the future cancels the call.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        head: &CallHead<'_>,
        body: Bytes,
        holds: Holds,
    ) -> Result<Begun, Failure> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut table = self.lock();
            if self.gone.is_cancelled() {
                return Err(Failure::WorkerGone);
            }
            let id = table.free_id();
            let slot = Slot {
                stage: Stage::Asked(sender),
                waiting: 0,
            };
            table.slots.insert(id, slot);
            id
        };
        let ticket = Ticket {
            id,
            calls: self.clone(),
            _holds: holds,
        };
        // Fails only when the worker is gone, which the receiver hears of.
        let _ = self.to_worker.send(ToWorker::call(id, head, body));
        match receiver.await.unwrap_or(Err(Failure::WorkerGone))? {
            Answered::Whole(head, body) => Ok(Begun::Whole(head, body)),
            Answered::Stream(head, pieces) => Ok(Begun::Stream(head, Answer { pieces, ticket })),
        }
    }

    /// Takes in a frame of the worker. Frames about calls that nobody waits for any more are left.
    pub(crate) fn take(&self, id: u32, frame: FromWorker) -> Result<(), ProtocolError> {
        let mut table = self.lock();
        let Some(slot) = table.slots.get_mut(&id) else {
            return Ok(());
        };
        match frame {
            FromWorker::Ready => {}
            FromWorker::Response(head, body) => {
                let answered = head.map(|head| Answered::Whole(head, body));
                table.finish(id, answered.map_err(bad_answer));
            }
            FromWorker::Head(Err(bad)) => {
                table.finish(id, Err(bad_answer(bad)));
                let _ = self.to_worker.send(ToWorker::cancel(id));
            }
            FromWorker::Head(Ok(head)) => {
                let (sender, pieces) = mpsc::unbounded_channel();
                let stage = std::mem::replace(&mut slot.stage, Stage::Answering(sender));
                if let Stage::Asked(asked) = stage {
                    // Whoever asked may just have gone; then the ticket cancels the call.
                    let _ = asked.send(Ok(Answered::Stream(head, pieces)));
                }
            }
            // Nothing that would be bounded by the window.
            FromWorker::Data(data) if data.is_empty() => {}
            FromWorker::Data(data) => {
                slot.waiting += data.len();
                if slot.waiting > WINDOW {
                    return Err(ProtocolError::Window);
                }
                if let Stage::Answering(pieces) = &slot.stage {
                    let _ = pieces.send(Piece::Data(data));
                }
            }
            FromWorker::End => table.end(id),
            FromWorker::Error(status, detail) => {
                table.finish(id, Err(Failure::Handler(status, detail)));
            }
        }
        Ok(())
    }

    /// Fails all calls: the worker is gone.
    pub(crate) fn fail(&self) {
        let mut table = self.lock();
        self.gone.cancel();
        let ids: Vec<u32> = table.slots.keys().copied().collect();
        for id in ids {
            table.finish(id, Err(Failure::WorkerGone));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bad_answer(bad: BadHead) -> Failure {
    Failure::BadAnswer(bad.to_string())
}

// === impl Table ===

impl Table {
    fn free_id(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.slots.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    /// Ends a call with an answer or a failure; an answer that has begun already is broken off.
    fn finish(&mut self, id: u32, result: Result<Answered, Failure>) {
        match self.slots.remove(&id).map(|slot| slot.stage) {
            Some(Stage::Asked(asked)) => {
                let _ = asked.send(result);
            }
            Some(Stage::Answering(pieces)) => {
                let _ = pieces.send(Piece::Broken);
            }
            None => {}
        }
    }

    fn end(&mut self, id: u32) {
        match self.slots.remove(&id).map(|slot| slot.stage) {
            Some(Stage::Asked(asked)) => {
                let _ = asked.send(Err(bad_answer(BadHead::Missing)));
            }
            Some(Stage::Answering(pieces)) => {
                let _ = pieces.send(Piece::End);
            }
            None => {}
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The next piece of the body; each one that is taken lets the worker send as much again.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Aborted>>> {
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Piece::Data(data)) => {
                self.ticket.took(data.len());
                Some(Ok(data))
            }
            Some(Piece::End) => None,
            Some(Piece::Broken) | None => Some(Err(Aborted)),
        })
    }
}

// === impl Ticket ===

impl Ticket {
    fn took(&self, bytes: usize) {
        let mut table = self.calls.lock();
        if let Some(slot) = table.slots.get_mut(&self.id) {
            slot.waiting = slot.waiting.saturating_sub(bytes);
            let _ = self.calls.to_worker.send(ToWorker::credit(self.id, bytes));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.calls.lock().slots.remove(&self.id).is_some() {
            let _ = self.calls.to_worker.send(ToWorker::cancel(self.id));
        }
    }
}
