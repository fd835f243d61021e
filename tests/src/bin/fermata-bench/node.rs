//! Cold starts on a real node: when the pod's port accepts, when the cluster tells its address, and
//! when the caller has the answer.
//!
//! The difference between the first and the last is what Fermata has a target for. It cannot be less
//! than what the cluster takes to tell the address, so that part is told too.

mod addresses;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use addresses::Addresses;
use fermata_tests::Space;
use futures::future::join_all;
use serde_json::json;

use crate::{milliseconds, percentile, row};

/// How long one call may take. A hundred pods do not start at once on two cores.
const PATIENCE: Duration = Duration::from_secs(180);

/// One call of a cold function; all times from the call on.
struct Start {
    /// Until the instance listened.
    accepts: Duration,
    /// Until a watch was told its address.
    told: Duration,
    /// Until the answer was there.
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
                .map(|n| format!("cold-{functions}-{callers}-{round}-{n}"))
                .collect();
            for name in &names {
                deploy(space, name).await;
            }
            for name in &names {
                space.ready(name).await;
            }
            let addresses = Addresses::watch(space);
            let calls = names
                .iter()
                .flat_map(|name| (0..callers).map(move |_| name));
            let round_starts = join_all(calls.map(|name| call(space, name, &addresses))).await;
            if round > 0 {
                starts.extend(round_starts);
            }
            join_all(names.iter().map(|name| space.remove(name))).await;
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
    let tell = |what: &str, of: &dyn Fn(&Start) -> Duration| {
        row(&format!("{title}: {what}"), &describe(of));
    };
    tell("the port accepts", &|start| start.accepts);
    tell("the caller has the answer", &|start| start.answer);
    tell("the difference", &|start| {
        start.answer.saturating_sub(start.accepts)
    });
    tell("of that, until the cluster told the address", &|start| {
        start.told.saturating_sub(start.accepts)
    });
    tell("and from then on", &|start| {
        start.answer.saturating_sub(start.told.max(start.accepts))
    });
}

/// Calls a function at zero. It answers with the time at which it began to listen, by the clock of
/// this same machine.
async fn call(space: &Space, name: &str, addresses: &Addresses) -> Start {
    let before = now();
    let path = format!("{}/listening", space.path(name));
    let answer = space.gateway().get_within(&path, PATIENCE).await.ok();
    let after = now();
    let listening: f64 = answer.text().trim().parse().expect("a time");
    let listening = Duration::from_secs_f64(listening / 1000.0);
    Start {
        accepts: listening.saturating_sub(before),
        told: addresses.of(name).await.saturating_sub(before),
        answer: after - before,
    }
}

/// Unix time.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970")
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
