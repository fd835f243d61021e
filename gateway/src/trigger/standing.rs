//! Writes into the status of Functions what waits for them, and how their triggers stand that hear topics.
//!
//! The gateway does it that calls functions at times, since both write one list. What waits changes all the time: it is
//! written when it comes to be, is gone or changes by an order of magnitude, else at most every half a minute, and of all
//! functions together no more often than the API server bears.

mod tell;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use fermata_crds::{
    Function,
    backlog::{Standing, Standings},
};
use fermata_daemon::{lease::Claim, watch::Key};
use futures::{StreamExt as _, stream};
use kube::Client;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::record;
use crate::{
    backend::{
        registry::Registry,
        triggers::{FunctionTriggers, topics},
    },
    cluster::{events::EventsQuery, watch::Health},
};

use tell::Told;

/// How often the events program is asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The most functions whose status is written after one look, and those of one namespace.
const MOST_WRITES: (usize, usize) = (50, 25);

/// Functions whose status is written at once.
const WRITERS: usize = 4;

/// What writes it, in one gateway.
pub(crate) struct Teller {
    /// The functions.
    pub(crate) registry: Arc<Registry>,
    /// Nothing is decided before the watches are up.
    pub(crate) health: Arc<Health>,
    /// Whether this gateway acts.
    pub(crate) leader: Claim,
    /// Where it is written.
    pub(crate) client: Client,
    /// Who knows it; nothing waits where there is no such program.
    pub(crate) events: Option<EventsQuery>,
}

/// A function whose status is to be another one.
struct News {
    key: Key,
    uid: Box<str>,
    standing: Option<Standing>,
}

// === impl Teller ===

impl std::fmt::Debug for Teller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Teller").finish_non_exhaustive()
    }
}

impl Teller {
    /// Works until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut written = HashMap::new();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if !self.leader.is_current() || !self.health.is_synced() {
                written.clear();
                continue;
            }
            if stop
                .run_until_cancelled(self.round(&mut written))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn round(&self, written: &mut HashMap<Key, Instant>) {
        let standings = match &self.events {
            None => Standings {
                functions: Vec::new(),
                complete: true,
            },
            Some(events) => match events.get("/standings").await {
                Ok(standings) => standings,
                Err(error) => {
                    // What was written last stands: nobody knows better.
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "it is not known what waits for functions");
                    return;
                }
            },
        };
        let now = Instant::now();
        written.retain(|_, at: &mut Instant| *at + tell::LEAST_AGE > now);
        let news = self.news(standings, written, now);
        written.extend(news.iter().map(|news| (news.key.clone(), now)));
        stream::iter(news)
            .for_each_concurrent(WRITERS, |news| self.write(news))
            .await;
    }

    /// The functions of which there is something new to tell, as many as may be written now.
    fn news(
        &self,
        standings: Standings,
        written: &HashMap<Key, Instant>,
        now: Instant,
    ) -> Vec<News> {
        let known: HashMap<Key, Arc<FunctionTriggers>> =
            self.registry.triggers().into_iter().collect();
        let mut heard = HashSet::new();
        let mut all = Vec::new();
        for standing in standings.functions {
            let key = Key::new(&standing.namespace, &standing.name);
            let function = self.registry.function(&key);
            // What an earlier function of the name has left is nothing of this one.
            if function.is_some_and(|function| *function.uid() == *standing.uid) {
                heard.insert(key.clone());
                all.push(News {
                    key,
                    uid: standing.uid.clone(),
                    standing: Some(standing),
                });
            }
        }
        if standings.complete {
            let silent = known.iter().filter(|(key, _)| !heard.contains(*key));
            all.extend(silent.map(|(key, triggers)| News {
                key: key.clone(),
                uid: triggers.uid.clone(),
                standing: None,
            }));
        }
        all.retain(|news| {
            let triggers = known.get(&news.key).map(|triggers| &**triggers);
            let told = triggers.map(Told::of_triggers).unwrap_or_default();
            let topics = triggers.map(|triggers| &*triggers.topics);
            let wanted = told.wanted(topics.unwrap_or_default(), news.standing.as_ref());
            let is_old = !written.contains_key(&news.key);
            told.is_news(&wanted, is_old)
        });
        chosen(all, written, now)
    }

    async fn write(&self, news: News) {
        let News { key, uid, standing } = news;
        let decide = |function: &Function| {
            if !self.leader.is_current() || function.metadata.uid.as_deref() != Some(&*uid) {
                return None;
            }
            let told = Told::of(function);
            let wanted = told.wanted(&topics(function), standing.as_ref());
            (told != wanted).then(|| (wanted.patch(), ()))
        };
        if let Err(error) = record::change(&self.client, &key, decide).await {
            tracing::warn!(
                function = %key,
                error = &error as &dyn std::error::Error,
                "what waits for a function cannot be written; trying again",
            );
        }
    }
}

/// As many as may be written now: those first that were not written for the longest time, and not those of one
/// namespace alone.
fn chosen(mut all: Vec<News>, written: &HashMap<Key, Instant>, now: Instant) -> Vec<News> {
    all.sort_by_key(|news| {
        let age = written.get(&news.key).map(|at| now.duration_since(*at));
        std::cmp::Reverse(age.unwrap_or(Duration::MAX))
    });
    let mut of_namespace: HashMap<Box<str>, usize> = HashMap::new();
    all.retain(|news| {
        let count = of_namespace.entry(news.key.namespace.clone()).or_default();
        *count += 1;
        *count <= MOST_WRITES.1
    });
    all.truncate(MOST_WRITES.0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_does_not_use_up_all_writes_and_the_oldest_go_first() {
        let now = Instant::now();
        let news = |namespace: &str, number: usize| News {
            key: Key::new(namespace, &format!("f{number}")),
            uid: "u".into(),
            standing: None,
        };
        let many = || (0..1000).map(|number| news("many", number));
        let all: Vec<News> = many()
            .chain((0..10).map(|number| news("few", number)))
            .collect();
        let written: HashMap<Key, Instant> = many().take(990).map(|news| (news.key, now)).collect();
        let chosen = chosen(all, &written, now);
        let of = |namespace: &str| {
            let keys = chosen.iter().map(|news| &news.key);
            keys.filter(|key| &*key.namespace == namespace).count()
        };
        assert_eq!((of("few"), of("many")), (10, MOST_WRITES.1));
        let last = Key::new("many", "f999");
        assert!(chosen.iter().any(|news| news.key == last));
    }
}
