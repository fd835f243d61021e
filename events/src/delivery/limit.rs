//! How many calls of one function are made at once: more while it takes them, half when it says that it is too much.
//! Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::decide::Pressure;

/// Calls of a function that has not answered yet.
const FIRST: f64 = 8.0;

/// Between two halvings: what was on its way meanwhile says the same.
const PAUSE: Duration = Duration::from_secs(1);

/// How many calls are made at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    value: f64,
    most: f64,
    /// Below it doubles, above it grows by one, each time that all are answered.
    threshold: f64,
    halved: Option<Instant>,
}

// === impl Limit ===

impl Limit {
    /// At most so many.
    pub(super) fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self {
            value: FIRST.min(most),
            most,
            threshold: most,
            halved: None,
        }
    }

    /// How many there may be now; at least one.
    pub(super) fn get(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 1 and a u32"
        )]
        let whole = self.value as usize;
        whole.max(1)
    }

    /// Learns from an answer.
    pub(super) fn learn(&mut self, pressure: Pressure, now: Instant) {
        match pressure {
            Pressure::More if self.value < self.threshold => self.value += 1.0,
            Pressure::More => self.value += 1.0 / self.value,
            Pressure::Less => {
                if self.halved.is_none_or(|halved| now >= halved + PAUSE) {
                    self.halved = Some(now);
                    self.value = (self.value / 2.0).max(1.0);
                    self.threshold = self.value;
                }
            }
            Pressure::Same => {}
        }
        self.value = self.value.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_until_it_is_too_much_and_then_grows_slowly() {
        let now = Instant::now();
        let mut limit = Limit::new(100);
        assert_eq!(limit.get(), 8);
        for _ in 0..8 {
            limit.learn(Pressure::More, now);
        }
        assert_eq!(limit.get(), 16);
        // What was on its way at the same time halves it once.
        limit.learn(Pressure::Less, now);
        limit.learn(Pressure::Less, now);
        assert_eq!(limit.get(), 8);
        for _ in 0..9 {
            limit.learn(Pressure::More, now);
        }
        assert_eq!(limit.get(), 9);
        limit.learn(Pressure::Less, now + PAUSE);
        assert_eq!(limit.get(), 4);
    }

    #[test]
    fn it_is_never_less_than_one_nor_more_than_the_most() {
        let mut now = Instant::now();
        let mut limit = Limit::new(3);
        for _ in 0..100 {
            limit.learn(Pressure::More, now);
        }
        assert_eq!(limit.get(), 3);
        for _ in 0..10 {
            now += PAUSE;
            limit.learn(Pressure::Less, now);
        }
        assert_eq!(limit.get(), 1);
        limit.learn(Pressure::Same, now);
        assert_eq!(limit.get(), 1);
    }
}
