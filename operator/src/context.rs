//! What every reconcile works with.

use std::sync::Arc;

use fermata_daemon::events::EventSender;
use kube::Client;

use crate::{
    builds::Builds, cluster::Cluster, drift::Accepted, looks::Looks, metrics::Metrics,
    options::Options, sources::Sources, unreadable::UnreadableObjects, writes::Writes,
};

/// Shared by the controllers and the watches.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) writes: Writes,
    pub(crate) events: EventSender,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sources: Sources,
    pub(crate) looks: Looks,
    pub(crate) builds: Builds,
    pub(crate) accepted: Accepted,
    pub(crate) unreadable: UnreadableObjects,
}
