//! What happens to the platform meanwhile.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use fermata_tests::{Cluster, SYSTEM, Space};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use tokio::time::{Instant, sleep};

use crate::{accounts::Accounts, dice::Dice, error::SoakError, functions::Functions};

/// Between two events.
const PAUSE: Duration = Duration::from_secs(8);

/// Between two of those that take a part of the platform away: kubelets wait longer after each.
const PAUSE_BETWEEN_KILLS: Duration = Duration::from_secs(90);

/// How many gateways and operators the chart has.
const REPLICAS: usize = 2;

/// How long the API may refuse what is done before that ends everything.
const MISSED: Duration = Duration::from_secs(60);

/// One thing that happens.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Event {
    Rollout,
    InstanceDeleted,
    GatewayKilled,
    GatewayDeleted,
    OperatorKilled,
}

/// What happens everywhere, and what only a cluster has.
const EVERYWHERE: [Event; 2] = [Event::Rollout, Event::InstanceDeleted];
const ON_A_CLUSTER: [Event; 3] = [
    Event::GatewayKilled,
    Event::GatewayDeleted,
    Event::OperatorKilled,
];

/// Who does it.
pub(crate) struct Chaos {
    space: Space,
    cluster: Option<Cluster>,
    functions: Functions,
    accounts: Arc<Accounts>,
    dice: Dice,
    round: u64,
    killed: Instant,
    done: BTreeMap<Event, usize>,
}

// === impl Event ===

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rollout => "a function was rolled out",
            Self::InstanceDeleted => "an instance was deleted",
            Self::GatewayKilled => "a gateway was killed (SIGKILL)",
            Self::GatewayDeleted => "a gateway was deleted",
            Self::OperatorKilled => "an operator was killed (SIGKILL)",
        })
    }
}

// === impl Chaos ===

impl Chaos {
    pub(crate) fn new(
        space: &Space,
        functions: &Functions,
        accounts: Arc<Accounts>,
        seed: u64,
    ) -> Self {
        Self {
            space: space.clone(),
            cluster: Cluster::around(space.clone()),
            functions: *functions,
            accounts,
            dice: Dice::new(seed),
            round: 0,
            killed: Instant::now(),
            done: BTreeMap::new(),
        }
    }

    /// How often what has happened.
    pub(crate) fn done(&self) -> BTreeMap<Event, usize> {
        self.done.clone()
    }

    /// Goes on for ever, or until the API refuses everything for a minute.
    pub(crate) async fn go_on(&mut self) -> SoakError {
        let mut missed: Option<Instant> = None;
        loop {
            sleep(PAUSE).await;
            let event = self.next();
            match self.cause(event).await {
                Ok(true) => {
                    *self.done.entry(event).or_default() += 1;
                    missed = None;
                }
                // There was nothing that it could happen to.
                Ok(false) => missed = None,
                Err(error) => {
                    let since = missed.get_or_insert_with(Instant::now).elapsed();
                    if since > MISSED {
                        return SoakError::Gone(since, Some(error));
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Event {
        let due = self.cluster.is_some() && self.killed.elapsed() > PAUSE_BETWEEN_KILLS;
        let events: &[Event] = if due { &ON_A_CLUSTER } else { &EVERYWHERE };
        let event = self.dice.pick(events);
        event.copied().unwrap_or(Event::Rollout)
    }

    /// Lets it happen; false if it cannot now.
    async fn cause(&mut self, event: Event) -> Result<bool, kube::Error> {
        match event {
            Event::Rollout => self.roll_out().await,
            Event::InstanceDeleted => self.delete_instance().await,
            Event::GatewayKilled => self.take_away("gateway", true).await,
            Event::GatewayDeleted => self.take_away("gateway", false).await,
            Event::OperatorKilled => self.take_away("operator", true).await,
        }
    }

    async fn roll_out(&mut self) -> Result<bool, kube::Error> {
        let names: Vec<&str> = Functions::names().collect();
        let Some(name) = self.dice.pick(&names) else {
            return Ok(false);
        };
        self.round += 1;
        let manifest = self.functions.manifest(name, self.round);
        self.space.try_apply(&manifest).await.map(|_| true)
    }

    async fn delete_instance(&mut self) -> Result<bool, kube::Error> {
        let pods: Api<Pod> = self.space.api();
        let stays = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        let all = pods.list(&ListParams::default()).await?;
        let names: Vec<String> = all
            .iter()
            .filter(stays)
            .map(ResourceExt::name_any)
            .collect();
        match self.dice.pick(&names) {
            Some(name) => delete(&pods, name).await,
            None => Ok(false),
        }
    }

    /// Takes away one of the two, while both are there: without any there is no platform.
    async fn take_away(&mut self, component: &str, kill: bool) -> Result<bool, kube::Error> {
        let Some(cluster) = &self.cluster else {
            return Ok(false);
        };
        for all in ["gateway", "operator"] {
            if cluster.try_replicas(all).await?.len() < REPLICAS {
                return Ok(false);
            }
        }
        let replicas = cluster.try_replicas(component).await?;
        let Some(replica) = self.dice.pick(&replicas) else {
            return Ok(false);
        };
        if !kill {
            let pods: Api<Pod> = Api::namespaced(self.space.client.clone(), SYSTEM);
            self.killed = Instant::now();
            return delete(&pods, &replica.pod).await;
        }
        if component == "gateway" {
            self.accounts.kill();
        }
        self.killed = Instant::now();
        // One that has ended by itself meanwhile is not there to be killed.
        Ok(cluster.try_kill(replica).is_ok())
    }
}

async fn delete(pods: &Api<Pod>, name: &str) -> Result<bool, kube::Error> {
    match pods.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
