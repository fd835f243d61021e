//! The handle of one Function: where its requests go.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fermata_daemon::watch::Key;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::metrics::FunctionMetrics,
    backend::revision::Revision,
    failure::{Failure, Wait},
    random,
};

/// One Function.
#[derive(Debug)]
pub(crate) struct Function {
    key: Key,
    uid: Box<str>,
    traffic: ArcSwap<Traffic>,
    changed: Notify,
    waiting: AtomicUsize,
    metrics: OnceLock<Box<FunctionMetrics>>,
}

/// Where a Function's requests go.
#[derive(Clone, Debug)]
pub(crate) enum Traffic {
    /// To these Revisions.
    To(Box<[Share]>),
    /// Nowhere yet: there is no Revision, but there will be. Requests wait.
    Unknown {
        /// How long they wait.
        start_timeout: Duration,
        /// How many of them.
        queue: usize,
    },
    /// Nowhere, and the operator says why.
    Failed(Arc<str>),
}

/// A Revision's share of the requests.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// The Revision.
    pub(crate) revision: Arc<Revision>,
    /// In percent.
    pub(crate) percent: u32,
}

// === impl Function ===

impl Function {
    /// A Function whose traffic is not known.
    #[must_use]
    pub(crate) fn new(key: Key, uid: &str, traffic: Traffic) -> Arc<Self> {
        Arc::new(Self {
            key,
            uid: uid.into(),
            traffic: ArcSwap::from_pointee(traffic),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            metrics: OnceLock::new(),
        })
    }

    /// Namespace and name.
    #[must_use]
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Tells it from a later one of the same name.
    #[must_use]
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// Its numbers; made with the first request.
    #[must_use]
    pub(crate) fn metrics(&self) -> &FunctionMetrics {
        self.metrics.get_or_init(Box::default)
    }

    /// Its numbers, if it ever had a request.
    #[must_use]
    pub(crate) fn known_metrics(&self) -> Option<&FunctionMetrics> {
        self.metrics.get().map(|metrics| &**metrics)
    }

    /// Where its requests go now.
    #[must_use]
    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        self.traffic.load_full()
    }

    /// Sends its requests elsewhere, waiting ones included.
    pub(crate) fn set_traffic(&self, traffic: Traffic) {
        if !traffic.is_same(&self.traffic.load()) {
            self.traffic.store(Arc::new(traffic));
            self.changed.notify_waiters();
        }
    }

    /// Requests that wait for a Revision to appear.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The Revision for one request; waits for one if there will be one.
    ///
    /// # Errors
    ///
    /// `StartFailed` with the operator's sentence, `StartTimeout`, `QueueFull`, `Draining`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the wait, nothing else.
    pub(crate) async fn route(
        &self,
        since: Instant,
        stop: &CancellationToken,
    ) -> Result<Arc<Revision>, Failure> {
        if let Traffic::To(shares) = &**self.traffic.load()
            && let Some(revision) = choose(shares)
        {
            return Ok(revision.clone());
        }
        self.wait_for_route(since, stop).await
    }

    async fn wait_for_route(
        &self,
        since: Instant,
        stop: &CancellationToken,
    ) -> Result<Arc<Revision>, Failure> {
        let _place = Place::take(&self.waiting);
        loop {
            // Listens before it looks, so that no change is missed.
            let changed = self.changed.notified();
            let (start_timeout, queue) = match &*self.traffic() {
                Traffic::To(shares) => match choose(shares) {
                    Some(revision) => return Ok(revision.clone()),
                    None => return Err(Failure::StartFailed("no revision gets traffic".into())),
                },
                Traffic::Failed(detail) => return Err(Failure::StartFailed(detail.clone())),
                Traffic::Unknown {
                    start_timeout,
                    queue,
                } => (*start_timeout, *queue),
            };
            if self.waiting() > queue {
                return Err(Failure::QueueFull { limit: queue });
            }
            tokio::select! {
                () = changed => {}
                () = stop.cancelled() => return Err(Failure::Draining),
                () = tokio::time::sleep_until(since + start_timeout) => {
                    return Err(Failure::StartTimeout(Wait::Pods));
                }
            }
        }
    }
}

fn choose(shares: &[Share]) -> Option<&Arc<Revision>> {
    if let [only] = shares {
        return Some(&only.revision);
    }
    let total: u32 = shares.iter().map(|share| share.percent).sum();
    if total == 0 {
        return None;
    }
    let mut ticket = u32::try_from(random::below(total as usize)).unwrap_or(0);
    for share in shares {
        if ticket < share.percent {
            return Some(&share.revision);
        }
        ticket -= share.percent;
    }
    None
}

/// A counted wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Traffic ===

impl Traffic {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::To(one), Self::To(two)) => {
                one.len() == two.len()
                    && one.iter().zip(two).all(|(one, two)| {
                        one.percent == two.percent && Arc::ptr_eq(&one.revision, &two.revision)
                    })
            }
            (
                Self::Unknown {
                    start_timeout,
                    queue,
                },
                Self::Unknown {
                    start_timeout: other_timeout,
                    queue: other_queue,
                },
            ) => start_timeout == other_timeout && queue == other_queue,
            (Self::Failed(one), Self::Failed(two)) => one == two,
            _ => false,
        }
    }
}
