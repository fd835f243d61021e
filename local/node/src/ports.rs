//! Free ports for pods.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range that the kernel takes source ports from, so that a busy client never sits on a
/// pod's port.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// How far processes with consecutive ids begin from each other: by the golden ratio, any number of them is spread.
const STEP: u16 = 7_417;

/// Where the next search begins. It moves on with every port given, so that a port is not given
/// again soon after.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of the loopback interface that nobody listens on, or `None` when there is none left.
///
/// Nothing holds the port until the pod's process listens; another program may take it first, and
/// then the process fails as it would on any machine.
pub(crate) fn free() -> Option<u16> {
    if NEXT.load(Ordering::Relaxed) == 0 {
        NEXT.store(beginning(std::process::id()), Ordering::Relaxed);
    }
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// Where a process begins to search. Clusters side by side, whose ids are near each other, begin far from each
/// other: a port that one has given is free for the others until its pod listens.
fn beginning(process: u32) -> u16 {
    let spread = u64::from(process) * u64::from(STEP) % u64::from(COUNT);
    u16::try_from(spread).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_begin_far_from_each_other() {
        let begin: Vec<u16> = (4_000_000..4_000_040).map(beginning).collect();
        for (at, one) in begin.iter().enumerate() {
            for other in &begin[at + 1..] {
                let apart = one.abs_diff(*other);
                assert!(apart.min(COUNT - apart) > 100, "{one} {other}");
            }
        }
    }
}
