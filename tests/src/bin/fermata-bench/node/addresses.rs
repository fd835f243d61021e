//! When the cluster tells the addresses of pods.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fermata_crds::names::FUNCTION_LABEL;
use fermata_tests::{Space, eventually};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::task::JoinHandle;

use super::now;

/// The moments, as Unix time, at which a watch was first told the address of a function's pod. That is
/// the earliest at which anybody who knows the cluster through its API can connect.
pub(super) struct Addresses {
    first: Arc<Mutex<HashMap<String, Duration>>>,
    watch: JoinHandle<()>,
}

// === impl Addresses ===

impl Addresses {
    /// Watches the pods of a namespace from now on.
    pub(super) fn watch(space: &Space) -> Self {
        let first = Arc::<Mutex<HashMap<String, Duration>>>::default();
        let pods = watcher(
            space.api::<Pod>(),
            watcher::Config::default().labels(FUNCTION_LABEL),
        );
        let seen = first.clone();
        let watch = tokio::spawn(async move {
            pods.applied_objects()
                .try_for_each(|pod| {
                    let has_address = pod
                        .status
                        .as_ref()
                        .is_some_and(|status| status.pod_ip.is_some());
                    if let Some(function) = pod.labels().get(FUNCTION_LABEL).filter(|_| has_address)
                    {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.entry(function.clone()).or_insert_with(now);
                    }
                    std::future::ready(Ok(()))
                })
                .await
                .expect("the watch of the pods goes on");
        });
        Self { first, watch }
    }

    /// When the address of a function's first pod was told.
    pub(super) async fn of(&self, function: &str) -> Duration {
        eventually(&format!("the address of {function} is told"), async || {
            let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get(function).copied().ok_or_else(String::new)
        })
        .await
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
