//! Asynchronous calls and messages: how soon they are kept and made, how many at once, what they cost while they wait,
//! and what is left of them when everything is killed over and over.

mod book;
mod crash;
mod stand;

use std::time::{Duration, Instant};

use bytes::Bytes;
use fermata_tests::{Space, eventually_within};
use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::{
    load::{self, Call, Callers},
    milliseconds, percentile,
    process::{anonymous, cpu},
    row,
};
use book::Book;
use stand::{PATIENCE, Stand};

/// Calls a second, and on how many connections.
const STEADY: (u32, u32) = (500, 20);

/// Those who call as fast as they can.
const CROWD: usize = 64;

/// Messages that are published to see how soon all are delivered.
const FLOOD: u64 = 50_000;

/// Messages that wait, to see what they cost.
const WAITING: u64 = 100_000;

/// For how long it is looked what is used at rest.
const REST: Duration = Duration::from_secs(20);

pub(crate) async fn measure(space: &Space, seconds: u64, functions: usize, messages: u64) {
    let book = Book::open().await;
    let mut stand = Stand::start(space).await;
    stand.function("sink", "/", &book).await;
    steady(&stand, &book, seconds).await;
    crowd(&stand, seconds).await;
    flood(&stand, &book).await;
    waiting(&mut stand, &book).await;
    at_rest(&stand, functions).await;
    crash::measure(&mut stand, messages).await;
}

/// Calls at a steady rate to a warm function.
async fn steady(stand: &Stand, book: &Book, seconds: u64) {
    let (rate, connections) = STEADY;
    let all = u64::from(rate) * seconds;
    let calls = (0..connections).map(|connection| async move {
        let mut caller = stand.caller();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) * connections / rate);
        let mut kept = Vec::new();
        for number in (u64::from(connection)..all).step_by(connections as usize) {
            ticks.tick().await;
            let started = Instant::now();
            let accepted = caller.defer("sink", number).await;
            accepted.unwrap_or_else(|why| panic!("a call was not accepted: {why}"));
            kept.push((number, started, Instant::now()));
        }
        kept
    });
    let kept: Vec<_> = futures::future::join_all(calls).await;
    let kept: Vec<_> = kept.into_iter().flatten().collect();
    book.wait(all).await;
    let mut accepted: Vec<_> = kept.iter().map(|(_, began, kept)| *kept - *began).collect();
    let begun = kept
        .iter()
        .map(|(number, _, kept)| book.first(*number).saturating_duration_since(*kept));
    let mut begun: Vec<_> = begun.collect();
    told(
        &format!("asynchronous calls of 1 KiB, {rate} a second: until accepted"),
        &mut accepted,
    );
    told("the same, from there until the function has it", &mut begun);
}

fn told(what: &str, times: &mut [Duration]) {
    times.sort();
    let [half, most] = [50, 99].map(|percent| milliseconds(percentile(times, percent)));
    row(what, &format!("p50 {half}, p99 {most}"));
}

/// As many as are accepted, beside as many as are answered.
async fn crowd(stand: &Stand, seconds: u64) {
    let time = Duration::from_secs(seconds);
    let body = Bytes::from(vec![b'x'; 1024]);
    let call = Call {
        address: stand.gateway_address(),
        path: stand.path("sink"),
        answer: body.len(),
        body,
    };
    let callers = Callers::Http1 { connections: CROWD };
    let plain = load::closed(&call, callers, time).await;
    row(
        &format!("plain calls of {CROWD} callers through this gateway"),
        &format!("{:.0} a second", plain.rate()),
    );
    let ends = Instant::now() + time;
    let calls = (0..CROWD).map(|_| async {
        let (mut caller, mut accepted) = (stand.caller(), 0_u64);
        while Instant::now() < ends {
            accepted += u64::from(caller.defer_unnamed("sink").await.is_ok());
        }
        accepted
    });
    let accepted: u64 = futures::future::join_all(calls).await.into_iter().sum();
    let rate = accepted as f64 / time.as_secs_f64();
    row(
        &format!("asynchronous calls of {CROWD} callers"),
        &format!("{rate:.0} accepted a second, while they are made"),
    );
    stand.drained().await;
}

/// Messages in batches, until the function has them all.
async fn flood(stand: &Stand, book: &Book) {
    book.clear();
    let started = Instant::now();
    stand.publish("sink", 0..FLOOD).await;
    let published = started.elapsed();
    book.wait(FLOOD).await;
    stand.drained().await;
    let delivered = started.elapsed();
    let rate = |time: Duration| FLOOD as f64 / time.as_secs_f64();
    row(
        &format!("{FLOOD} messages of 1 KiB in batches of 500 to one warm function"),
        &format!(
            "{:.0} published a second, {:.0} delivered and acknowledged a second, {} came twice",
            rate(published),
            rate(delivered),
            book.repeats()
        ),
    );
}

/// Messages for a function that takes its time.
async fn waiting(stand: &mut Stand, book: &Book) {
    stand.function("slow", "/sleep/3600000", book).await;
    // What was there before is not to be counted.
    stand.forget().await;
    let before = anonymous(stand.events());
    stand.publish("slow", 0..WAITING).await;
    let during = anonymous(stand.events());
    row(
        &format!("{WAITING} messages of 1 KiB that wait"),
        &format!(
            "{:.0} MiB of memory more ({before:.0} MiB before)",
            during - before
        ),
    );
    let started = Instant::now();
    stand.kill_events();
    stand.restart_events().await;
    row(
        "ready again with them after it was killed",
        &format!("{:.1} s", started.elapsed().as_secs_f64()),
    );
    stand.forget().await;
    stand.space().remove("slow").await;
}

/// Topics that each one function hears, and nobody publishes to.
async fn at_rest(stand: &Stand, functions: usize) {
    let space = stand.space();
    let names = (0..functions).map(|number| format!("rest-{number}"));
    stream::iter(names.clone())
        .for_each_concurrent(16, async |name| {
            let spec = json!({
                "scale": {"initial": 0},
                "triggers": [{"name": "topic", "topic": {"name": name}}],
            });
            space.test_function(&name, &["serve"], spec).await;
        })
        .await;
    let last = format!("rest-{}", functions.saturating_sub(1));
    eventually_within(PATIENCE, "the gateway knows all topics", async || {
        stand.caller().publish(&last, 0..0).await
    })
    .await;
    // What was there to do for it is done then.
    tokio::time::sleep(REST).await;
    let used = || [stand.gateway(), stand.events()].map(cpu);
    let before = used();
    tokio::time::sleep(REST).await;
    let after = used();
    let percent = |which: usize| {
        let used = after[which].saturating_sub(before[which]);
        100.0 * used.as_secs_f64() / REST.as_secs_f64()
    };
    row(
        &format!("{functions} topics with a function each, at rest"),
        &format!(
            "{:.1} % of a core in the gateway, {:.1} % in events",
            percent(0),
            percent(1)
        ),
    );
    stream::iter(names)
        .for_each_concurrent(16, async |name| space.remove(&name).await)
        .await;
}
