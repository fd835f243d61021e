//! One container of a pod: start, probes, restarts, and its end.

mod build;
mod probes;
mod termination_message;

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use tokio::{
    sync::{Notify, watch},
    time::{self, Instant},
};

use super::{
    Shared,
    backoff::Backoff,
    env,
    expand::expand,
    log::Log,
    mounts::{self, Mounts},
    pod_state::PodState,
    process::{self, Plan, Process},
    sentence, status,
};

/// Whether and by when a container has to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// It may run.
    No,
    /// It has to be gone by then; `hooks` says whether its preStop hook runs.
    By { deadline: Instant, hooks: bool },
}

/// How a container came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// It ended by itself with this exit code and is not started again.
    Finished(i32),
    /// The pod has to stop.
    Stopped,
}

/// Runs one container.
pub(super) struct Runner {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    pub(super) policy: String,
    pub(super) state: Arc<PodState>,
    pub(super) dir: PathBuf,
    pub(super) logs: PathBuf,
    pub(super) stop: watch::Receiver<Stop>,
    /// Told when the container has started, its startup probe included.
    pub(super) started: Arc<Notify>,
}

/// Why a container cannot be started: the reason and the sentence of its waiting state.
struct Blocked {
    reason: &'static str,
    message: String,
}

// === impl Runner ===

impl Runner {
    /// Runs the container, again and again as its restart policy says.
    pub(super) async fn run(mut self) -> Ended {
        let mut backoff = Backoff::default();
        let mut restarts = 0;
        loop {
            let began = Instant::now();
            if self.stopping() {
                return Ended::Stopped;
            }
            let pause = match self.plan().await {
                Err(blocked) => {
                    self.block(&blocked);
                    backoff.after(began)
                }
                Ok(plan) => match self.run_or_reuse(&plan, restarts).await {
                    Err(blocked) => {
                        self.block(&blocked);
                        backoff.after(began)
                    }
                    Ok(_) if self.stopping() => return Ended::Stopped,
                    Ok(code)
                        if self.policy == "Never" || (self.policy == "OnFailure" && code == 0) =>
                    {
                        return Ended::Finished(code);
                    }
                    Ok(_) => {
                        restarts += 1;
                        let pause = backoff.before_restart(began);
                        if !pause.is_zero() {
                            self.back_off(pause);
                        }
                        pause
                    }
                },
            };
            tokio::select! {
                () = time::sleep(pause) => {}
                _ = self.stop.wait_for(|stop| !matches!(stop, Stop::No)) => return Ended::Stopped,
            }
        }
    }

    fn stopping(&self) -> bool {
        !matches!(*self.stop.borrow(), Stop::No)
    }

    fn name(&self) -> &str {
        &self.container.name
    }

    fn block(&self, blocked: &Blocked) {
        self.state.update(self.name(), |report| {
            report.ready = false;
            report.enter(status::waiting(
                blocked.reason,
                Some(blocked.message.clone()),
            ));
        });
        self.shared
            .events
            .warning(&self.pod, "Failed", format!("Error: {}", blocked.message));
    }

    fn back_off(&self, pause: Duration) {
        let pod = &self.pod;
        let message = format!(
            "back-off {pause:?} restarting failed container={} pod={}_{}({})",
            self.name(),
            pod.name_any(),
            pod.namespace().unwrap_or_default(),
            pod.uid().unwrap_or_default()
        );
        self.state.update(self.name(), |report| {
            report.enter(status::waiting("CrashLoopBackOff", Some(message.clone())));
        });
        self.shared.events.warning(pod, "BackOff", message);
    }

    /// What exactly is to run on this machine.
    async fn plan(&self) -> Result<Plan, Blocked> {
        let container = &self.container;
        let config = |message| Blocked {
            reason: "CreateContainerConfigError",
            message,
        };
        let mut declared = env::resolve(&self.shared.client, &self.pod, container)
            .await
            .map_err(|error| config(sentence(&error)))?;
        let root =
            mounts::make_root(container, &self.dir).map_err(|error| config(sentence(&error)))?;
        let mounts = Mounts::of(container, &self.dir);
        let options = &self.shared.options;
        let dir = match &container.working_dir {
            Some(path) => mounts.locate(path),
            None => options.working_dir.clone(),
        };
        if !dir.is_dir() {
            return Err(config(format!(
                "the working directory {} does not exist on this machine",
                dir.display()
            )));
        }
        let command = container
            .command
            .iter()
            .flatten()
            .chain(container.args.iter().flatten());
        let mut command = command.map(|part| expand(part, &declared));
        let Some(program) = command.next().filter(|_| {
            container
                .command
                .as_ref()
                .is_some_and(|command| !command.is_empty())
        }) else {
            let message = format!(
                "image \"{}\" is not pulled: the embedded node has no containers; give a command that names a program of this machine, or use source",
                container.image.as_deref().unwrap_or_default()
            );
            return Err(Blocked {
                reason: "ErrImagePull",
                message,
            });
        };
        let arguments = command.collect();
        let path = declared
            .get("PATH")
            .map_or_else(|| options.path.clone(), OsString::from);
        let program = process::find(&program, &mounts, &dir, &path).map_err(|error| Blocked {
            reason: "RunContainerError",
            message: error.to_string(),
        })?;
        self.keep_home(&mut declared);
        let mut env = options.env.clone();
        if let Some(folder) = mounts.find("/tmp") {
            env.push(("TMPDIR".into(), folder.to_string_lossy().into_owned()));
        }
        env.push(("PATH".into(), path.to_string_lossy().into_owned()));
        env.push(("FERMATA_ROOT".into(), root.to_string_lossy().into_owned()));
        env.push(("HOSTNAME".into(), self.pod.name_any()));
        env.extend(declared.clone());
        Ok(Plan {
            program,
            arguments,
            env,
            dir,
            declared,
            mounts,
        })
    }

    /// One run of the process, from its start to its exit code.
    async fn run_once(&mut self, plan: &Plan, restarts: i32) -> Result<i32, Blocked> {
        let failed = |what: &str, error: std::io::Error| Blocked {
            reason: "RunContainerError",
            message: format!("{what}: {error}"),
        };
        let log = Log::open(&self.logs, restarts)
            .map_err(|error| failed("cannot open the log", error))?;
        let words = termination_message::path(&self.container, &self.dir);
        termination_message::forget(words.as_deref());
        let mut process = Process::start(&self.shared.options.supervisor, plan, &log)
            .map_err(|error| failed("cannot start the process", error))?;
        // Commands that run beside this one end with it.
        let _entered = self.shared.containers.enter(
            &self.pod.uid().unwrap_or_default(),
            self.name(),
            plan,
            &self.shared.options.supervisor,
            &log,
        );
        let since = Timestamp::now();
        let id = process.id().map(|id| format!("process://{id}"));
        self.state.update(self.name(), |report| {
            report.enter(status::running(since));
            report.restarts = restarts;
            report.id.clone_from(&id);
        });
        self.shared.events.normal(
            &self.pod,
            "Started",
            format!("Container started: {}", self.name()),
        );
        let code = self.supervise(plan, &mut process).await;
        // What the container itself has left goes before what is in its log.
        let wants_log =
            self.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        let logged = || {
            let tail = (code != 0 && wants_log).then(|| log.tail());
            tail.filter(|tail| !tail.is_empty())
        };
        let message = termination_message::read(words.as_deref()).or_else(logged);
        self.state.update(self.name(), |report| {
            report.state = status::terminated(code, since, Timestamp::now(), message, id);
            report.started = false;
            report.ready = false;
        });
        Ok(code)
    }

    /// Watches over the running process until it has ended, however that comes.
    async fn supervise(&mut self, plan: &Plan, process: &mut Process) -> i32 {
        let mut stop = self.stop.clone();
        let unhealthy = tokio::select! {
            code = process.ended() => return code,
            reason = self.probe(plan) => Some(reason),
            _ = stop.wait_for(|stop| !matches!(stop, Stop::No)) => None,
        };
        self.state
            .update(self.name(), |report| report.ready = false);
        let grace = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds)
            .unwrap_or(30);
        let own_deadline = Instant::now() + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        if let Some(reason) = &unhealthy {
            self.shared.events.normal(
                &self.pod,
                "Killing",
                format!("Container {} will be restarted: {reason}", self.name()),
            );
        }
        let hooks = matches!(*stop.borrow(), Stop::By { hooks: true, .. } | Stop::No);
        let pre_stop = self
            .container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref())
            .filter(|_| hooks);
        if let Some(hook) = pre_stop {
            let mut orders = stop.clone();
            tokio::select! {
                // The node stops: nobody is left to wait for.
                _ = orders.wait_for(|stop| matches!(stop, Stop::By { hooks: false, .. })) => {}
                code = process.ended() => return code,
                result = self.hook(hook, plan) => if let Err(reason) = result {
                    self.shared.events.warning(&self.pod, "FailedPreStopHook", reason);
                },
                () = deadline(&mut stop, own_deadline) => {}
            }
        }
        process.terminate().await;
        tokio::select! {
            code = process.ended() => return code,
            () = deadline(&mut stop, own_deadline) => {}
        }
        process.kill().await;
        process.ended().await
    }
}

/// Ends at the container's deadline, which a second deletion may bring nearer.
async fn deadline(stop: &mut watch::Receiver<Stop>, own: Instant) {
    loop {
        let deadline = match *stop.borrow_and_update() {
            Stop::By { deadline, .. } => deadline,
            Stop::No => own,
        };
        tokio::select! {
            () = time::sleep_until(deadline) => return,
            changed = stop.changed() => if changed.is_err() {
                return;
            },
        }
    }
}
