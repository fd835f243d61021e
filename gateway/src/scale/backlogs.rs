//! What waits in the events program and will come as soon as it may.

use std::{collections::HashMap, time::Duration};

use fermata_crds::backlog::{Backlogs, Room, Rooms};
use fermata_daemon::watch::Key;
use http::uri::Authority;
use tokio::time::Instant;

use crate::{
    backend::{
        function::{Share, Traffic},
        registry::Registry,
        revision::Observed,
    },
    cluster::events::EventsQuery,
};

/// How long the last answer stands when there is no newer one.
const STANDS_FOR: Duration = Duration::from_secs(10);

/// Asks the events program, and remembers for a while what it has said.
#[derive(Debug)]
pub(crate) struct BacklogClient {
    events: EventsQuery,
    last: Option<(Instant, Backlogs)>,
}

// === impl BacklogClient ===

impl BacklogClient {
    /// Asks the events program at this address.
    #[must_use]
    pub(crate) fn new(authority: Authority) -> Self {
        Self {
            events: EventsQuery::new(authority),
            last: None,
        }
    }

    /// Asks what waits, and says what those functions can take of which calls were waiting before. Without an answer the
    /// last one stands for a while.
    pub(crate) async fn ask(&mut self, registry: &Registry) {
        let rooms = self.rooms(registry);
        match self.events.post("/backlogs", &rooms).await {
            Ok(backlogs) => self.last = Some((Instant::now(), backlogs)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "it is not known what waits in the events program");
                self.last.take_if(|(at, _)| at.elapsed() > STANDS_FOR);
            }
        }
    }

    /// Forgets what was said: somebody else scales.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Calls that will come as soon as they may, by Revision, besides those that are being made.
    #[must_use]
    pub(crate) fn coming(&self, registry: &Registry) -> HashMap<Key, f64> {
        let mut coming = HashMap::new();
        let Some((_, backlogs)) = &self.last else {
            return coming;
        };
        for backlog in &backlogs.functions {
            let calls = backlogs.coming(backlog);
            if calls == 0 {
                continue;
            }
            let shares = shares(registry, &Key::new(&backlog.namespace, &backlog.name));
            let total: u32 = shares.iter().map(|share| share.percent).sum();
            for share in shares.iter().filter(|share| share.percent > 0) {
                let part = f64::from(share.percent) / f64::from(total);
                coming.insert(share.revision.key().clone(), f64::from(calls) * part);
            }
        }
        coming
    }

    /// Places of those functions that count them.
    fn rooms(&self, registry: &Registry) -> Rooms {
        let backlogs = self.last.iter().flat_map(|(_, last)| &last.functions);
        let rooms = backlogs.filter_map(|backlog| {
            let shares = shares(registry, &Key::new(&backlog.namespace, &backlog.name));
            let room = |(places, queue): (u32, u32), share: &Share| {
                let (revision, settings) = (&share.revision, share.revision.settings());
                let limit = settings.is_limited().then_some(settings.concurrency)?;
                let more = revision.observe(Observed::ready).saturating_mul(limit);
                let waits = u32::try_from(revision.scale().queue).unwrap_or(u32::MAX);
                Some((places.saturating_add(more), queue.saturating_add(waits)))
            };
            let room = shares.iter().try_fold((0, 0), room);
            let (places, queue) = room.filter(|_| !shares.is_empty())?;
            Some(Room {
                namespace: backlog.namespace.clone(),
                name: backlog.name.clone(),
                places,
                queue,
            })
        });
        Rooms {
            functions: rooms.collect(),
        }
    }
}

/// Where the requests of a Function go.
fn shares(registry: &Registry, function: &Key) -> Box<[Share]> {
    match registry.function(function).map(|known| known.traffic()) {
        Some(traffic) => match &*traffic {
            Traffic::To(shares) => shares.clone(),
            Traffic::Unknown { .. } | Traffic::Failed(_) => Box::default(),
        },
        None => Box::default(),
    }
}
