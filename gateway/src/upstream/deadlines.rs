//! The clocks of one exchange with a function, on one timer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use super::meter::Meter;
use crate::{
    clock::{self, Micros},
    hang_up::HangUp,
};

/// How much later than the owner's clocks this gateway's clock for the owner runs out.
const OWNER_DELAY: Duration = Duration::from_secs(5);

/// How long a function may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Timeouts {
    /// For a whole request, once an instance has it.
    pub(crate) request: Duration,
    /// Until the head of the response.
    pub(crate) first_byte: Duration,
    /// The longest silence.
    pub(crate) idle: Option<Duration>,
    /// Until an instance takes the request.
    pub(crate) start: Duration,
}

/// How long the two sides of an exchange may take, where its function does not say so itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a client to send the next byte of a body that is read; zero is for ever.
    pub(crate) body: Duration,
    /// For a peer to take a byte of what is sent to it; zero is for ever.
    pub(crate) write: Duration,
}

/// Between two looks whether the client is still there, where nobody reads from it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which clock ran out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expired {
    /// Time for the head of the response.
    FirstByte,
    /// Time for the whole exchange.
    Request,
    /// The longest silence.
    Idle,
    /// The longest silence of a client in the middle of its body.
    Client(Duration),
}

/// When an exchange is given up.
#[derive(Debug)]
pub(crate) struct Deadlines {
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

// === impl Deadlines ===

impl Deadlines {
    /// The clocks of an exchange that begins now. What the function says of silence goes before the
    /// gateway's own patience. The silence of the client is only noticed with a meter.
    #[must_use]
    pub(crate) fn begin(
        timeouts: &Timeouts,
        patience: Patience,
        meter: Option<Arc<Meter>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            request: now + timeouts.request,
            first_byte: Some(now + timeouts.first_byte),
            idle: timeouts.idle,
            client: timeouts.idle.or(given(patience.body)),
            write: patience.write,
            touched: clock::at(now),
            meter,
            look: None,
        }
    }

    /// The same for a client that may leave without anybody noticing.
    #[must_use]
    pub(crate) fn watching(self, hang_up: Option<&Arc<HangUp>>) -> Self {
        // A look costs a wake-up: most exchanges are over before the first one.
        let first = self.begun + LOOK_EVERY;
        Self {
            look: hang_up.map(|hang_up| (first, hang_up.clone())),
            ..self
        }
    }

    /// How long the function may take no byte of what is sent to it; zero is for ever.
    #[must_use]
    pub(crate) fn write_timeout(&self) -> Duration {
        self.write
    }

    /// The head of the response is there.
    pub(crate) fn head_arrived(&mut self) {
        self.first_byte = None;
        self.touch();
    }

    /// The one clock of a request that goes to its function's owner. The owner runs all the others and says
    /// which ran out; this one is for an owner that says nothing.
    #[must_use]
    pub(crate) fn for_owner(
        timeouts: &Timeouts,
        patience: Patience,
        meter: Option<Arc<Meter>>,
    ) -> Self {
        let longest = timeouts.start + timeouts.request + OWNER_DELAY;
        let now = Instant::now();
        Self {
            begun: now,
            request: now + longest,
            first_byte: None,
            idle: None,
            client: None,
            // The owner passes on what its own peers do.
            write: patience.write.saturating_add(OWNER_DELAY),
            touched: clock::at(now),
            meter,
            look: None,
        }
    }

    /// The function gave a sign of life.
    pub(crate) fn touch(&mut self) {
        if self.idle.is_some() || self.owed().is_some() {
            self.touched = clock::now();
        }
    }

    /// Sets the timer to the next time that anything can run out.
    pub(crate) fn arm(&self, timer: Pin<&mut Sleep>) {
        timer.reset(self.next());
    }

    /// Ready when a clock has run out. The timer is moved on if it went off too early, as it does
    /// after every sign of life.
    pub(crate) fn poll(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<Expired> {
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
        Some(self.touched.max(meter.touched()))
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

    fn timeouts(idle: Option<Duration>) -> Timeouts {
        Timeouts {
            request: Duration::from_secs(100),
            first_byte: Duration::from_secs(10),
            idle,
            start: Duration::from_secs(120),
        }
    }

    fn begin(timeouts: &Timeouts, meter: Option<Arc<Meter>>) -> Deadlines {
        let patience = Patience {
            body: Duration::from_secs(7),
            write: Duration::ZERO,
        };
        Deadlines::begin(timeouts, patience, meter)
    }

    async fn wait(deadlines: &mut Deadlines) -> Expired {
        let mut timer = Box::pin(tokio::time::sleep_until(Instant::now()));
        deadlines.arm(timer.as_mut());
        poll_fn(|context| deadlines.poll(timer.as_mut(), context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_is_due_before_the_whole() {
        let begun = Instant::now();
        let mut deadlines = begin(&timeouts(None), None);
        assert_eq!(wait(&mut deadlines).await, Expired::FirstByte);
        assert_eq!(begun.elapsed().as_secs(), 10);
        deadlines.head_arrived();
        assert_eq!(wait(&mut deadlines).await, Expired::Request);
        assert_eq!(begun.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_while_a_body_is_due() {
        let idle = timeouts(Some(Duration::from_secs(3)));
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
        let mut deadlines = begin(&timeouts(None), Some(meter.clone()));
        // Nothing is asked of it yet.
        assert_eq!(wait(&mut deadlines).await, Expired::FirstByte);

        let begun = Instant::now();
        let mut deadlines = begin(&timeouts(None), Some(meter.clone()));
        meter.wait();
        let silent = Expired::Client(Duration::from_secs(7));
        assert_eq!(wait(&mut deadlines).await, silent);
        assert_eq!(begun.elapsed().as_secs(), 7);

        // What the function says of silence goes first.
        meter.count(1);
        let mut deadlines = begin(&timeouts(Some(Duration::from_secs(3))), Some(meter.clone()));
        meter.wait();
        let silent = Expired::Client(Duration::from_secs(3));
        assert_eq!(wait(&mut deadlines).await, silent);

        // While the function answers, its own signs count too.
        meter.count(1);
        let begun = Instant::now();
        let mut deadlines = begin(&timeouts(None), Some(meter.clone()));
        meter.wait();
        deadlines.head_arrived();
        tokio::time::advance(Duration::from_secs(5)).await;
        deadlines.touch();
        let silent = Expired::Client(Duration::from_secs(7));
        assert_eq!(wait(&mut deadlines).await, silent);
        assert_eq!(begun.elapsed().as_secs(), 12);

        meter.end();
        let mut deadlines = begin(&timeouts(None), Some(meter));
        assert_eq!(wait(&mut deadlines).await, Expired::FirstByte);
    }
}
