//! Makes the calls that wait, those of each function beside those of all others.
//!
//! A function that has calls has a task, which ends with the last of them. How many it makes at once it learns from the
//! answers; a namespace has a share of all that are made, so that the slow functions of one do not use up all places.

mod attempt;
mod batch;
mod bury;
mod callback;
mod decide;
mod limit;
mod output;
mod publish;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use fermata_daemon::watch::Key;
use http::uri::Authority;
use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    allow::AllowedHost,
    error::StoreError,
    id::Id,
    invocation::{Answer, Due, Invocation, Left, State},
    rooms::Rooms,
    store::{Active, Next, Store},
};

use attempt::Caller;
use callback::{Teller, Told};
use decide::{Outcome, Pressure, decide, expire};
use limit::Limit;

/// How long nothing is tried after the disk has taken nothing.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Namespaces of which it is remembered what they use, before those that use nothing are forgotten.
const REMEMBERED: usize = 1024;

/// How many calls are made at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concurrency {
    /// By all functions.
    pub(crate) all: u32,
    /// By those of one namespace.
    pub(crate) namespace: u32,
    /// By one function.
    pub(crate) function: u32,
}

/// What makes calls.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    pub(crate) store: Store,
    pub(crate) gateway: Authority,
    /// The largest body of an answer that is kept, in bytes.
    pub(crate) kept: usize,
    pub(crate) concurrency: Concurrency,
    /// What functions can take, as the gateways say.
    pub(crate) rooms: Arc<Rooms>,
    /// Who may be called back.
    pub(crate) callbacks: Vec<AllowedHost>,
    /// How long calls may go on when the program stops.
    pub(crate) drain: Duration,
}

/// Callbacks of one namespace that are made at once: who is slow to take them delays no calls.
const CALLBACKS: usize = 32;

/// How long a callback waits for which there is no place.
const NO_PLACE: Duration = Duration::from_secs(5);

/// The places of one namespace.
#[derive(Debug)]
struct Share {
    calls: Arc<Semaphore>,
    callbacks: Arc<Semaphore>,
}

/// What all tasks share.
struct Shared {
    store: Store,
    caller: Caller,
    teller: Teller,
    rooms: Arc<Rooms>,
    all: Arc<Semaphore>,
    /// Callbacks go on when nothing else of their function does.
    tasks: TaskTracker,
    /// No more calls are begun.
    stop: CancellationToken,
    /// Those that are being made break off.
    abort: CancellationToken,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// Makes calls until told to stop, and then lets those go on that are being made, until the time for that is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks everything off. What was being made waits again in the store.
    pub(crate) async fn run(self, mut active: Active, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            tasks: tasks.clone(),
            store: self.store,
            caller: Caller::new(self.gateway, self.kept),
            teller: Teller::new(&self.callbacks),
            rooms: self.rooms,
            all: Arc::new(Semaphore::new(self.concurrency.all as usize)),
            stop: stop.clone(),
            abort: CancellationToken::new(),
        });
        let _ends = shared.abort.clone().drop_guard();
        let mut shares: HashMap<Box<str>, Weak<Share>> = HashMap::new();
        while let Some(Some(function)) = stop.run_until_cancelled(active.next()).await {
            if shares.len() >= REMEMBERED {
                shares.retain(|_, share| share.strong_count() > 0);
            }
            let known = shares.get(&function.namespace).and_then(Weak::upgrade);
            let share = known.unwrap_or_else(|| {
                let share = Arc::new(Share {
                    calls: Arc::new(Semaphore::new(self.concurrency.namespace as usize)),
                    callbacks: Arc::new(Semaphore::new(CALLBACKS)),
                });
                shares.insert(function.namespace.clone(), Arc::downgrade(&share));
                share
            });
            let limit = Limit::new(self.concurrency.function);
            tasks.spawn(shared.clone().follow(function, share, limit));
        }
        tasks.close();
        if tokio::time::timeout(self.drain, tasks.wait())
            .await
            .is_err()
        {
            shared.abort.cancel();
            tasks.wait().await;
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Makes the calls of one function until there are none.
    async fn follow(self: Arc<Self>, function: Key, share: Arc<Share>, mut limit: Limit) {
        let mut running = JoinSet::new();
        while let Some(changed) = self.store.changed(&function) {
            let mut wake = None;
            limit.allow(self.rooms.of(&function, Instant::now()));
            if running.len() < limit.get() && !self.stop.is_cancelled() {
                let permits = tokio::select! {
                    permits = permits(&share.calls, &self.all) => permits,
                    Some(ended) = running.join_next() => {
                        limit.learn(ended.unwrap_or(Pressure::Same), Instant::now());
                        None
                    }
                    () = self.stop.cancelled() => None,
                };
                let Some(permits) = permits else {
                    continue;
                };
                match self.store.next(&function) {
                    Next::Take(id, off) => {
                        let (shared, share) = (self.clone(), share.clone());
                        running.spawn(shared.make(function.clone(), id, off, (permits, share)));
                        continue;
                    }
                    Next::TakeAll(calls) => {
                        let shared = self.clone();
                        running.spawn(shared.make_all(function.clone(), calls, permits));
                        continue;
                    }
                    Next::Wait(due) => wake = Some(due),
                    Next::Running => {}
                    Next::Nothing => break,
                }
            }
            if self.stop.is_cancelled() && running.is_empty() {
                break;
            }
            let wake = wake.map(tokio::time::sleep_until);
            tokio::select! {
                Some(ended) = running.join_next() => {
                    limit.learn(ended.unwrap_or(Pressure::Same), Instant::now());
                }
                () = changed.notified() => {}
                () = optional(wake) => {}
                () = self.stop.cancelled(), if !self.stop.is_cancelled() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// All there is of a call that was taken; none if it is lost, or if no more calls are begun.
    async fn load(&self, function: &Key, id: Id) -> Option<Due> {
        loop {
            match self.store.load(id).await {
                Ok(Some(due)) => return Some(due),
                Ok(None) | Err(StoreError::Content(_)) => {
                    tracing::error!(%id, "what is to be sent of a call is not there");
                    self.store.lose(function, id).await;
                    return None;
                }
                Err(error) => {
                    tracing::error!(%id, error = &error as &dyn std::error::Error, "a call cannot be read");
                    tokio::select! {
                        () = tokio::time::sleep(DISK_PAUSE) => {}
                        () = self.stop.cancelled() => return None,
                    }
                }
            }
        }
    }

    /// Makes one attempt of a call, and writes what came of it.
    async fn make(
        self: Arc<Self>,
        function: Key,
        id: Id,
        off: CancellationToken,
        (permits, share): ([OwnedSemaphorePermit; 2], Arc<Share>),
    ) -> Pressure {
        let Some(due) = self.load(&function, id).await else {
            return Pressure::Same;
        };
        match due.invocation.left() {
            Left::Call | Left::Nothing => {}
            Left::Burial => {
                self.bury(&due, off).await;
                return Pressure::Same;
            }
            Left::Callback => {
                // The function has done its part: its places are for other calls.
                drop(permits);
                let Ok(place) = share.callbacks.clone().try_acquire_owned() else {
                    self.store.give_back(id, &due.invocation, NO_PLACE);
                    return Pressure::Same;
                };
                let shared = self.clone();
                self.tasks.spawn(async move {
                    shared.call_back(&due, off).await;
                    drop(place);
                });
                return Pressure::Same;
            }
        }
        let mut invocation = due.invocation.clone();
        let begun = Instant::now();
        let (mut answer, pressure) = if invocation.expires_at() <= Timestamp::now() {
            expire(&mut invocation, Timestamp::now());
            (None, Pressure::Same)
        } else {
            let outcome = tokio::select! {
                outcome = self.caller.deliver(&due) => outcome,
                () = off.cancelled() => Outcome::CalledOff,
                () = self.abort.cancelled() => {
                    self.store.give_back(id, &due.invocation, Duration::ZERO);
                    return Pressure::Same;
                }
            };
            // It was called off when nothing could be done about it any more: nobody wants it tried again.
            let decided = decide(&mut invocation, outcome, Timestamp::now(), random());
            if off.is_cancelled() && !invocation.is_over() {
                decide(&mut invocation, Outcome::CalledOff, Timestamp::now(), 0.0);
            }
            decided
        };
        if invocation.has_to_tell() {
            let bytes = answer.as_ref().map_or(0, |answer| answer.body.len() as u64);
            let has_room = self.store.make_room(&invocation, bytes);
            if let Some(answer) = answer.as_mut().filter(|_| !has_room) {
                answer.body = Bytes::new();
                answer.head.cut = true;
            }
            invocation.end(begun.elapsed(), if has_room { bytes } else { 0 });
        }
        self.write(&due, &invocation, answer).await;
        pressure
    }

    /// Makes one attempt to publish a call that has failed, and writes what came of that.
    async fn bury(&self, due: &Due, off: CancellationToken) {
        let mut invocation = due.invocation.clone();
        let buried = tokio::select! {
            buried = self.caller.bury(due) => Some(buried),
            () = off.cancelled() => None,
            () = self.abort.cancelled() => {
                self.store.give_back(due.id, &due.invocation, Duration::ZERO);
                return;
            }
        };
        if let Some(buried) = buried {
            bury::decide(&mut invocation, buried, Timestamp::now(), random());
        }
        if off.is_cancelled() && !invocation.is_over() {
            invocation.finish(State::Cancelled, Timestamp::now());
        }
        self.write(due, &invocation, None).await;
    }

    /// Makes one attempt to tell somebody what became of a call, and writes what came of that.
    async fn call_back(&self, due: &Due, off: CancellationToken) {
        let (id, mut invocation) = (due.id, due.invocation.clone());
        let tell = async {
            let answer = self.store.answer(id).await;
            match answer {
                Ok(answer) => self.teller.tell(id, &invocation, answer).await,
                Err(error) => Told::Later(format!("its answer cannot be read: {error}")),
            }
        };
        let told = tokio::select! {
            told = tell => Some(told),
            () = off.cancelled() => None,
            () = self.abort.cancelled() => {
                self.store.give_back(id, &due.invocation, Duration::ZERO);
                return;
            }
        };
        if let Some(told) = told {
            callback::decide(&mut invocation, told, Timestamp::now(), random());
        }
        if off.is_cancelled() && !invocation.is_over() {
            invocation.finish(State::Cancelled, Timestamp::now());
        }
        self.write(due, &invocation, None).await;
    }

    /// Writes what came of an attempt. While the disk takes nothing the call is held, so that it is not made again.
    async fn write(&self, due: &Due, invocation: &Invocation, answer: Option<Answer>) {
        while let Err(error) = self.store.settle(due.id, invocation, answer.clone()).await {
            tracing::error!(
                id = %due.id,
                error = &error as &dyn std::error::Error,
                "what came of a call cannot be written; trying again"
            );
            tokio::select! {
                () = tokio::time::sleep(DISK_PAUSE) => {}
                () = self.abort.cancelled() => return,
            }
        }
    }
}

/// A place among the calls of a namespace, and then one among all. There is always one in the end.
async fn permits(
    share: &Arc<Semaphore>,
    all: &Arc<Semaphore>,
) -> Option<[OwnedSemaphorePermit; 2]> {
    let share = share.clone().acquire_owned().await.ok()?;
    let all = all.clone().acquire_owned().await.ok()?;
    Some([share, all])
}

async fn optional(wait: Option<impl Future<Output = ()>>) {
    match wait {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}

/// Between 0 and 1; spreads pauses, and nothing else hangs on it.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without one all pauses are in the middle.
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
