//! Calls functions at the times of their triggers.
//!
//! One gateway does it, which holds a Lease for that. It first writes into the Function's status that the run
//! has begun, at the version that it has read: so of two that believe to hold the Lease only one calls. Then it
//! has the call kept by the events program, which makes it until the function has answered, and asks what came of it; a
//! gateway that takes its place goes on asking. Where there is no such program it calls the function as anybody in the
//! cluster would; if it goes away meanwhile nobody knows how the run ended: it is told so, and not made again.

mod call;
mod kept;
mod plan;
mod record;
pub(crate) mod standing;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use fermata_crds::{RunResult, Trigger, TriggerSchedule};
use fermata_daemon::{lease::Claim, watch::Key};
use jiff::Timestamp;
use kube::Client;
use serde_json::json;
use tokio::{runtime::Handle, sync::Semaphore, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::{registry::Registry, triggers::FunctionTriggers},
    cluster::{events::EventsQuery, peers::Peers, watch::Health},
    proxy::context::ProxyContext,
    sync::lock,
};

use call::{Called, Event};
use kept::KeptRun;
use plan::{Begin, Plan, Situation};

/// The most runs of one namespace that one gateway has under way.
const MOST_RUNS: usize = 200;

/// How often it is looked what is due.
const TICK: Duration = Duration::from_secs(1);

/// Functions whose status is written at once.
const WRITERS: usize = 16;

/// How long a function whose status could not be written is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// What calls functions at times, in one gateway.
pub(crate) struct Timer {
    /// The functions with triggers.
    pub(crate) registry: Arc<Registry>,
    /// Nothing is decided before the watches are up.
    pub(crate) health: Arc<Health>,
    /// The other gateways, which may have runs under way.
    pub(crate) peers: Arc<Peers>,
    /// Whether there may be others.
    pub(crate) has_peers: bool,
    /// Whether this gateway acts.
    pub(crate) leader: Claim,
    /// Where runs are written.
    pub(crate) client: Client,
    /// How functions are called.
    pub(crate) context: Arc<ProxyContext>,
    /// What keeps the calls, if there is such a program. Without it functions are called from here.
    pub(crate) events: Option<EventsQuery>,
    /// Owns the runs: the gateway stops after them.
    pub(crate) runs: TaskTracker,
    /// Where they go on: with the requests of everybody else, apart from watching and scaling.
    pub(crate) runtime: Handle,
}

/// What the rounds and the runs of one gateway share.
struct Shared {
    timer: Timer,
    writers: Semaphore,
    /// The functions whose status is being written.
    busy: Mutex<HashSet<Key>>,
    /// The functions that are left alone, and until when.
    paused: Mutex<HashMap<Key, tokio::time::Instant>>,
    /// The runs under way, and what breaks each off.
    under_way: Mutex<HashMap<RunKey, CancellationToken>>,
}

/// One call that is to be made.
struct Call<'a> {
    run: &'a RunKey,
    trigger: &'a Trigger,
    /// The Function's.
    uid: &'a str,
    timeout: Duration,
    /// Its namespace has as many runs under way as one may have.
    is_full: bool,
    /// It was begun before.
    goes_on: bool,
}

/// One run of one trigger of one Function.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct RunKey {
    function: Key,
    trigger: String,
    time: Timestamp,
}

// === impl RunKey ===

impl RunKey {
    /// What the function is sent.
    fn event<'a>(&'a self, trigger: &'a Trigger, uid: &'a str) -> Event<'a> {
        Event {
            function: &self.function,
            trigger,
            uid,
            time: self.time,
        }
    }
}

// === impl Timer ===

impl Timer {
    /// Works until told to stop, once the other gateways are known; runs that are under way go on, and belong to their owner.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let shared = Arc::new(Shared {
            timer: self,
            writers: Semaphore::new(WRITERS),
            busy: Mutex::default(),
            paused: Mutex::default(),
            under_way: Mutex::default(),
        });
        if shared.timer.has_peers {
            tokio::select! {
                () = shared.timer.peers.listed() => {}
                () = stop.cancelled() => return,
            }
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let timer = &shared.timer;
            if timer.leader.is_current() && timer.health.is_synced() {
                shared.round(Timestamp::now(), &stop);
            }
        }
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Timer").finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// Looks at all functions that have triggers, and begins what is due.
    fn round(self: &Arc<Self>, now: Timestamp, stop: &CancellationToken) {
        let instant = tokio::time::Instant::now();
        lock(&self.paused).retain(|_, until| *until > instant);
        for (key, triggers) in self.timer.registry.triggers() {
            let is_due = plan::is_due(&triggers, &self.situation(&key, now));
            if !is_due || lock(&self.paused).contains_key(&key) {
                continue;
            }
            if !lock(&self.busy).insert(key.clone()) {
                continue;
            }
            let (shared, stop) = (self.clone(), stop.clone());
            self.timer.runs.spawn(async move {
                Box::pin(shared.clone().deal_with(&key, &triggers, &stop)).await;
                lock(&shared.busy).remove(&key);
            });
        }
    }

    /// What the decisions about a function depend on besides the function.
    fn situation<'a>(&'a self, function: &'a Key, now: Timestamp) -> Situation<'a> {
        Situation {
            now,
            keeps: self.timer.events.is_some(),
            own: self.timer.peers.own(),
            is_under_way: Box::new(move |trigger, time| {
                let key = RunKey {
                    function: function.clone(),
                    trigger: trigger.to_owned(),
                    time,
                };
                lock(&self.under_way).contains_key(&key)
            }),
            is_there: Box::new(|gateway| self.timer.peers.is_known(gateway)),
        }
    }

    /// Decides about one function as it is now, writes that, and begins its runs.
    async fn deal_with(
        self: Arc<Self>,
        key: &Key,
        seen: &FunctionTriggers,
        stop: &CancellationToken,
    ) {
        let place = stop.run_until_cancelled(self.writers.acquire()).await;
        // The semaphore is never closed.
        let Some(Ok(_place)) = place else { return };
        let decide = |function: &fermata_crds::Function| {
            let triggers = FunctionTriggers::of(function).filter(|now| now.uid == seen.uid)?;
            plan::plan(&triggers, &self.situation(key, Timestamp::now()))
        };
        let written = record::change(&self.timer.client, key, |function| {
            if stop.is_cancelled() || !self.timer.leader.is_current() {
                return None;
            }
            let plan = decide(function)?;
            Some((json!({ "triggers": plan.status }), plan))
        });
        let abort = &self.timer.context.abort;
        let Some(written) = abort.run_until_cancelled(Box::pin(written)).await else {
            return;
        };
        match written {
            Ok(Some(plan)) => self.carry_out(key, &seen.uid, plan, stop),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    function = %key,
                    error = &error as &dyn std::error::Error,
                    "the runs of triggers cannot be written; trying again",
                );
                lock(&self.paused).insert(key.clone(), tokio::time::Instant::now() + PAUSE);
            }
        }
    }

    fn carry_out(self: &Arc<Self>, key: &Key, uid: &str, plan: Plan, stop: &CancellationToken) {
        for (trigger, result) in &plan.ended {
            self.count(key, trigger, *result);
        }
        for Begin {
            trigger,
            time,
            replaces,
            timeout,
            goes_on,
        } in plan.begin
        {
            let run = RunKey {
                function: key.clone(),
                trigger: trigger.name.clone(),
                time,
            };
            for old in replaces {
                let old = RunKey {
                    time: old,
                    ..run.clone()
                };
                let own = lock(&self.under_way).get(&old).cloned();
                match own {
                    Some(own) => own.cancel(),
                    None => self.break_off(old, &trigger, uid),
                }
            }
            let broken_off = CancellationToken::new();
            let mut under_way = lock(&self.under_way);
            let of_namespace = |run: &&RunKey| run.function.namespace == key.namespace;
            let is_full = !goes_on && under_way.keys().filter(of_namespace).count() >= MOST_RUNS;
            under_way.insert(run.clone(), broken_off.clone());
            drop(under_way);
            let (shared, uid, stop) = (self.clone(), uid.to_owned(), stop.clone());
            let work = async move {
                let call = Call {
                    run: &run,
                    trigger: &trigger,
                    uid: &uid,
                    timeout,
                    is_full,
                    goes_on,
                };
                shared.call(call, &broken_off, &stop).await;
                lock(&shared.under_way).remove(&run);
            };
            self.timer.runs.spawn_on(work, &self.timer.runtime);
        }
    }

    /// Counts a run that is over, unless its function is gone.
    fn count(&self, function: &Key, trigger: &str, result: RunResult) {
        if let Some(function) = self.timer.registry.function(function) {
            function.metrics().trigger_run(trigger, result.as_str());
        }
    }

    /// Breaks a run off that another gateway had begun, where that can be done.
    fn break_off(self: &Arc<Self>, run: RunKey, trigger: &Trigger, uid: &str) {
        let Some(events) = self.timer.events.clone() else {
            return;
        };
        let (shared, trigger, uid) = (self.clone(), trigger.clone(), uid.to_owned());
        let work = async move {
            let delivery = shared.timer.registry.delivery(&run.function);
            let kept = KeptRun {
                events: &events,
                call: run.event(&trigger, &uid),
                delivery: delivery.as_deref().unwrap_or("{}"),
                until: Timestamp::MAX,
            };
            let told = shared
                .timer
                .context
                .abort
                .run_until_cancelled(kept.break_off());
            told.await;
        };
        self.timer.runs.spawn_on(work, &self.timer.runtime);
    }

    /// Calls the function, or has the call kept, and waits for what comes of it. None if another gateway is to wait.
    async fn make(
        &self,
        call: &Call<'_>,
        broken_off: &CancellationToken,
        stop: &CancellationToken,
    ) -> Option<Called> {
        let Call {
            run,
            trigger,
            uid,
            timeout,
            is_full,
            goes_on,
        } = call;
        let context = &self.timer.context;
        let event = run.event(trigger, uid);
        if *is_full {
            let why = format!("{MOST_RUNS} runs of the namespace are under way in this gateway");
            return Some(Called::failed(None, why));
        }
        if let Some(events) = &self.timer.events {
            let delivery = self.timer.registry.delivery(&run.function);
            let deadline = trigger.schedule.as_ref().map(TriggerSchedule::deadline);
            // One that goes on is kept already.
            let until = run.time.checked_add(deadline.unwrap_or_default());
            let until = until.ok().filter(|_| !goes_on);
            let kept = KeptRun {
                events,
                call: event,
                delivery: delivery.as_deref().unwrap_or("{}"),
                until: until.unwrap_or(Timestamp::MAX),
            };
            return stop.run_until_cancelled(kept.run(broken_off)).await;
        }
        let call = call::call(context, event);
        Some(tokio::select! {
            called = tokio::time::timeout(*timeout, call) => called.unwrap_or_else(|_| {
                Called::failed(None, format!("no answer within {} s", timeout.as_secs()))
            }),
            () = broken_off.cancelled() => Called::replaced(),
            () = context.abort.cancelled() => {
                Called::failed(None, "the gateway has stopped before there was an answer".to_owned())
            }
        })
    }

    /// One run, to the end of what is written of it.
    async fn call(&self, call: Call<'_>, broken_off: &CancellationToken, stop: &CancellationToken) {
        let Some(called) = self.make(&call, broken_off, stop).await else {
            return;
        };
        let Call { run, uid, .. } = call;
        let context = &self.timer.context;
        self.count(&run.function, &run.trigger, called.result);
        if called.result == RunResult::Failed {
            tracing::info!(
                function = %run.function, trigger = run.trigger, time = %run.time,
                why = called.message.as_deref().unwrap_or_default(),
                "a run of a trigger has failed",
            );
        }
        let ended = Timestamp::now();
        let written = record::persist(
            &self.timer.client,
            &run.function,
            &context.abort,
            |function| {
                let is_same = function.metadata.uid.as_deref() == Some(uid);
                let mut status = function.status.as_ref()?.triggers.clone();
                let entry = status.iter_mut().find(|entry| entry.name == run.trigger)?;
                let own = self.timer.peers.own();
                plan::end(entry, run.time, own, &called, ended).then_some(())?;
                is_same.then(|| (json!({ "triggers": status }), ()))
            },
        );
        if let Err(error) = written.await {
            tracing::warn!(
                function = %run.function, trigger = run.trigger, time = %run.time,
                error = &error as &dyn std::error::Error,
                "what came of a run of a trigger cannot be written",
            );
        }
    }
}
