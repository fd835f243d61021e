//! Averages over the last seconds and minutes. Pure.

use std::collections::VecDeque;

/// One number per second, for the last so many seconds. A second without a number counts as zero.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    seconds: usize,
    /// Oldest first; the last one is of second `last`.
    numbers: VecDeque<f32>,
    last: u64,
}

// === impl Window ===

impl Window {
    /// An empty window over this many seconds, at least one.
    #[must_use]
    pub(crate) fn new(seconds: usize) -> Self {
        Self {
            seconds: seconds.max(1),
            numbers: VecDeque::new(),
            last: 0,
        }
    }

    /// Makes the window longer or shorter; what it holds stays as far as there is room.
    pub(crate) fn resize(&mut self, seconds: usize) {
        self.seconds = seconds.max(1);
        self.trim();
    }

    /// Sets the number of a second. A later word about the same second replaces the earlier one;
    /// words about the past are passed over.
    pub(crate) fn record(&mut self, second: u64, number: f64) {
        if self.numbers.is_empty() {
            self.last = second;
            self.numbers.push_back(number as f32);
            return;
        }
        if second < self.last {
            return;
        }
        self.advance(second);
        if let Some(newest) = self.numbers.back_mut() {
            *newest = number as f32;
        }
    }

    /// The average of the last `seconds`, or of all seconds if there are not that many yet.
    #[must_use]
    pub(crate) fn average(&self, seconds: usize) -> f64 {
        let count = self.numbers.len().min(seconds.max(1));
        if count == 0 {
            return 0.0;
        }
        let sum: f64 = self
            .numbers
            .iter()
            .rev()
            .take(count)
            .copied()
            .map(f64::from)
            .sum();
        sum / count as f64
    }

    fn advance(&mut self, second: u64) {
        let gap = second.saturating_sub(self.last);
        // A gap longer than the window leaves nothing of it.
        let zeros = usize::try_from(gap).unwrap_or(usize::MAX).min(self.seconds);
        self.numbers.extend(std::iter::repeat_n(0.0, zeros));
        self.last = second;
        self.trim();
    }

    fn trim(&mut self) {
        let surplus = self.numbers.len().saturating_sub(self.seconds);
        self.numbers.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_young_window_averages_what_it_has() {
        let mut window = Window::new(60);
        assert_eq!(window.average(60), 0.0);
        window.record(100, 10.0);
        window.record(101, 20.0);
        assert_eq!(window.average(60), 15.0);
        assert_eq!(window.average(1), 20.0);
    }

    #[test]
    fn gaps_count_as_zero_and_old_seconds_fall_out() {
        let mut window = Window::new(4);
        window.record(10, 8.0);
        window.record(13, 4.0);
        assert_eq!(window.average(4), 3.0);
        window.record(14, 0.0);
        assert_eq!(window.average(4), 1.0);
        window.record(1000, 2.0);
        assert_eq!(window.average(4), 0.5);
    }

    #[test]
    fn the_newest_word_about_a_second_counts() {
        let mut window = Window::new(4);
        window.record(10, 8.0);
        window.record(10, 2.0);
        window.record(9, 100.0);
        assert_eq!(window.average(4), 2.0);
        window.resize(1);
        window.record(11, 6.0);
        assert_eq!(window.average(4), 6.0);
    }
}
