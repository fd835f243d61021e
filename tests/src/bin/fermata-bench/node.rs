//! Cold starts on a real node: when the pod's port accepts, and when the caller has the answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fermata_crds::Function;
use fermata_tests::Space;
use futures::future::join_all;
use kube::api::DeleteParams;
use serde_json::json;

use crate::{milliseconds, percentile, row};

/// How long one call may take. A hundred pods do not start at once on two cores.
const PATIENCE: Duration = Duration::from_secs(180);

/// One call of a cold function.
struct Start {
    /// From the call until the instance listened.
    accepts: Duration,
    /// From the call until the answer was there.
    answer: Duration,
}

pub(crate) async fn measure(space: &Space, rounds: usize) {
    for (title, functions, callers) in [
        ("1 function", 1, 1),
        ("1 function, 10 callers", 1, 10),
        ("10 functions at once", 10, 1),
        ("100 functions at once", 100, 1),
    ] {
        let mut starts = Vec::new();
        // One more than is counted: the first of all finds no file in memory.
        for round in 0..=rounds {
            let names: Vec<String> = (0..functions)
                .map(|n| format!("cold-{round}-{n}"))
                .collect();
            for name in &names {
                deploy(space, name).await;
            }
            for name in &names {
                space.ready(name).await;
            }
            let calls = names
                .iter()
                .flat_map(|name| (0..callers).map(move |_| name));
            let round_starts = join_all(calls.map(|name| call(space, name))).await;
            if round > 0 {
                starts.extend(round_starts);
            }
            remove(space, &names).await;
        }
        print(&format!("{title}, {rounds} rounds"), &starts);
    }
}

fn print(title: &str, starts: &[Start]) {
    let describe = |of: &dyn Fn(&Start) -> Duration| {
        let mut times: Vec<Duration> = starts.iter().map(of).collect();
        times.sort();
        let [half, most, all] = [50, 95, 100].map(|percent| percentile(&times, percent));
        format!(
            "p50 {}, p95 {}, max {}",
            milliseconds(half),
            milliseconds(most),
            milliseconds(all)
        )
    };
    row(
        &format!("{title}: the port accepts"),
        &describe(&|start| start.accepts),
    );
    row(
        &format!("{title}: the caller has the answer"),
        &describe(&|start| start.answer),
    );
    row(
        &format!("{title}: the difference"),
        &describe(&|start| start.answer.saturating_sub(start.accepts)),
    );
}

/// Calls a function at zero. It answers with the time at which it began to listen, by the clock of
/// this same machine.
async fn call(space: &Space, name: &str) -> Start {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970")
    };
    let before = now();
    let path = format!("{}/listening", space.path(name));
    let answer = space.gateway().get_within(&path, PATIENCE).await.ok();
    let after = now();
    let listening: f64 = answer.text().trim().parse().expect("a time");
    let listening = Duration::from_secs_f64(listening / 1000.0);
    Start {
        accepts: listening.saturating_sub(before),
        answer: after - before,
    }
}

/// Makes a function that rests at zero. Its pods go within two seconds, for the sake of the next round.
async fn deploy(space: &Space, name: &str) {
    let pause = json!({"preStop": {"sleep": {"seconds": 1}}});
    let spec = json!({
        "scale": {"initial": 0, "max": 1}, "timeouts": {"start": "170s"},
        "podTemplate": {"spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "function", "lifecycle": pause}],
        }},
    });
    space.test_function(name, &["serve"], spec).await;
}

/// Deletes functions, and waits until no pod is left.
async fn remove(space: &Space, names: &[String]) {
    let functions = space.api::<Function>();
    for name in names {
        functions
            .delete(name, &DeleteParams::background())
            .await
            .expect("the function can be deleted");
    }
    for name in names {
        space.pods(name, 0).await;
    }
}
