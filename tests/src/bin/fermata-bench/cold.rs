//! Cold starts: the first request to a function that has never run.

use std::time::{Duration, Instant};

use fermata_tests::Space;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{milliseconds, percentile, row};

/// How many call one function at zero at the same time.
const CROWD: usize = 1000;

pub(crate) async fn measure(space: &Space, rounds: usize) {
    let native = json!({"image": "x", "command": ["fermata-test-function"]});
    let code = "def handle(request):\n    return 'ok'\n";
    let python = json!({"source": {"runtime": "python", "files": {"main.py": code}}});
    for (name, title, spec) in [
        ("native", "native binary", native),
        ("python", "python", python),
    ] {
        let mut times = Vec::new();
        // One more than is counted: the first of all finds no file in memory.
        for round in 0..=rounds {
            times.push(first_call(space, &format!("{name}-{round}"), spec.clone()).await);
        }
        times.remove(0);
        times.sort();
        let (least, half, most) = (times[0], percentile(&times, 50), percentile(&times, 95));
        row(
            &format!("cold start, {title}, {rounds} functions"),
            &format!(
                "min {}, p50 {}, p95 {}",
                milliseconds(least),
                milliseconds(half),
                milliseconds(most)
            ),
        );
    }
    burst(space).await;
}

/// A crowd of first requests to one function at zero, each on a connection of its own.
async fn burst(space: &Space) {
    let spec = json!({"image": "x", "command": ["fermata-test-function"]});
    let alone = first_call(space, "burst-alone", spec.clone()).await;
    rest(space, "burst", spec).await;
    let calls = (0..CROWD).map(|_| async {
        let started = Instant::now();
        let answer = space.call("burst", "x").await;
        answer.status.is_success().then(|| started.elapsed())
    });
    let mut times: Vec<Duration> = join_all(calls).await.into_iter().flatten().collect();
    let failures = CROWD - times.len();
    times.sort();
    row(
        &format!("{CROWD} first requests at once to one function"),
        &format!(
            "p50 {}, max {}, {failures} failures; one alone {}",
            milliseconds(percentile(&times, 50)),
            milliseconds(percentile(&times, 100)),
            milliseconds(alone)
        ),
    );
}

/// Deploys a function and calls it once; gives the time of the call.
pub(crate) async fn first_call(space: &Space, name: &str, spec: Value) -> Duration {
    rest(space, name, spec).await;
    let started = Instant::now();
    space.call(name, "x").await.ok();
    started.elapsed()
}

/// Deploys a function without a trial start: it rests at zero.
async fn rest(space: &Space, name: &str, mut spec: Value) {
    spec["scale"] = json!({"initial": 0});
    space.function(name, spec).await;
    space.ready(name).await;
    // Deploying has work of its own to finish.
    tokio::time::sleep(Duration::from_millis(200)).await;
}
