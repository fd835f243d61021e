//! The clocks of one exchange with a function, on one timer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use crate::{
    clock::{self, Micros},
    state::settings::Settings,
};

/// How much later than a keeper's own clocks the one for it runs out.
const KEEPER_DELAY: Duration = Duration::from_secs(5);

/// How long the two sides of an exchange may take, where its function does not say so itself.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a peer to take a byte of what is sent to it; zero is for ever.
    pub write: Duration,
}

/// Which clock ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expired {
    /// Time for the head of the response.
    FirstByte,
    /// Time for the whole exchange.
    Request,
    /// The longest silence.
    Idle,
}

/// What the body of a request tells the exchange it belongs to.
#[derive(Debug, Default)]
pub struct Meter {
    touched: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicBool,
    broken: AtomicU8,
}

/// Why the body of a request broke off, which is not the function's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Break {
    /// It is larger than allowed.
    TooLarge = 1,
    /// The client's connection broke.
    Client = 2,
}

/// When an exchange is given up.
#[derive(Debug)]
pub struct Deadlines {
    request: Instant,
    /// Until the head of the response.
    first_byte: Option<Instant>,
    idle: Option<Duration>,
    write: Duration,
    /// The last sign of life from the function.
    touched: Micros,
    meter: Option<Arc<Meter>>,
}

// === impl Meter ===

impl Meter {
    /// A frame of the given size has passed.
    pub fn count(&self, bytes: usize) {
        self.touched.store(clock::now(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The last frame has passed.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The body breaks off.
    pub fn break_off(&self, reason: Break) {
        self.broken.store(reason as u8, Ordering::Relaxed);
    }

    /// Why the body broke off, if it did.
    #[must_use]
    pub fn broken(&self) -> Option<Break> {
        match self.broken.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Break::TooLarge),
            _ => Some(Break::Client),
        }
    }

    /// Bytes that have passed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

// === impl Deadlines ===

impl Deadlines {
    /// The clocks of an exchange that begins now. Silence is only noticed with a meter.
    #[must_use]
    pub fn begin(settings: &Settings, patience: Patience, meter: Option<Arc<Meter>>) -> Self {
        let now = Instant::now();
        Self {
            request: now + settings.request_timeout,
            first_byte: Some(now + settings.first_byte_timeout),
            idle: settings.idle_timeout,
            write: patience.write,
            touched: clock::at(now),
            meter,
        }
    }

    /// How long the function may take no byte of what is sent to it; zero is for ever.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        self.write
    }

    /// The head of the response is there.
    pub fn head_arrived(&mut self) {
        self.first_byte = None;
        self.touch();
    }

    /// The clock of a request that goes to its function's keeper, which has all clocks and tells which
    /// ran out: this one is for a keeper that does not.
    #[must_use]
    pub fn of_keeper(settings: &Settings, patience: Patience, meter: Option<Arc<Meter>>) -> Self {
        let longest = settings.start_timeout + settings.request_timeout + KEEPER_DELAY;
        Self {
            request: Instant::now() + longest,
            first_byte: None,
            idle: None,
            // The keeper passes on what its own peers do.
            write: patience.write.saturating_add(KEEPER_DELAY),
            touched: clock::now(),
            meter,
        }
    }

    /// The function gave a sign of life.
    pub fn touch(&mut self) {
        if self.idle.is_some() {
            self.touched = clock::now();
        }
    }

    /// Sets the timer to the next time that anything can run out.
    pub fn arm(&self, timer: Pin<&mut Sleep>) {
        timer.reset(self.next());
    }

    /// Ready when a clock has run out. The timer is moved on if it went off too early, as it does
    /// after every sign of life.
    pub fn poll(&self, mut timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Expired> {
        loop {
            ready!(timer.as_mut().poll(context));
            if let Some(expired) = self.expired(Instant::now()) {
                return Poll::Ready(expired);
            }
            self.arm(timer.as_mut());
        }
    }

    fn expired(&self, now: Instant) -> Option<Expired> {
        if now >= self.request {
            Some(Expired::Request)
        } else if self.first_byte.is_some_and(|deadline| now >= deadline) {
            Some(Expired::FirstByte)
        } else {
            let silence = clock::at(now).saturating_sub(self.last_sign()?);
            let idle = clock::micros(self.idle?);
            (silence >= idle).then_some(Expired::Idle)
        }
    }

    fn next(&self) -> Instant {
        let first = self
            .first_byte
            .map_or(self.request, |head| head.min(self.request));
        let Some(idle) = self.idle else { return first };
        let now = Instant::now();
        // Before the head nobody owes a sign once the request is sent: then this only means looking
        // once more per idle time.
        let silence = self
            .last_sign()
            .map_or(0, |sign| clock::at(now).saturating_sub(sign));
        let rest = idle.saturating_sub(Duration::from_micros(silence));
        first.min(now + rest.max(Duration::from_millis(1)))
    }

    /// The last sign of life, if one is due at all: a function that has the whole request may think
    /// in silence until its first byte is due.
    fn last_sign(&self) -> Option<Micros> {
        let Some(meter) = &self.meter else {
            return self.first_byte.is_none().then_some(self.touched);
        };
        if self.first_byte.is_some() && meter.ended.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.touched.max(meter.touched.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn settings(idle: Option<Duration>) -> Settings {
        let revision: fermata_crds::Revision = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "x" },
            "spec": {
                "functionName": "x",
                "template": { "image": "x", "timeouts": { "request": "100s", "firstByte": "10s" } },
            },
        }))
        .unwrap();
        Settings {
            idle_timeout: idle,
            ..Settings::of(&revision)
        }
    }

    fn begin(settings: &Settings, meter: Option<Arc<Meter>>) -> Deadlines {
        let patience = Patience {
            write: Duration::ZERO,
        };
        Deadlines::begin(settings, patience, meter)
    }

    async fn wait(deadlines: &Deadlines) -> Expired {
        let mut timer = Box::pin(tokio::time::sleep_until(Instant::now()));
        deadlines.arm(timer.as_mut());
        poll_fn(|context| deadlines.poll(timer.as_mut(), context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_is_due_before_the_whole() {
        let begun = Instant::now();
        let mut deadlines = begin(&settings(None), None);
        assert_eq!(wait(&deadlines).await, Expired::FirstByte);
        assert_eq!(begun.elapsed().as_secs(), 10);
        deadlines.head_arrived();
        assert_eq!(wait(&deadlines).await, Expired::Request);
        assert_eq!(begun.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_while_a_body_is_due() {
        let idle = settings(Some(Duration::from_secs(3)));
        let meter = Arc::new(Meter::default());
        let mut deadlines = begin(&idle, Some(meter.clone()));
        // The client stalls in the middle of its body.
        assert_eq!(wait(&deadlines).await, Expired::Idle);

        // The function may think in silence once it has everything.
        deadlines = begin(&idle, Some(meter.clone()));
        meter.end();
        assert_eq!(wait(&deadlines).await, Expired::FirstByte);

        // The function stalls in the middle of its answer.
        deadlines = begin(&idle, Some(meter));
        deadlines.head_arrived();
        let begun = Instant::now();
        assert_eq!(wait(&deadlines).await, Expired::Idle);
        assert_eq!(begun.elapsed().as_secs(), 3);
    }
}
