//! One instance of a function: a pod's address, how busy it is, and the connections to it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use crate::{clock::Micros, upstream::pool::Pool};

/// One instance.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pod: Box<str>,
    address: SocketAddr,
    in_flight: AtomicU32,
    /// Requests of other gateways that it works on, where only one of them may count.
    foreign: AtomicU32,
    draining: AtomicBool,
    gone: AtomicBool,
    ejected_until: AtomicU64,
    last_probe: AtomicU8,
    /// Connections to the instance.
    pub(crate) pool: Pool,
}

/// How the last probe of an instance failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum LastProbe {
    /// None has.
    None,
    /// Nothing listened on its port.
    NoConnection,
    /// Something listened, and did not give the answer that its probe asks for.
    Refused,
}

// === impl Endpoint ===

impl Endpoint {
    /// An idle instance.
    #[must_use]
    pub(crate) fn new(pod: &str, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            pod: pod.into(),
            address,
            in_flight: AtomicU32::new(0),
            foreign: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            last_probe: AtomicU8::new(LastProbe::None as u8),
            pool: Pool::default(),
        })
    }

    /// Name of the pod.
    #[must_use]
    pub(crate) fn pod(&self) -> &str {
        &self.pod
    }

    /// Where it takes requests.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests it works on.
    #[must_use]
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Requests it works on, those of other gateways included as far as they are known.
    #[must_use]
    pub(crate) fn busy(&self) -> u32 {
        self.in_flight()
            .saturating_add(self.foreign.load(Ordering::SeqCst))
    }

    /// Says how many requests of other gateways it works on.
    pub(crate) fn set_foreign(&self, foreign: u32) {
        self.foreign.store(foreign, Ordering::SeqCst);
    }

    /// Takes a place if fewer than `limit` are taken.
    pub(crate) fn try_enter(&self, limit: u32) -> bool {
        let limit = match limit {
            u32::MAX => limit,
            limit => limit.saturating_sub(self.foreign.load(Ordering::SeqCst)),
        };
        self.in_flight
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                (count < limit).then_some(count + 1)
            })
            .is_ok()
    }

    /// Gives a place back.
    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether it should get no new requests. A request that takes its place first and looks here
    /// second, and a drain that marks first and counts the places second, cannot miss each other.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Says whether it should get no new requests.
    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::SeqCst);
    }

    /// Whether its pod has left the cluster, or has another address by now.
    #[must_use]
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Its pod has left: nobody needs to probe it, and idle connections are closed.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.pool.clear();
    }

    /// Whether it recently did not take a connection.
    #[must_use]
    pub(crate) fn is_ejected(&self, now: Micros) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }

    /// Puts it last in line until the given time.
    pub(crate) fn eject(&self, until: Micros) {
        self.ejected_until.store(until, Ordering::Relaxed);
    }

    /// How the last probe failed.
    #[must_use]
    pub(crate) fn last_probe(&self) -> LastProbe {
        match self.last_probe.load(Ordering::Relaxed) {
            1 => LastProbe::NoConnection,
            2 => LastProbe::Refused,
            _ => LastProbe::None,
        }
    }

    /// Notes how a probe failed.
    pub(crate) fn set_last_probe(&self, probe: LastProbe) {
        self.last_probe.store(probe as u8, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn for_test(pod: &str, port: u16) -> Arc<Self> {
        Self::new(pod, SocketAddr::from(([127, 0, 0, 1], port)))
    }
}
