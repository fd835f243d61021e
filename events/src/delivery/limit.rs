//! How many calls of one function are made at once: more while it takes them, half when it says that it is too much, and
//! never many more than its instances can work on, where that is known. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::decide::Pressure;

/// Calls of a function that has not answered yet.
const FIRST: f64 = 8.0;

/// The part of its queue that is left to those who want an answer.
const NOT_OURS: u32 = 2;

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
    /// Places of its instances and of its queue, if they are counted.
    room: Option<(u32, u32)>,
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
            room: None,
        }
    }

    /// How many there may be now; at least one.
    pub(super) fn get(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 1 and a u32"
        )]
        let whole = self.value.min(self.bound()) as usize;
        whole.max(1)
    }

    /// Its instances have so many places now, or nobody knows. New ones are used at once.
    pub(super) fn allow(&mut self, room: Option<(u32, u32)>) {
        let before = self.room.map_or(0, |(places, _)| places);
        if let Some((places, _)) = room.filter(|(places, _)| *places > before) {
            let places = f64::from(places).min(self.most);
            self.value = self.value.max(places);
            self.threshold = self.threshold.max(places);
        }
        self.room = room;
    }

    fn bound(&self) -> f64 {
        self.room.map_or(self.most, |(places, queue)| {
            let places = f64::from(places);
            // While one is made for each place, the next one is on its way.
            let behind = places.max(FIRST).min(f64::from(queue / NOT_OURS));
            places + behind
        })
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
    fn it_follows_the_places_that_there_are() {
        let mut now = Instant::now();
        let mut limit = Limit::new(100);
        limit.allow(Some((1, 1000)));
        for _ in 0..50 {
            limit.learn(Pressure::More, now);
        }
        assert_eq!(limit.get(), 9);
        limit.learn(Pressure::Less, now);
        for _ in 0..6 {
            now += PAUSE;
            limit.learn(Pressure::Less, now);
        }
        assert_eq!(limit.get(), 1);
        limit.allow(Some((20, 1000)));
        assert_eq!(limit.get(), 20);
        // The same word once more changes nothing of what the function has said.
        limit.learn(Pressure::Less, now + PAUSE);
        limit.allow(Some((20, 1000)));
        assert_eq!(limit.get(), 10);
        limit.allow(Some((500, 1000)));
        for _ in 0..500 {
            limit.learn(Pressure::More, now);
        }
        assert_eq!(limit.get(), 100);
        limit.allow(Some((12, 1000)));
        assert_eq!(limit.get(), 24);
        limit.allow(Some((12, 5)));
        assert_eq!(limit.get(), 14);
        limit.allow(Some((0, 0)));
        assert_eq!(limit.get(), 1);
        limit.allow(None);
        assert_eq!(limit.get(), 100);
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
