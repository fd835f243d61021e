//! An operator and a gateway of their own, as on Kubernetes, without any function.

use std::time::Duration;

use fermata_tests::Space;

use crate::{
    process::{Process, cpu, memory},
    row,
};

/// How long nothing is done, to see what that costs.
const REST: Duration = Duration::from_secs(20);

/// To be measured before there are functions, which two operators with different settings would fight
/// over.
pub(crate) async fn measure(space: &Space) {
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
