//! Free ports for pods.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range that the kernel takes source ports from, so that a busy client never sits on a
/// pod's port.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Where the next search begins. It moves on with every port given, so that a port is not given
/// again soon after.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of the loopback interface that nobody listens on, or `None` when there is none left.
///
/// Nothing holds the port until the pod's process listens; another program may take it first, and
/// then the process fails as it would on any machine.
pub(crate) fn free() -> Option<u16> {
    if NEXT.load(Ordering::Relaxed) == 0 {
        // Clusters side by side should not all begin at the same port.
        let offset = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
        NEXT.store(offset, Ordering::Relaxed);
    }
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}
