//! Cold starts: the first request to a function that has never run.

use std::time::{Duration, Instant};

use fermata_tests::Space;
use serde_json::{Value, json};

use crate::{milliseconds, percentile, row};

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
}

/// Deploys a function without a trial start and calls it once; gives the time of the call.
async fn first_call(space: &Space, name: &str, mut spec: Value) -> Duration {
    spec["scale"] = json!({"initial": 0});
    space.function(name, spec).await;
    space.ready(name).await;
    // Deploying has work of its own to finish.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    space.call(name, "x").await.ok();
    started.elapsed()
}
