//! The probes and hooks of a container that runs.

use std::time::Duration;

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe};
use tokio::time::{self, Instant};

use super::{
    super::{
        probe::{self, Timing},
        process::Plan,
    },
    Runner,
};

/// The first pause between the tries of a readiness probe right after the start.
const EAGER: Duration = Duration::from_millis(20);

/// The longest of these pauses, which double.
const LEAST_EAGER: Duration = Duration::from_millis(200);

// === impl Runner ===

impl Runner {
    /// Runs the probes; ends with a sentence when the container is beyond help.
    pub(super) async fn probe(&self, plan: &Plan) -> String {
        let container = &self.container;
        if let Some(hook) = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.post_start.as_ref())
            && let Err(reason) = self.hook(hook, plan).await
        {
            self.shared
                .events
                .warning(&self.pod, "FailedPostStartHook", reason.clone());
            return format!("its postStart hook failed: {reason}");
        }
        if let Some(startup) = &container.startup_probe {
            time::sleep(Timing::of(startup).initial_delay).await;
            if let Err(reason) = self.probe_until(startup, plan, "Startup", true).await {
                return format!("failed startup probe: {reason}");
            }
        }
        self.state.update(self.name(), |report| {
            report.started = true;
            report.ready = container.readiness_probe.is_none();
        });
        self.started.notify_one();
        let readiness = async {
            let Some(readiness) = &container.readiness_probe else {
                return std::future::pending().await;
            };
            time::sleep(Timing::of(readiness).initial_delay).await;
            let mut succeeded = self.probe_early(readiness, plan).await;
            loop {
                if !succeeded {
                    succeeded = self
                        .probe_until(readiness, plan, "Readiness", true)
                        .await
                        .is_ok();
                }
                if succeeded {
                    self.ready(true);
                    // Ends when the probe has failed often enough.
                    let _ = self.probe_until(readiness, plan, "Readiness", false).await;
                    self.ready(false);
                    succeeded = false;
                }
            }
        };
        let liveness = async {
            let Some(liveness) = &container.liveness_probe else {
                return std::future::pending().await;
            };
            time::sleep(Timing::of(liveness).initial_delay).await;
            match self.probe_until(liveness, plan, "Liveness", false).await {
                Err(reason) => format!("failed liveness probe: {reason}"),
                Ok(()) => String::new(),
            }
        };
        tokio::select! {
            reason = liveness => reason,
            () = readiness => String::new(),
        }
    }

    fn ready(&self, ready: bool) {
        self.state
            .update(self.name(), |report| report.ready = ready);
    }

    /// Tries a readiness probe often for the length of its first period: a container that has just
    /// started is seldom ready at the first try, and somebody waits for it.
    async fn probe_early(&self, probe: &Probe, plan: &Plan) -> bool {
        let timing = Timing::of(probe);
        if timing.success_threshold > 1 {
            return false;
        }
        let until = Instant::now() + timing.period;
        let mut pause = EAGER;
        while Instant::now() < until {
            if probe::check(probe, &self.container, plan).await.is_ok() {
                return true;
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(LEAST_EAGER);
        }
        false
    }

    /// Tries a probe in its period. Ends with `Ok` after enough successes in a row, if `succeed`
    /// asks for them, and with the last sentence after enough failures in a row.
    async fn probe_until(
        &self,
        probe: &Probe,
        plan: &Plan,
        kind: &str,
        succeed: bool,
    ) -> Result<(), String> {
        let timing = Timing::of(probe);
        let (mut successes, mut failures) = (0, 0);
        let mut ticks = time::interval(timing.period);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match probe::check(probe, &self.container, plan).await {
                Ok(()) => {
                    (successes, failures) = (successes + 1, 0);
                    if succeed && successes >= timing.success_threshold {
                        return Ok(());
                    }
                }
                Err(reason) => {
                    (successes, failures) = (0, failures + 1);
                    self.shared.events.warning(
                        &self.pod,
                        "Unhealthy",
                        format!("{kind} probe failed: {reason}"),
                    );
                    if failures >= timing.failure_threshold {
                        return Err(reason);
                    }
                }
            }
        }
    }

    pub(super) async fn hook(&self, hook: &LifecycleHandler, plan: &Plan) -> Result<(), String> {
        if let Some(sleep) = &hook.sleep {
            time::sleep(Duration::from_secs(
                u64::try_from(sleep.seconds).unwrap_or(0),
            ))
            .await;
            return Ok(());
        }
        if let Some(action) = &hook.http_get {
            return probe::http_get(action, &self.container).await;
        }
        match &hook.exec {
            Some(action) => probe::exec(action.command.as_deref().unwrap_or_default(), plan).await,
            None => Ok(()),
        }
    }
}
