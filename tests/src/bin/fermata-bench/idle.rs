//! Many functions at rest.

use std::time::{Duration, Instant};

use fermata_crds::{Function, conditions};
use fermata_tests::{Space, eventually};
use futures::{StreamExt as _, stream};
use kube::api::ListParams;
use serde_json::json;

use crate::{
    process::{Process, cpu, memory},
    row,
};

/// How long nothing is done, to see what that costs.
const REST: Duration = Duration::from_secs(20);

pub(crate) async fn measure(space: &Space, pid: u32, functions: usize) {
    at_rest(space).await;
    let before = memory(pid);
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
    let (gateway, _) = Process::gateway(space, None).await;
    // What it needed to list them is given back a moment later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    row(
        &format!("memory of a gateway of its own with {functions} functions at rest"),
        &format!("{:.1} MiB", memory(gateway.id())),
    );
}

/// An operator and a gateway of their own, as on Kubernetes, without any function.
async fn at_rest(space: &Space) {
    let operator = Process::operator(space).await;
    let (gateway, _) = Process::gateway(space, None).await;
    // Beginning has work of its own to finish.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let processes = [operator.id(), gateway.id()];
    let before = processes.map(cpu);
    tokio::time::sleep(REST).await;
    let used = [cpu(processes[0]) - before[0], cpu(processes[1]) - before[1]];
    for (name, process, used) in [
        ("an operator", processes[0], used[0]),
        ("a gateway", processes[1], used[1]),
    ] {
        row(
            &format!("{name} of its own without functions"),
            &format!(
                "{:.1} MiB, CPU {} ms in {} s",
                memory(process),
                used.as_millis(),
                REST.as_secs()
            ),
        );
    }
}
