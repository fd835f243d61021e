//! A steady load on kept connections, and what became of each call.

use std::{net::SocketAddr, time::Duration};

use http::{Request, StatusCode, header};
use http_body_util::Full;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::kept::Kept;

/// How many connections share the load.
const CONNECTIONS: u32 = 25;

/// Calls that go on at a steady rate until [`Load::stop`].
pub struct Load {
    callers: JoinSet<Report>,
    stop: watch::Sender<bool>,
}

/// What became of the calls.
#[derive(Debug, Default)]
pub struct Report {
    /// How many had the right answer.
    pub good: usize,
    /// The others.
    pub failures: Vec<Failure>,
    /// How long the slowest good one took.
    pub slowest: Duration,
}

/// A call without the right answer.
#[derive(Debug)]
pub struct Failure {
    /// When it was noticed.
    pub at: Instant,
    /// What came instead.
    pub what: String,
}

// === impl Load ===

impl Load {
    /// Starts to get a path, so many times a second in all, each call within `patience`.
    ///
    /// A caller keeps its connection for as long as the server does not announce its end, as every
    /// HTTP client with a pool does.
    #[must_use]
    pub fn start(address: SocketAddr, path: &str, rate: u32, patience: Duration) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut callers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let caller = Caller {
                kept: Kept::new(address),
                path: path.to_owned(),
                patience,
                report: Report::default(),
            };
            let period = Duration::from_secs(1) * CONNECTIONS / rate;
            callers.spawn(caller.run(period, stopped.clone()));
        }
        Self { callers, stop }
    }

    /// Ends it, and tells what became of all calls.
    pub async fn stop(self) -> Report {
        self.stop.send_replace(true);
        let mut all = Report::default();
        for report in self.callers.join_all().await {
            all.good += report.good;
            all.failures.extend(report.failures);
            all.slowest = all.slowest.max(report.slowest);
        }
        eprintln!(
            "load: {} good, {} failed, the slowest good one took {:?}",
            all.good,
            all.failures.len(),
            all.slowest
        );
        all
    }
}

// === impl Report ===

impl Report {
    /// That every call had the right answer, and that there were at least so many.
    #[track_caller]
    pub fn all_good(&self, at_least: usize) {
        assert!(
            self.failures.is_empty(),
            "{} of {} calls failed, the first: {:?}",
            self.failures.len(),
            self.good + self.failures.len(),
            &self.failures[..self.failures.len().min(3)]
        );
        assert!(self.good >= at_least, "there were only {} calls", self.good);
    }
}

/// One connection after the other, with one call at a time.
struct Caller {
    kept: Kept,
    path: String,
    patience: Duration,
    report: Report,
}

// === impl Caller ===

impl Caller {
    async fn run(mut self, period: Duration, stopped: watch::Receiver<bool>) -> Report {
        let mut ticks = interval(period);
        // A slow answer is not followed by a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopped.borrow() {
            ticks.tick().await;
            let started = Instant::now();
            match self.call().await {
                Ok(()) => {
                    self.report.good += 1;
                    self.report.slowest = self.report.slowest.max(started.elapsed());
                }
                Err(what) => {
                    self.report.failures.push(Failure {
                        at: Instant::now(),
                        what,
                    });
                }
            }
        }
        self.report
    }

    async fn call(&mut self) -> Result<(), String> {
        let request = Request::get(&self.path)
            .header(header::HOST, "gateway.example")
            .body(Full::default())
            .expect("the path is valid");
        let answer = self.kept.send(request, self.patience).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("{}: {:?}", answer.status, answer.body));
        }
        Ok(())
    }
}
