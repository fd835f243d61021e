//! The life of one pod: volumes, init containers, containers, and its end.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{self, Instant},
};

use super::{
    SHUTDOWN_GRACE, Shared,
    backoff::Backoff,
    container::{Ended, Runner, Stop},
    mounts,
    pod_state::PodState,
    sentence, volumes,
};

/// What the node knows of a pod's object.
#[derive(Clone, Debug)]
pub(super) enum PodUpdate {
    /// It is there.
    Pod(Arc<Pod>),
    /// It is gone, and its processes must go at once.
    Gone,
    /// The node itself stops; the object stays.
    NodeStops,
}

/// Runs the pod until it has ended and its object is gone, or the node stops.
pub(super) async fn run(shared: Arc<Shared>, pod: Arc<Pod>, seen: watch::Receiver<PodUpdate>) {
    let state = Arc::new(PodState::new(&pod));
    let (stopper, stop) = watch::channel(Stop::No);
    let uid = pod.uid().unwrap_or_default();
    let dir = shared.options.pods_dir.join(&uid);
    let logs = format!(
        "{}_{}_{uid}",
        pod.namespace().unwrap_or_default(),
        pod.name_any()
    );
    let logs = shared.options.logs_dir.join(logs);
    let worker = PodWorker {
        dir: dir.clone(),
        logs: logs.clone(),
        shared: Arc::clone(&shared),
        pod: Arc::clone(&pod),
        state: Arc::clone(&state),
        stop,
    };
    let sandboxed = shared.containers.sandbox(&pod);
    let publisher = tokio::spawn(publish(Arc::clone(&shared), Arc::clone(&pod), state));
    let end = tokio::join!(worker.run(), watch_for_end(seen, stopper, &pod)).1;
    drop(sandboxed);
    publisher.abort();
    let _ = publisher.await;
    if let End::Pod = end {
        if let Err(error) = shared.remove(&pod).await {
            tracing::warn!(
                pod = pod.name_any(),
                error = &error as &dyn std::error::Error,
                "a pod that has ended cannot be removed"
            );
        }
        for dir in [dir, logs] {
            remove_dir(&dir);
        }
    }
    if let Some(cache) = &shared.build_cache {
        cache.release(&uid).await;
    }
}

enum End {
    /// The pod was deleted.
    Pod,
    /// The node stops.
    Node,
}

/// Passes the pod's deletion on to its containers, with the time they have left.
async fn watch_for_end(
    mut seen: watch::Receiver<PodUpdate>,
    stopper: watch::Sender<Stop>,
    pod: &Pod,
) -> End {
    let spec_grace = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.termination_grace_period_seconds)
        .unwrap_or(30);
    let mut asked_at = None;
    loop {
        let now = Instant::now();
        let latest = seen.borrow_and_update().clone();
        match latest {
            PodUpdate::Pod(pod) if pod.metadata.deletion_timestamp.is_some() => {
                let grace = pod
                    .metadata
                    .deletion_grace_period_seconds
                    .unwrap_or(spec_grace);
                let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                let since = *asked_at.get_or_insert(now);
                stopper.send_replace(Stop::By {
                    deadline: since + grace,
                    hooks: true,
                });
            }
            PodUpdate::Pod(_) => {}
            PodUpdate::Gone => {
                stopper.send_replace(Stop::By {
                    deadline: now,
                    hooks: false,
                });
            }
            PodUpdate::NodeStops => {
                stopper.send_replace(Stop::By {
                    deadline: now + SHUTDOWN_GRACE,
                    hooks: false,
                });
                stopper.closed().await;
                return End::Node;
            }
        }
        tokio::select! {
            // Every container has let go of its receiver: the pod has ended.
            () = stopper.closed() => return End::Pod,
            changed = seen.changed() => if changed.is_err() {
                return End::Node;
            },
        }
    }
}

/// One pod's life.
struct PodWorker {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    state: Arc<PodState>,
    dir: PathBuf,
    logs: PathBuf,
    stop: watch::Receiver<Stop>,
}

// === impl PodWorker ===

impl PodWorker {
    /// Runs the containers; ends when the pod is to stop and all its processes are gone.
    ///
    /// It takes itself along: that the last receiver of `stop` is gone tells that the pod has ended.
    async fn run(self) {
        let mut stop = self.stop.clone();
        if !self.make_volumes(&mut stop).await {
            return;
        }
        let mut sidecars = JoinSet::new();
        if self.init(&mut sidecars, &mut stop).await {
            self.main().await;
        }
        // A pod that is over stays as a record until it is deleted.
        let _ = stop.wait_for(|stop| !matches!(stop, Stop::No)).await;
        while sidecars.join_next().await.is_some() {}
    }

    async fn make_volumes(&self, stop: &mut watch::Receiver<Stop>) -> bool {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let made = tokio::select! {
                made = volumes::make(&self.shared.client, &self.pod, &self.dir) => {
                    made.and_then(|()| mounts::name_by_paths(&self.pod, &self.dir))
                }
                _ = stop.wait_for(|stop| !matches!(stop, Stop::No)) => return false,
            };
            let Err(error) = made else { return true };
            self.shared
                .events
                .warning(&self.pod, "FailedMount", sentence(&error));
            tokio::select! {
                () = time::sleep(backoff.after(started)) => {}
                _ = stop.wait_for(|stop| !matches!(stop, Stop::No)) => return false,
            }
        }
    }

    /// Runs the init containers one after the other; `false` if the pod ends here.
    async fn init(&self, sidecars: &mut JoinSet<Ended>, stop: &mut watch::Receiver<Stop>) -> bool {
        let Some(spec) = &self.pod.spec else {
            return false;
        };
        for container in spec.init_containers.iter().flatten() {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            let policy = match spec.restart_policy.as_deref() {
                _ if sidecar => "Always",
                Some("Never") => "Never",
                _ => "OnFailure",
            };
            let (runner, started) = self.runner(container, policy);
            if sidecar {
                sidecars.spawn(runner.run());
                tokio::select! {
                    () = started.notified() => continue,
                    _ = stop.wait_for(|stop| !matches!(stop, Stop::No)) => return false,
                }
            }
            match runner.run().await {
                Ended::Finished(0) => {}
                Ended::Finished(code) => {
                    let message = format!(
                        "init container {} ended with exit code {code}",
                        container.name
                    );
                    self.state
                        .change(|reports| reports.over = Some(("Failed", None, Some(message))));
                    return false;
                }
                Ended::Stopped => return false,
            }
        }
        self.state.change(|reports| {
            reports.initialized = true;
            for report in &mut reports.containers {
                report.state = super::status::waiting("ContainerCreating", None);
            }
        });
        true
    }

    async fn main(&self) {
        let Some(spec) = &self.pod.spec else { return };
        let policy = spec.restart_policy.as_deref().unwrap_or("Always");
        let mut tasks = JoinSet::new();
        for container in &spec.containers {
            tasks.spawn(self.runner(container, policy).0.run());
        }
        let mut stopped = false;
        while let Some(ended) = tasks.join_next().await {
            stopped |= matches!(ended, Ok(Ended::Stopped));
        }
        if !stopped {
            self.state
                .change(|reports| reports.over = Some((reports.outcome(), None, None)));
        }
    }

    fn runner(&self, container: &Container, policy: &str) -> (Runner, Arc<Notify>) {
        let started = Arc::new(Notify::new());
        let runner = Runner {
            shared: Arc::clone(&self.shared),
            pod: Arc::clone(&self.pod),
            container: container.clone(),
            policy: policy.to_owned(),
            state: Arc::clone(&self.state),
            dir: self.dir.clone(),
            logs: self.logs.join(&container.name),
            stop: self.stop.clone(),
            started: Arc::clone(&started),
        };
        (runner, started)
    }
}

/// Writes the pod's status whenever it has changed, at most one write at a time.
async fn publish(shared: Arc<Shared>, pod: Arc<Pod>, state: Arc<PodState>) {
    let api = Api::<Pod>::namespaced(shared.client.clone(), &pod.namespace().unwrap_or_default());
    let mut written: Option<PodStatus> = None;
    let mut backoff = Backoff::default();
    loop {
        let status = state
            .snapshot()
            .status(&pod, written.as_ref(), Timestamp::now());
        if written.as_ref() != Some(&status) {
            let patch = Patch::Merge(
                serde_json::json!({ "metadata": { "uid": pod.uid() }, "status": status }),
            );
            match api
                .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
                .await
            {
                Ok(_) => written = Some(status),
                // Another pod has the name now: nothing is left to report.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => {
                    tracing::warn!(
                        pod = pod.name_any(),
                        error = &error as &dyn std::error::Error,
                        "a pod's status was not written and is tried again"
                    );
                    time::sleep(backoff.after(Instant::now())).await;
                    continue;
                }
            }
        }
        state.changed.notified().await;
    }
}

fn remove_dir(dir: &std::path::Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %dir.display(), error = &error as &dyn std::error::Error, "a pod's folder cannot be removed");
        }
        _ => {}
    }
}
