//! A timer that keeps its sleep.
//!
//! hyper makes a sleep for the head of each request and drops it with the head. To make one takes an
//! allocation and, twice, the lock of the runtime's timers; to move one on takes neither.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use tokio::time;

use crate::sync::lock;

type Kept = Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>;

/// The timer of one connection.
#[derive(Debug, Default)]
pub(super) struct KeepingTimer(Kept);

/// A sleep that goes back to its timer.
struct Borrowed {
    /// Empty only while it is dropped.
    sleep: Option<Pin<Box<time::Sleep>>>,
    home: Kept,
}

// === impl KeepingTimer ===

impl Timer for KeepingTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let deadline = deadline.into();
        let kept = lock(&self.0).take();
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(time::sleep_until(deadline)),
        };
        Box::pin(Borrowed {
            sleep: Some(sleep),
            home: self.0.clone(),
        })
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

// === impl Borrowed ===

impl Future for Borrowed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl Sleep for Borrowed {}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // It may still go off, and then wakes the connection for nothing, once.
        *lock(&self.home) = self.sleep.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_was_used_before_sleeps_as_long_as_a_new_one() {
        let timer = KeepingTimer::default();
        for seconds in [5, 1, 3] {
            let begun = time::Instant::now();
            drop(timer.sleep(Duration::from_secs(60)));
            timer.sleep(Duration::from_secs(seconds)).await;
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_at_once_do_not_meet() {
        let timer = KeepingTimer::default();
        let begun = time::Instant::now();
        let (long, short) = (
            timer.sleep(Duration::from_secs(9)),
            timer.sleep(Duration::from_secs(2)),
        );
        short.await;
        assert_eq!(begun.elapsed().as_secs(), 2);
        long.await;
        assert_eq!(begun.elapsed().as_secs(), 9);
    }
}
