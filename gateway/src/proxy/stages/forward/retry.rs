//! How often, and for how long, sending a request is tried.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;

/// How long connecting is tried while no instance takes a connection. One that is restarted or
/// replaced comes back within that time.
const CONNECT_BUDGET: Duration = Duration::from_secs(10);

/// The first pause between two such tries; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often a request is sent on to where the traffic is now.
const MOST_MOVES: u32 = 20;

/// Why a request was not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The revision serves no more, or not here.
    Moved,
    /// A kept connection was closed.
    Stale,
    /// No connection was taken.
    Refused(Failure),
}

/// The attempts of one request so far.
#[derive(Debug)]
pub(super) struct RetryState {
    first_failure: Option<Instant>,
    pause: Duration,
    moves: u32,
    distrusts_idle: bool,
}

// === impl RetryState ===

impl RetryState {
    pub(super) fn begin() -> Self {
        Self {
            first_failure: None,
            pause: FIRST_PAUSE,
            moves: 0,
            distrusts_idle: false,
        }
    }

    /// Whether the request has been assigned an instance before: it goes in front of those that
    /// have not.
    pub(super) fn is_again(&self) -> bool {
        self.first_failure.is_some() || self.distrusts_idle
    }

    /// Whether a kept connection is worth a try. One disappointment is enough: where one was closed
    /// the others are likely to be.
    pub(super) fn trusts_idle(&self) -> bool {
        !self.distrusts_idle
    }

    /// Waits until the next attempt makes sense.
    ///
    /// # Errors
    ///
    /// The failure of the request, when there have been enough of them.
    pub(super) async fn after(&mut self, unsent: Unsent) -> Result<(), Failure> {
        match unsent {
            Unsent::Moved => self.moved().await,
            Unsent::Stale => {
                self.distrusts_idle = true;
                Ok(())
            }
            Unsent::Refused(failure) => self.pause_or(failure).await,
        }
    }

    /// The revision serves no more, or not here. Waits, longer each time: the news of where it does may be
    /// on its way.
    async fn moved(&mut self) -> Result<(), Failure> {
        self.moves += 1;
        if self.moves > MOST_MOVES {
            return Err(Failure::StartFailed(
                "no revision of the function takes traffic".into(),
            ));
        }
        tokio::time::sleep(FIRST_PAUSE * (self.moves - 1)).await;
        Ok(())
    }

    /// An instance did not take the connection. Waits before the next try, or gives up with the
    /// failure when too much time has gone by.
    async fn pause_or(&mut self, failure: Failure) -> Result<(), Failure> {
        let now = Instant::now();
        let first = *self.first_failure.get_or_insert(now);
        if now + self.pause > first + CONNECT_BUDGET {
            return Err(failure);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connecting_is_given_up_after_the_budget_and_not_before() {
        let begun = Instant::now();
        let mut retries = RetryState::begin();
        let mut count = 0;
        while retries
            .after(Unsent::Refused(Failure::Draining))
            .await
            .is_ok()
        {
            count += 1;
        }
        assert!(begun.elapsed() <= CONNECT_BUDGET, "{:?}", begun.elapsed());
        assert!(begun.elapsed() > CONNECT_BUDGET - LONGEST_PAUSE);
        assert!((20..40).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_around_forever() {
        let mut retries = RetryState::begin();
        for _ in 0..MOST_MOVES {
            assert!(retries.after(Unsent::Moved).await.is_ok());
        }
        assert!(retries.after(Unsent::Moved).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_closed_connection_is_enough_to_distrust_the_others() {
        let begun = Instant::now();
        let mut retries = RetryState::begin();
        assert!(retries.trusts_idle());
        assert!(retries.after(Unsent::Stale).await.is_ok());
        assert!(!retries.trusts_idle() && retries.is_again());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
