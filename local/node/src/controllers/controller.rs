//! What all controllers have alike: how they run, what they try again, and what they read first.

use std::{fmt::Debug, hash::Hash, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, Client, Resource,
    runtime::controller::{Action, Config, Controller},
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{Error, api};

/// Objects of one kind that are worked on at the same time.
const CONCURRENCY: u16 = 16;

/// Pause after a failure.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// Runs a controller until the shutdown.
pub(super) async fn run<K, F>(
    controller: Controller<K>,
    reconcile: impl FnMut(Arc<K>, Arc<Client>) -> F,
    client: Client,
    shutdown: CancellationToken,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Clone + Debug + Eq + Hash + Unpin,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, |_, error, _| retry(error), Arc::new(client))
        .for_each(|_| async {})
        .await;
}

/// What to do after a failed reconcile.
fn retry(error: &Error) -> Action {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "a controller failed on an object and tries it again"
    );
    Action::requeue(RETRY)
}

/// The object as it is now; none when it is gone, or going. What the cache has may be behind, and a decision on old
/// numbers would be undone a moment later.
pub(super) async fn current<K>(
    objects: &Api<K>,
    name: &str,
    what: &'static str,
) -> Result<Option<K>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let found = objects.get_opt(name).await.map_err(api(what))?;
    Ok(found.filter(|object| object.meta().deletion_timestamp.is_none()))
}
