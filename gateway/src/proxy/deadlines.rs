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
    proxy::hangup::HangUp,
    state::settings::Settings,
};

/// How much later than a keeper's own clocks the one for it runs out.
const KEEPER_DELAY: Duration = Duration::from_secs(5);

/// How long the two sides of an exchange may take, where its function does not say so itself.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a client to send the next byte of a body that is read; zero is for ever.
    pub body: Duration,
    /// For a peer to take a byte of what is sent to it; zero is for ever.
    pub write: Duration,
}

/// Between two looks whether the client is still there, where nobody reads from it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which clock ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expired {
    /// Time for the head of the response.
    FirstByte,
    /// Time for the whole exchange.
    Request,
    /// The longest silence.
    Idle,
    /// The longest silence of a client in the middle of its body.
    Client(Duration),
}

/// What the body of a request tells the exchange it belongs to.
#[derive(Debug, Default)]
pub struct Meter {
    touched: AtomicU64,
    /// Since when more is asked for than has come; 0 while that is not so.
    waiting: AtomicU64,
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
    begun: Instant,
    request: Instant,
    /// Until the head of the response.
    first_byte: Option<Instant>,
    idle: Option<Duration>,
    /// The longest silence of the client while it owes a part of its body.
    client: Option<Duration>,
    write: Duration,
    /// The last sign of life from the function.
    touched: Micros,
    meter: Option<Arc<Meter>>,
    /// When to look for the client next.
    look: Option<(Instant, Arc<HangUp>)>,
}

// === impl Meter ===

impl Meter {
    /// As new, for another body.
    pub fn reset(&self) {
        self.touched.store(0, Ordering::Relaxed);
        self.waiting.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.ended.store(false, Ordering::Relaxed);
        self.broken.store(0, Ordering::Relaxed);
    }

    /// More is asked for than has come.
    pub fn wait(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            self.waiting.store(clock::now().max(1), Ordering::Relaxed);
        }
    }

    /// A frame of the given size has passed.
    pub fn count(&self, bytes: usize) {
        self.waiting.store(0, Ordering::Relaxed);
        self.touched.store(clock::now(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The last frame has passed.
    pub fn end(&self) {
        self.waiting.store(0, Ordering::Relaxed);
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

    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Since when the client owes a byte, if it does.
    fn waiting(&self) -> Option<Micros> {
        let since = self.waiting.load(Ordering::Relaxed);
        (since != 0).then_some(since)
    }

    /// Bytes that have passed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

// === impl Deadlines ===

impl Deadlines {
    /// The clocks of an exchange that begins now. What the function says of silence goes before the
    /// gateway's own patience. The silence of the client is only noticed with a meter.
    #[must_use]
    pub fn begin(settings: &Settings, patience: Patience, meter: Option<Arc<Meter>>) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            request: now + settings.request_timeout,
            first_byte: Some(now + settings.first_byte_timeout),
            idle: settings.idle_timeout,
            client: settings.idle_timeout.or(given(patience.body)),
            write: patience.write,
            touched: clock::at(now),
            meter,
            look: None,
        }
    }

    /// The same for a client that may leave without anybody noticing.
    #[must_use]
    pub fn watching(self, hang_up: Option<&Arc<HangUp>>) -> Self {
        // A look costs a wake-up: most exchanges are over before the first one.
        let first = self.begun + LOOK_EVERY;
        Self {
            look: hang_up.map(|hang_up| (first, hang_up.clone())),
            ..self
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
        let now = Instant::now();
        Self {
            begun: now,
            request: now + longest,
            first_byte: None,
            idle: None,
            client: None,
            // The keeper passes on what its own peers do.
            write: patience.write.saturating_add(KEEPER_DELAY),
            touched: clock::at(now),
            meter,
            look: None,
        }
    }

    /// The function gave a sign of life.
    pub fn touch(&mut self) {
        if self.idle.is_some() || self.owed().is_some() {
            self.touched = clock::now();
        }
    }

    /// Sets the timer to the next time that anything can run out.
    pub fn arm(&self, timer: Pin<&mut Sleep>) {
        timer.reset(self.next());
    }

    /// Ready when a clock has run out. The timer is moved on if it went off too early, as it does
    /// after every sign of life.
    pub fn poll(&mut self, mut timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Expired> {
        loop {
            ready!(timer.as_mut().poll(context));
            let now = Instant::now();
            if let Some(expired) = self.expired(now) {
                return Poll::Ready(expired);
            }
            if let Some((at, hang_up)) = &mut self.look
                && now >= *at
            {
                hang_up.look();
                *at = now + LOOK_EVERY;
            }
            self.arm(timer.as_mut());
        }
    }

    fn expired(&self, now: Instant) -> Option<Expired> {
        if now >= self.request {
            return Some(Expired::Request);
        }
        if self.first_byte.is_some_and(|deadline| now >= deadline) {
            return Some(Expired::FirstByte);
        }
        let now = clock::at(now);
        let over =
            |since: Micros, limit: Duration| now.saturating_sub(since) >= clock::micros(limit);
        let waiting = self.owed().and_then(Meter::waiting);
        if let (Some(since), Some(limit)) = (waiting, self.client)
            && over(self.client_sign(since), limit)
        {
            return Some(Expired::Client(limit));
        }
        let (sign, limit) = (self.last_sign()?, self.idle?);
        let blame = if waiting.is_some() && self.first_byte.is_some() {
            Expired::Client(limit)
        } else {
            Expired::Idle
        };
        over(sign, limit).then_some(blame)
    }

    fn next(&self) -> Instant {
        let first = self
            .first_byte
            .map_or(self.request, |head| head.min(self.request));
        let first = match &self.look {
            Some((at, _)) => first.min(*at),
            None => first,
        };
        let client = self.client.filter(|_| self.owed().is_some());
        if self.idle.is_none() && client.is_none() {
            return first;
        }
        let now = Instant::now();
        let rest = |since: Option<Micros>, limit: Duration| {
            // While nobody owes a sign this only means looking once more per limit.
            let silence = since.map_or(0, |since| clock::at(now).saturating_sub(since));
            limit.saturating_sub(Duration::from_micros(silence))
        };
        let waiting = self.owed().and_then(Meter::waiting);
        let waiting = waiting.map(|since| self.client_sign(since));
        let client = client.map(|limit| rest(waiting, limit));
        let idle = self.idle.map(|limit| rest(self.last_sign(), limit));
        let rest = client.into_iter().chain(idle).min().unwrap_or_default();
        first.min(now + rest.max(Duration::from_millis(1)))
    }

    /// The body of the request, as long as it has not come to its end.
    fn owed(&self) -> Option<&Meter> {
        self.meter.as_deref().filter(|meter| !meter.is_ended())
    }

    /// Since when the client is silent that owes a byte. Once the function answers, the two may talk in
    /// turns: then it is not silent while the function is not.
    fn client_sign(&self, waiting: Micros) -> Micros {
        if self.first_byte.is_none() {
            waiting.max(self.touched)
        } else {
            waiting
        }
    }

    /// The last sign of life, if one is due at all: a function that has the whole request may think
    /// in silence until its first byte is due.
    fn last_sign(&self) -> Option<Micros> {
        let Some(meter) = &self.meter else {
            return self.first_byte.is_none().then_some(self.touched);
        };
        if self.first_byte.is_some() && meter.is_ended() {
            return None;
        }
        Some(self.touched.max(meter.touched.load(Ordering::Relaxed)))
    }
}

/// A limit, unless it is zero.
fn given(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then_some(limit)
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
            body: Duration::from_secs(7),
            write: Duration::ZERO,
        };
        Deadlines::begin(settings, patience, meter)
    }

    async fn wait(deadlines: &mut Deadlines) -> Expired {
        let mut timer = Box::pin(tokio::time::sleep_until(Instant::now()));
        deadlines.arm(timer.as_mut());
        poll_fn(|context| deadlines.poll(timer.as_mut(), context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_is_due_before_the_whole() {
        let begun = Instant::now();
        let mut deadlines = begin(&settings(None), None);
        assert_eq!(wait(&mut deadlines).await, Expired::FirstByte);
        assert_eq!(begun.elapsed().as_secs(), 10);
        deadlines.head_arrived();
        assert_eq!(wait(&mut deadlines).await, Expired::Request);
        assert_eq!(begun.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_while_a_body_is_due() {
        let idle = settings(Some(Duration::from_secs(3)));
        let meter = Arc::new(Meter::default());
        let mut deadlines = begin(&idle, Some(meter.clone()));
        // The client stalls in the middle of its body.
        assert_eq!(wait(&mut deadlines).await, Expired::Idle);

        // The function may think in silence once it has everything.
        deadlines = begin(&idle, Some(meter.clone()));
        meter.end();
        assert_eq!(wait(&mut deadlines).await, Expired::FirstByte);

        // The function stalls in the middle of its answer.
        deadlines = begin(&idle, Some(meter));
        deadlines.head_arrived();
        let begun = Instant::now();
        assert_eq!(wait(&mut deadlines).await, Expired::Idle);
        assert_eq!(begun.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_owes_a_byte_has_a_clock_of_its_own() {
        let meter = Arc::new(Meter::default());
        let mut deadlines = begin(&settings(None), Some(meter.clone()));
        // Nothing is asked of it yet.
        assert_eq!(wait(&mut deadlines).await, Expired::FirstByte);

        let begun = Instant::now();
        let mut deadlines = begin(&settings(None), Some(meter.clone()));
        meter.wait();
        let silent = Expired::Client(Duration::from_secs(7));
        assert_eq!(wait(&mut deadlines).await, silent);
        assert_eq!(begun.elapsed().as_secs(), 7);

        // What the function says of silence goes first.
        meter.count(1);
        let mut deadlines = begin(&settings(Some(Duration::from_secs(3))), Some(meter.clone()));
        meter.wait();
        let silent = Expired::Client(Duration::from_secs(3));
        assert_eq!(wait(&mut deadlines).await, silent);

        // While the function answers, its own signs count too.
        meter.count(1);
        let begun = Instant::now();
        let mut deadlines = begin(&settings(None), Some(meter.clone()));
        meter.wait();
        deadlines.head_arrived();
        tokio::time::advance(Duration::from_secs(5)).await;
        deadlines.touch();
        let silent = Expired::Client(Duration::from_secs(7));
        assert_eq!(wait(&mut deadlines).await, silent);
        assert_eq!(begun.elapsed().as_secs(), 12);

        meter.end();
        let mut deadlines = begin(&settings(None), Some(meter));
        assert_eq!(wait(&mut deadlines).await, Expired::FirstByte);
    }
}
