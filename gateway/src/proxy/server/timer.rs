//! The timer of hyper, which asks for a sleep whenever it begins to wait for the head of a request, and
//! drops it with the head.
//!
//! The sleep is kept: to make one takes an allocation and, twice, the lock of the runtime's timers; to
//! move one on takes neither. And it is two clocks: one for a connection that is idle, and a shorter
//! one from the first byte of a head on, so that half a head does not hold a connection for as long.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use tokio::time;

use super::line::Line;
use crate::sync::lock;

type Kept = Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>;

/// The timer of one connection.
#[derive(Debug)]
pub(super) struct ReusableTimer {
    kept: Kept,
    line: Arc<Line>,
    header_timeout: Duration,
}

/// A sleep that goes back to its timer.
struct Borrowed {
    /// Empty only while it is dropped.
    sleep: Option<Pin<Box<time::Sleep>>>,
    home: Kept,
    line: Arc<Line>,
    /// How long the rest of a head may take, until one has begun.
    header_timeout: Option<Duration>,
}

// === impl ReusableTimer ===

impl ReusableTimer {
    /// The timer of this connection, with the time for a head that has begun.
    pub(super) fn new(line: Arc<Line>, header_timeout: Duration) -> Self {
        Self {
            kept: Kept::default(),
            line,
            header_timeout,
        }
    }
}

impl Timer for ReusableTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.line.await_head();
        let deadline = deadline.into();
        let kept = lock(&self.kept).take();
        let sleep = match kept {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            None => Box::pin(time::sleep_until(deadline)),
        };
        Box::pin(Borrowed {
            sleep: Some(sleep),
            home: self.kept.clone(),
            line: self.line.clone(),
            header_timeout: Some(self.header_timeout),
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
        let this = &mut *self;
        let Some(sleep) = &mut this.sleep else {
            return Poll::Pending;
        };
        if this.line.has_begun()
            && let Some(timeout) = this.header_timeout.take()
        {
            let due = time::Instant::now() + timeout;
            if due < sleep.deadline() {
                sleep.as_mut().reset(due);
            }
        }
        sleep.as_mut().poll(context)
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
    use fermata_listen::{Bounds, Seats};

    use super::*;

    fn timer(header_timeout: u64) -> (ReusableTimer, Arc<Line>) {
        let bounds = Bounds {
            most: 1,
            per_address: 1,
        };
        let seat = Seats::new(bounds).take_free(None).unwrap();
        let line = Arc::new(Line::new(seat));
        let timeout = Duration::from_secs(header_timeout);
        (ReusableTimer::new(line.clone(), timeout), line)
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_that_was_used_before_sleeps_as_long_as_a_new_one() {
        let (timer, _) = timer(9);
        for seconds in [5, 1, 3] {
            let begun = time::Instant::now();
            drop(timer.sleep(Duration::from_secs(60)));
            timer.sleep(Duration::from_secs(seconds)).await;
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_at_once_do_not_meet() {
        let (timer, _) = timer(9);
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

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_has_less_time_and_the_next_one_begins_anew() {
        let (timer, line) = timer(10);
        for _ in 0..2 {
            let begun = time::Instant::now();
            let mut idle = timer.sleep(Duration::from_secs(60));
            let first = time::timeout(Duration::from_secs(40), idle.as_mut()).await;
            assert!(first.is_err(), "nothing has come");
            line.heard(true);
            idle.await;
            line.heard(false);
            assert_eq!(begun.elapsed().as_secs(), 50);
        }
        // It never makes the wait longer.
        let begun = time::Instant::now();
        let short = timer.sleep(Duration::from_secs(3));
        line.heard(true);
        short.await;
        assert_eq!(begun.elapsed().as_secs(), 3);
    }
}
