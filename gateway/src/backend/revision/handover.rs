//! Whose a Revision with a hard limit is: only its owner admits requests to it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use super::Revision;
use crate::{backend::queue::Refusal, sync::lock};

/// Another gateway has taken the Revision over.
pub(super) const YIELDED: u64 = 0;

/// No other gateway has ever asked for it.
pub(super) const UNCONTENDED: u64 = u64::MAX;

impl Revision {
    /// Whether this gateway has taken it over since the gateways last changed.
    #[must_use]
    pub(crate) fn is_held(&self, epoch: u64) -> bool {
        self.held.load(Ordering::SeqCst) == epoch
    }

    /// It is this gateway's now.
    pub(crate) fn hold(&self, epoch: u64) {
        self.held.store(epoch, Ordering::SeqCst);
    }

    /// The gateway that has taken it over since the gateways last changed.
    #[must_use]
    pub(crate) fn yielded_to(&self, epoch: u64) -> Option<IpAddr> {
        if self.held.load(Ordering::SeqCst) != YIELDED {
            return None;
        }
        let yielded = *lock(&self.yielded);
        yielded
            .filter(|(_, since)| *since == epoch)
            .map(|(to, _)| to)
    }

    /// It is another gateway's now: nothing more is admitted, and those that wait go there. Returns how
    /// many requests run on which pods. A request that takes its place first and looks whose the Revision
    /// is second, and this, which says so first and counts second, cannot miss each other.
    pub(crate) fn yield_up(this: &Arc<Self>, to: IpAddr, epoch: u64) -> HashMap<String, u32> {
        *lock(&this.yielded) = Some((to, epoch));
        this.held.store(YIELDED, Ordering::SeqCst);
        this.queue.refuse_all(&Refusal::Moved);
        let observed = lock(&this.observed);
        let running = observed.pods.iter().map(|pod| {
            let in_flight = pod.in_flight();
            (pod.state.name.to_string(), in_flight)
        });
        running.filter(|(_, in_flight)| *in_flight > 0).collect()
    }

    /// How many requests of which other gateways run on which pods.
    pub(crate) fn set_foreign(&self, foreign: &HashMap<Box<str>, HashMap<String, u32>>) {
        let mut running: HashMap<Box<str>, u32> = HashMap::new();
        for (pod, count) in foreign.values().flatten() {
            *running.entry(pod.as_str().into()).or_default() += count;
        }
        lock(&self.observed).set_foreign(running);
    }
}
