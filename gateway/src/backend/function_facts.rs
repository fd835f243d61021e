//! What the gateway keeps of a Function.

use std::{sync::Arc, time::Duration};

use fermata_crds::{
    Function, TrafficTarget, Visibility, conditions,
    routes::{Claim, ClaimPolicy, Claimant, claims},
    template::DEFAULT_START_TIMEOUT,
};

use super::{topics::Heard, triggers::FunctionTriggers};

/// The facts of one Function that routing needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionFacts {
    /// Where its requests go, as the operator says.
    pub(crate) traffic: Vec<TrafficTarget>,
    /// Its newest Revision.
    pub(crate) latest_created: Option<Box<str>>,
    /// Why it is not ready, if the operator has decided so about its present spec.
    pub(crate) failure: Option<Arc<str>>,
    /// Whether only in-cluster hosts lead to it.
    pub(crate) cluster_only: bool,
    /// How long a request waits for a start.
    pub(crate) start_timeout: Duration,
    /// How many requests wait.
    pub(crate) queue: usize,
    /// The hosts and paths it asks for, and who it is among those that ask for the same. Most
    /// functions ask for none.
    pub(crate) claims: Option<Box<(Claimant, Vec<Claim>)>>,
    /// How calls are made whose callers do not wait (`spec.delivery`), as JSON. Most functions do not say.
    pub(crate) delivery: Option<Arc<str>>,
    /// What calls it at times. Most functions have nothing of that.
    pub(crate) triggers: Option<Arc<FunctionTriggers>>,
    /// The topics that it hears. Most functions hear none.
    pub(crate) heard: Option<Box<Heard>>,
}

// === impl FunctionFacts ===

impl Default for FunctionFacts {
    fn default() -> Self {
        Self {
            traffic: Vec::new(),
            latest_created: None,
            failure: None,
            cluster_only: false,
            start_timeout: DEFAULT_START_TIMEOUT,
            queue: 1000,
            claims: None,
            delivery: None,
            triggers: None,
            heard: None,
        }
    }
}

impl FunctionFacts {
    /// The facts of the Function. Of its claims only those that the policy allows are any.
    #[must_use]
    pub(crate) fn of(function: &Function, policy: &ClaimPolicy) -> Self {
        let status = function.status.as_ref();
        let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
        let mut claims = claims(function);
        claims.retain(|claim| policy.check(namespace, claim).is_ok());
        Self {
            traffic: status
                .map(|status| status.traffic.clone())
                .unwrap_or_default(),
            latest_created: status
                .and_then(|status| status.latest_created_revision.as_deref())
                .map(Into::into),
            failure: failure(function),
            cluster_only: function.spec.expose().visibility() == Visibility::Cluster,
            start_timeout: function.spec.template.timeouts().start(),
            queue: function.spec.scale().queue() as usize,
            claims: (!claims.is_empty()).then(|| Box::new((Claimant::of(function), claims))),
            delivery: delivery(function),
            triggers: FunctionTriggers::of(function),
            heard: Heard::of(function),
        }
    }
}

fn delivery(function: &Function) -> Option<Arc<str>> {
    let delivery = function.spec.delivery.as_ref()?;
    serde_json::to_string(delivery).ok().map(Into::into)
}

fn failure(function: &Function) -> Option<Arc<str>> {
    let status = function.status.as_ref()?;
    if status.observed_generation < function.metadata.generation {
        return None;
    }
    let ready = conditions::find(&status.conditions, conditions::READY)?;
    (ready.status == "False").then(|| {
        if ready.message.is_empty() {
            ready.reason.as_str().into()
        } else {
            ready.message.as_str().into()
        }
    })
}
