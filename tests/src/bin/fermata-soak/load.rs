//! Callers that go on until they are stopped, each with one request at a time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fermata_tests::{Answer, Kept, Space};
use http::{Request, StatusCode, header};
use http_body_util::Full;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    accounts::{Accounts, Failure, Kind},
    functions::{COLD, LIMITED, WARM},
};

/// How long one call may take, cold ones included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an upload.
const UPLOAD: usize = 256 * 1024;

/// Lines of a stream, and milliseconds between two.
const LINES: usize = 20;
const BETWEEN_LINES: u64 = 100;

/// Callers of one kind: how many, and how long each waits between two calls.
const CALLERS: [(Kind, usize, Duration); 5] = [
    (Kind::Warm, 8, Duration::from_millis(150)),
    // Longer than it takes to rest again.
    (Kind::Cold, COLD.len(), Duration::from_secs(15)),
    (Kind::Limited, 6, Duration::from_millis(50)),
    (Kind::Upload, 2, Duration::from_millis(500)),
    (Kind::Stream, 3, Duration::from_millis(200)),
];

/// One caller.
struct Caller {
    kind: Kind,
    kept: Kept,
    accounts: Arc<Accounts>,
    path: String,
    body: Bytes,
}

/// Starts all callers.
pub(crate) fn start(
    space: &Space,
    accounts: &Arc<Accounts>,
    stopped: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for (kind, count, pause) in CALLERS {
        for number in 0..count {
            let path = match kind {
                Kind::Cold => space.path(COLD[number % COLD.len()]),
                Kind::Limited => format!("{}/sleep/50", space.path(LIMITED)),
                Kind::Stream => {
                    format!("{}/stream/{LINES}/{BETWEEN_LINES}", space.path(WARM))
                }
                _ => space.path(WARM),
            };
            let size = if kind == Kind::Upload { UPLOAD } else { 16 };
            let caller = Caller {
                kind,
                kept: Kept::new(space.platform.gateway),
                accounts: accounts.clone(),
                path,
                body: Bytes::from(vec![b'x'; size]),
            };
            callers.spawn(caller.run(pause, stopped.clone()));
        }
    }
    callers
}

// === impl Caller ===

impl Caller {
    async fn run(mut self, pause: Duration, mut stopped: watch::Receiver<bool>) {
        loop {
            self.call().await;
            if timeout(pause, stopped.wait_for(|stopped| *stopped))
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    async fn call(&mut self) {
        let number = self.accounts.open(self.kind);
        let sent = Instant::now();
        // A POST: nobody on the way may send it a second time.
        let request = Request::post(&self.path)
            .header(header::HOST, "gateway.example")
            .header("x-count", number)
            .body(Full::new(self.body.clone()))
            .expect("the path is valid");
        let outcome = match self.kept.send(request, PATIENCE).await {
            Ok(answer) => self.check(&answer),
            Err(why) => Err(Failure::None(why)),
        };
        self.accounts.close(number, sent, outcome);
    }

    fn check(&self, answer: &Answer) -> Result<(), Failure> {
        if answer.status != StatusCode::OK {
            let what = format!("{}: {}", answer.status, answer.text());
            return Err(match answer.status {
                StatusCode::BAD_GATEWAY => Failure::PassedOn(what),
                _ => Failure::Wrong(what),
            });
        }
        let right = match self.kind {
            Kind::Limited => answer.body == "slept\n",
            Kind::Stream => answer.text().lines().count() == LINES,
            _ => answer.body == self.body,
        };
        if right {
            Ok(())
        } else {
            let what = format!("a wrong body of {} bytes", answer.body.len());
            Err(Failure::Wrong(what))
        }
    }
}
