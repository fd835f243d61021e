//! The autoscaler: every second, or at once when something waits, it gathers the numbers, decides,
//! and has the decisions carried out.

mod act;
mod watchlist;

use std::{collections::HashMap, sync::Arc, time::Duration};

use fermata_daemon::lease::Claim;
use kube::Client;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    backlogs::BacklogClient,
    stats::{Counter, Report},
    stats_client::{GatheredStats, StatsClient},
};
use crate::{
    admin::metrics::Metrics,
    backend::{registry::Registry, revision::Revision},
    clock,
    cluster::{peers::Peers, watch::Health},
};
use watchlist::Watchlist;

/// Between two rounds.
const TICK: Duration = Duration::from_secs(1);

/// The least time between two rounds, however often it is asked to rescale now.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// Decisions that are carried out at once.
const WRITERS: usize = 16;

/// The autoscaler of one gateway.
pub(crate) struct Scaler {
    /// What is scaled.
    pub(crate) registry: Arc<Registry>,
    /// Nothing is decided before the watches are up.
    pub(crate) health: Arc<Health>,
    /// The gateway's own numbers.
    pub(crate) counter: Counter,
    /// The other gateways.
    pub(crate) peers: Arc<Peers>,
    /// Who gets their numbers.
    pub(crate) stats_client: StatsClient,
    /// Who asks what waits in the events program; none if there is no such program.
    pub(crate) backlogs: Option<BacklogClient>,
    /// Whether this gateway acts.
    pub(crate) leader: Claim,
    /// Counts decisions.
    pub(crate) metrics: Arc<Metrics>,
    /// Something waits.
    pub(crate) rescale_now: Arc<Notify>,
    /// How decisions are carried out.
    pub(crate) client: Client,
    /// Owns what carries them out.
    pub(crate) tasks: TaskTracker,
}

// === impl Scaler ===

impl std::fmt::Debug for Scaler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scaler").finish_non_exhaustive()
    }
}

impl Scaler {
    /// Works until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let begun = Instant::now();
        let writers = Arc::new(Semaphore::new(WRITERS));
        let mut watchlist = Watchlist::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tidy_up(),
                () = self.rescale_now.notified() => {}
                () = stop.cancelled() => return,
            }
            let leads = self.leader.is_current();
            self.metrics.set_leads(leads);
            if !leads || !self.health.is_synced() {
                // What a leader remembers is of no use after a break.
                watchlist.clear();
                if let Some(backlogs) = &mut self.backlogs {
                    backlogs.forget();
                }
                continue;
            }
            self.round(begun.elapsed(), &mut watchlist, &writers).await;
            tokio::select! {
                () = tokio::time::sleep(LEAST_PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn round(&mut self, now: Duration, watchlist: &mut Watchlist, writers: &Arc<Semaphore>) {
        let registry = &self.registry;
        let backlogs = async {
            match &mut self.backlogs {
                Some(backlogs) => {
                    backlogs.ask(registry).await;
                    backlogs.coming(registry)
                }
                None => HashMap::new(),
            }
        };
        let (gathered, coming) = tokio::join!(self.stats_client.ask(), backlogs);
        let GatheredStats {
            reports: others,
            complete,
        } = gathered;
        let own = self.counter.report();
        let mut reports: Vec<&Report> = others.iter().collect();
        // A peer list may name this gateway under another name.
        reports.retain(|report| report.instance != own.instance);
        reports.push(&own);
        let revisions = self.registry.revisions();
        for plan in watchlist.round(now, &revisions, &reports, complete, &coming) {
            let act = act::Act {
                client: self.client.clone(),
                leader: self.leader.clone(),
                metrics: self.metrics.clone(),
                plan,
            };
            let writers = writers.clone();
            self.tasks.spawn(async move {
                // The semaphore is never closed.
                let _place = writers.acquire().await;
                act.run().await;
            });
        }
    }

    /// What every gateway does for itself each second.
    fn tidy_up(&self) {
        let now = clock::now();
        for revision in self.registry.revisions() {
            if revision.has_endpoints() {
                revision.close_idle_connections(now);
                Revision::refresh(&revision);
            }
        }
        self.peers.close_idle_connections(now);
    }
}
