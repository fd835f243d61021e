//! Cold starts.

use std::time::{Duration, Instant};

use fermata_tests::{Space, eventually};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::{milliseconds, percentile, row};

pub(crate) async fn measure(space: &Space, rounds: usize) {
    space
        .test_function("native", &["serve"], json!({"scale": {"idleAfter": "10m"}}))
        .await;
    let code = "def handle(request):\n    return 'ok'\n";
    space.function("python", json!({"source": {"runtime": "python", "files": {"main.py": code}}, "scale": {"idleAfter": "10m"}})).await;
    for (name, title) in [("native", "native binary"), ("python", "python")] {
        space.ready(name).await;
        let mut times = Vec::new();
        for _ in 0..rounds {
            rest(space, name).await;
            let started = Instant::now();
            let _ = space.call(name, "x").await.ok();
            times.push(started.elapsed());
        }
        times.sort();
        let (least, half, most) = (times[0], percentile(&times, 50), percentile(&times, 95));
        row(
            &format!("cold start, {title}, {rounds} rounds"),
            &format!(
                "min {}, p50 {}, p95 {}",
                milliseconds(least),
                milliseconds(half),
                milliseconds(most)
            ),
        );
    }
}

/// Takes the function to zero and waits until it has come to rest there.
async fn rest(space: &Space, name: &str) {
    let revision = format!("{name}-00001");
    let zero = Patch::Merge(json!({"spec": {"replicas": 0}}));
    space
        .api::<Deployment>()
        .patch_scale(&revision, &PatchParams::default(), &zero)
        .await
        .expect("the scale can be changed");
    let selector = ListParams::default().labels(&format!("fermata.dev/revision={revision}"));
    eventually("no pod is left but those that are ending", async || {
        let pods = space
            .api::<Pod>()
            .list(&selector)
            .await
            .expect("pods can be listed");
        let left = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .count();
        if left == 0 {
            Ok(())
        } else {
            Err(format!("{left} are left"))
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
}
