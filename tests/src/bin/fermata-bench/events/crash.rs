//! Everything is killed over and over, and everything that was accepted is delivered.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use super::{
    Book,
    stand::{BATCH, Stand},
};
use crate::row;

/// Between two kills.
const PAUSE: Duration = Duration::from_secs(2);

/// How long nothing may come until what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(120);

/// What is killed.
#[derive(Clone, Copy)]
enum Victim {
    Gateway,
    Events,
    Function,
}

pub(super) async fn measure(stand: &mut Stand, messages: u64) {
    let book = Book::open().await;
    stand.function("crash", "/", &book).await;
    let (mut accepted, mut kills) = (0, [0_u32; 3]);
    let (mut last, mut before) = (Instant::now(), 0);
    let started = Instant::now();
    let mut next_kill = Instant::now() + PAUSE;
    while (accepted < messages || book.count() < messages) && last.elapsed() < SILENCE {
        if book.count() != before {
            (last, before) = (Instant::now(), book.count());
        }
        if accepted < messages {
            let batch = accepted..messages.min(accepted + BATCH);
            let end = batch.end;
            // One whose answer is lost is published again, under the same names.
            if stand.caller().publish("crash", batch).await.is_ok() {
                accepted = end;
                last = Instant::now();
            }
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // When nearly all is delivered it is left to come to its end.
        if Instant::now() >= next_kill && book.count() + BATCH < messages {
            let victim = [Victim::Gateway, Victim::Events, Victim::Function][random() % 3];
            kill(stand, victim).await;
            kills[victim as usize] += 1;
            next_kill = Instant::now() + PAUSE;
        }
    }
    let delivered = book.count();
    row(
        &format!(
            "{messages} messages while SIGKILL ended the gateway {} times, events {} times, the function {} times",
            kills[0], kills[1], kills[2]
        ),
        &format!(
            "{accepted} accepted, {delivered} delivered, {} came twice or more, {:.0} s",
            book.repeats(),
            started.elapsed().as_secs_f64()
        ),
    );
    assert!(delivered >= accepted, "messages were lost");
}

async fn kill(stand: &mut Stand, victim: Victim) {
    match victim {
        Victim::Gateway => {
            stand.kill_gateway();
            stand.restart_gateway().await;
        }
        Victim::Events => {
            stand.kill_events();
            stand.restart_events().await;
        }
        Victim::Function => {
            let pods: Api<Pod> = stand.space().api();
            let listed = pods.list(&ListParams::default()).await;
            let at_once = DeleteParams::default().grace_period(0);
            for pod in listed.map(|pods| pods.items).unwrap_or_default() {
                if pod.name_any().starts_with("crash-") {
                    // One that is gone already is as good.
                    let _ = pods.delete(&pod.name_any(), &at_once).await;
                }
            }
        }
    }
}

/// Any number.
fn random() -> usize {
    let mut byte = [0];
    aws_lc_rs::rand::fill(&mut byte).expect("the system has random numbers");
    usize::from(byte[0])
}
