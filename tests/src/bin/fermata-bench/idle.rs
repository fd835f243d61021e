//! Many functions at rest.

use std::time::{Duration, Instant};

use fermata_crds::{Function, conditions};
use fermata_tests::{Space, eventually};
use futures::{StreamExt as _, stream};
use kube::api::ListParams;
use serde_json::json;

use crate::{
    process::{Process, anonymous, memory},
    row,
};

pub(crate) async fn measure(space: &Space, pid: u32, functions: usize) {
    let (before, filled) = (memory(pid), anonymous(pid));
    let started = Instant::now();
    stream::iter(0..functions)
        .for_each_concurrent(16, async |number| {
            let code = format!("def handle(request):\n    return '{number}'\n");
            let spec = json!({"source": {"runtime": "python", "files": {"main.py": code}}, "scale": {"initial": 0}});
            space.function(&format!("idle-{number}"), spec).await;
        })
        .await;
    let applied = started.elapsed();
    eventually("all are ready", async || {
        let listed = space
            .api::<Function>()
            .list(&ListParams::default())
            .await
            .expect("Functions can be listed");
        let ready = listed
            .iter()
            .filter(|function| {
                function.status.as_ref().is_some_and(|status| {
                    conditions::is_true(&status.conditions, conditions::READY)
                })
            })
            .count();
        if ready >= functions {
            Ok(())
        } else {
            Err(format!("{ready} are ready"))
        }
    })
    .await;
    let ready = started.elapsed();
    row(
        &format!("{functions} Functions applied at once"),
        &format!(
            "applied after {:.1} s, all ready after {:.1} s",
            applied.as_secs_f64(),
            ready.as_secs_f64()
        ),
    );
    row(
        "memory of the whole platform",
        &format!("{before:.0} MiB before, {:.0} MiB with them", memory(pid)),
    );
    row(
        "of which anonymous",
        &format!(
            "{filled:.0} MiB before, {:.0} MiB with them",
            anonymous(pid)
        ),
    );
    let (gateway, _) = Process::gateway(space, None).await;
    // What it needed to list them is given back a moment later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    row(
        &format!("memory of a gateway of its own with {functions} functions at rest"),
        &format!("{:.1} MiB", memory(gateway.id())),
    );
}
