//! What the leader remembers of each Revision that is not at rest, and what follows from it. No I/O.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fermata_daemon::watch::Key;
use jiff::Timestamp;

use crate::{
    backend::{
        deployment::DeploymentState,
        revision::{Revision, fatal::fatal_reason},
        role::Role,
    },
    scale::{
        decide::{self, Input, decide},
        drain::{self, Action, PodView},
        history::{History, PeerStats},
        stats::{Report, RevisionReport},
    },
};

/// Everything the leader remembers.
#[derive(Debug, Default)]
pub(super) struct Watchlist {
    entries: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    history: History,
    decisions: decide::Memory,
    drain: drain::Memory,
    role: (Role, Duration),
    busy: Arc<AtomicBool>,
}

/// Actions for one Revision, in the order in which they have to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// The Revision.
    pub(crate) key: Key,
    /// The Deployment as it was when this was decided.
    pub(crate) seen: DeploymentState,
    /// What to do.
    pub(crate) actions: Vec<Action>,
    /// Set while it is being done.
    pub(crate) busy: Arc<AtomicBool>,
}

/// What the gateways say, by Revision.
struct ReportIndex<'a> {
    reports: &'a [&'a Report],
    by_revision: HashMap<(&'a str, &'a str), Vec<(usize, &'a RevisionReport)>>,
}

// === impl Watchlist ===

impl Watchlist {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Takes in what the gateways say, and what waits elsewhere by Revision, and decides.
    pub(super) fn round(
        &mut self,
        now: Duration,
        revisions: &[Arc<Revision>],
        reports: &[&Report],
        complete: bool,
        coming: &HashMap<Key, f64>,
    ) -> Vec<Plan> {
        let index = ReportIndex::of(reports);
        let time = Timestamp::now();
        let mut kept = HashSet::new();
        let mut plans = Vec::new();
        for revision in revisions {
            let stats = index.stats(revision.key());
            if is_at_rest(revision, &stats, time) {
                continue;
            }
            kept.insert(revision.key().clone());
            let entry = self
                .entries
                .entry(revision.key().clone())
                .or_insert_with(|| Entry::new(revision, now));
            let coming = coming.get(revision.key()).copied().unwrap_or_default();
            plans.extend(entry.round((now, time), revision, &stats, complete, coming));
        }
        self.entries.retain(|key, _| kept.contains(key));
        plans
    }
}

/// Whether there is nothing to decide: no replicas, no requests, and nothing that asks for any.
fn is_at_rest(revision: &Revision, stats: &[PeerStats<'_>], time: Timestamp) -> bool {
    let scale = revision.scale();
    revision.observe(|observed| observed.replicas().unwrap_or(0)) == 0
        && stats.iter().all(|peer| peer.report.is_none())
        && match revision.role() {
            Role::Retired => true,
            Role::Pending => scale.initial == 0,
            Role::Active => scale.bounds(time).0 == 0,
        }
}

// === impl Entry ===

impl Entry {
    fn new(revision: &Revision, now: Duration) -> Self {
        Self {
            history: History::new(now, revision.scale().window),
            decisions: decide::Memory::default(),
            drain: drain::Memory::default(),
            role: (revision.role(), now),
            busy: Arc::default(),
        }
    }

    fn round(
        &mut self,
        (now, time): (Duration, Timestamp),
        revision: &Revision,
        stats: &[PeerStats<'_>],
        complete: bool,
        coming: f64,
    ) -> Option<Plan> {
        let scale = revision.scale();
        self.history.record(now, scale.window, scale.metric, stats);
        if coming > 0.0 {
            self.history.stay_awake(now);
        }
        let role = revision.role();
        if self.role.0 != role {
            self.role = (role, now);
        }
        // One decision is carried out before the next is made.
        if self.busy.load(Ordering::Acquire) {
            return None;
        }
        let (seen, ready, pods, doomed) = revision.observe(|observed| {
            let seen = observed.deployment.clone();
            let pods: Vec<PodView> = observed
                .live()
                .map(|pod| {
                    view(
                        &pod.state.name,
                        pod.usable,
                        pod.state.draining,
                        stats,
                        complete,
                    )
                })
                .collect();
            // More instances that do not start help nobody.
            let doomed = coming > 0.0 && fatal_reason(observed, time).is_some();
            (seen, observed.ready(), pods, doomed)
        });
        let seen = seen?;
        let (min, max) = scale.bounds(time);
        let input = Input {
            role,
            role_for: now.saturating_sub(self.role.1),
            min,
            max,
            initial: scale.initial,
            activation: scale.activation,
            target: scale.target,
            window: scale.window,
            idle_after: scale.idle_after,
            down_delay: scale.down_delay,
            replicas: seen.replicas,
            ready,
            stable: self.history.stable(),
            panic: self.history.panic(scale.window),
            latest: self.history.latest(),
            coming: if doomed { 0.0 } else { coming },
            idle_for: self.history.idle_for(now),
            observed_for: self.history.observed_for(now),
            complete,
        };
        let want = decide(now, &input, &mut self.decisions);
        let actions = drain::plan(now, seen.replicas, want, &pods, &mut self.drain);
        if actions.is_empty() {
            return None;
        }
        tracing::debug!(revision = %revision.key(), want, ?input, ?actions, "scaling");
        self.busy.store(true, Ordering::Release);
        Some(Plan {
            key: revision.key().clone(),
            seen,
            actions,
            busy: self.busy.clone(),
        })
    }
}

/// One pod, as all gateways together see it.
fn view(
    name: &str,
    usable: bool,
    marked: bool,
    stats: &[PeerStats<'_>],
    complete: bool,
) -> PodView {
    let of_gateway = |peer: &PeerStats<'_>| {
        let draining = &peer.report?.draining;
        let pod = draining.iter().find(|draining| draining.pod == name)?;
        Some(pod.in_flight)
    };
    let told: Vec<Option<u32>> = stats.iter().map(of_gateway).collect();
    PodView {
        name: name.into(),
        usable,
        marked,
        in_flight: told.iter().flatten().sum(),
        empty: complete && marked && told.iter().all(|in_flight| *in_flight == Some(0)),
    }
}

// === impl ReportIndex ===

impl<'a> ReportIndex<'a> {
    fn of(reports: &'a [&'a Report]) -> Self {
        let mut by_revision: HashMap<_, Vec<_>> = HashMap::new();
        for (gateway, report) in reports.iter().enumerate() {
            for revision in &report.revisions {
                let key = (&*revision.namespace, &*revision.name);
                by_revision
                    .entry(key)
                    .or_default()
                    .push((gateway, revision));
            }
        }
        Self {
            reports,
            by_revision,
        }
    }

    /// What each gateway says about the Revision.
    fn stats(&self, key: &Key) -> Vec<PeerStats<'a>> {
        let said = self.by_revision.get(&(&*key.namespace, &*key.name));
        let said = said.map(Vec::as_slice).unwrap_or_default();
        self.reports
            .iter()
            .enumerate()
            .map(|(gateway, report)| PeerStats {
                instance: &report.instance,
                at: report.at,
                report: said
                    .iter()
                    .find(|(from, _)| *from == gateway)
                    .map(|(_, revision)| *revision),
            })
            .collect()
    }
}
