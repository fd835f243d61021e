//! The clock of writes that make no progress.
//!
//! Who has something to send, and a peer that takes none of it, holds what it has in memory, and a
//! place at the function, for as long as that peer likes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// A peer took no byte of what was to be sent for too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the peer took no byte of what is sent to it for {} s", .0.as_secs_f64())]
pub(crate) struct Stalled(pub(crate) Duration);

/// The clock of one connection. It costs nothing while writes make progress.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// One timer for the life of the connection, once there was need of it.
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

// === impl Stall ===

impl Stall {
    /// To be told of what every write came to; one that had to wait for longer than the limit, zero
    /// being none, fails with [`Stalled`].
    pub(crate) fn watch<T>(
        &mut self,
        limit: Duration,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.running = false;
            return outcome;
        }
        if limit.is_zero() {
            return Poll::Pending;
        }
        let due = || Instant::now() + limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due())));
        if !self.running {
            sleep.as_mut().reset(due());
            self.running = true;
        }
        ready!(sleep.as_mut().poll(context));
        let stalled = Stalled(limit);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, stalled)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::causes;

    const LIMIT: Duration = Duration::from_secs(3);

    async fn write(stall: &mut Stall, limit: Duration, takes: Duration) -> io::Result<()> {
        let mut written = Box::pin(tokio::time::sleep(takes));
        poll_fn(|context| {
            let outcome = written.as_mut().poll(context).map(Ok);
            stall.watch(limit, context, outcome)
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn each_write_has_the_whole_time() {
        let mut stall = Stall::default();
        for _ in 0..3 {
            write(&mut stall, LIMIT, LIMIT - Duration::from_secs(1))
                .await
                .unwrap();
            write(&mut stall, LIMIT, Duration::ZERO).await.unwrap();
        }
        let error = write(&mut stall, LIMIT, 2 * LIMIT).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(causes::find(&error), Some(Stalled(LIMIT)));
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let year = Duration::from_secs(365 * 86_400);
        write(&mut Stall::default(), Duration::ZERO, year)
            .await
            .unwrap();
    }
}
