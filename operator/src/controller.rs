//! Runs reconciles: bounded, one at a time for each object, and again later when they fail. The
//! one place where results are counted and logged.

use std::{error::Error, fmt::Debug, pin::Pin, sync::Arc, time::Instant};

use fermata_daemon::watch::Key;
use futures::{FutureExt as _, StreamExt as _};
use kube::{
    Resource,
    runtime::{
        applier,
        controller::{self, Action},
        reflector::Store,
    },
};
use tokio::task::JoinError;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument as _, debug, warn};

use crate::{
    backoff::Backoff,
    context::Context,
    metrics::{Controller, Outcome},
    queue::Queue,
};

/// How a reconcile went, and when to come back.
#[derive(Clone, Debug)]
pub(crate) struct Reconciled {
    pub(crate) outcome: Outcome,
    pub(crate) action: Action,
}

/// A failure of a reconcile.
pub(crate) trait Failure: Error + Send + Sync + 'static {
    /// Whether it is in the nature of things, such as an object that somebody else has just
    /// changed, and not worth a warning.
    fn is_routine(&self) -> bool;

    /// Which kind of failure it is, in one word that never changes: for metrics.
    fn category(&self) -> &'static str;
}

/// A reconcile under way.
pub(crate) type Reconcile<E> = Pin<Box<dyn Future<Output = Result<Reconciled, E>> + Send>>;

/// What one controller works with.
pub(crate) struct Work<K: Resource<DynamicType = ()> + 'static, E> {
    pub(crate) name: Controller,
    pub(crate) store: Store<K>,
    pub(crate) queue: Arc<Queue<K>>,
    pub(crate) context: Arc<Context>,
    pub(crate) backoff: Arc<Backoff>,
    pub(crate) reconcile: fn(Arc<K>, Arc<Context>) -> Reconcile<E>,
}

/// Why an attempt brought nothing.
#[derive(Debug, thiserror::Error)]
enum Attempt<E: Error + 'static> {
    #[error("the reconcile failed")]
    Failed(#[source] E),
    #[error("the reconcile did not come to an end")]
    Broken(#[source] JoinError),
}

// === impl Reconciled ===

impl Reconciled {
    /// All is well until something changes.
    pub(crate) fn done() -> Self {
        Self {
            outcome: Outcome::Ok,
            action: Action::await_change(),
        }
    }
}

// === impl Work ===

impl<K, E> Work<K, E>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    E: Failure,
{
    /// Reconciles what the queue names until the shutdown; what is running then is finished.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let Self {
            name,
            store,
            queue,
            context,
            backoff,
            reconcile,
        } = self;
        let config = controller::Config::default().concurrency(context.options.concurrency);
        let (policy, gone) = (backoff.clone(), backoff.clone());
        let due = queue.stream().take_until(shutdown.cancelled_owned());
        let results = applier(
            move |object: Arc<K>, context: Arc<Context>| {
                let work = attempt(name, object, context, reconcile, backoff.clone());
                AbortOnDropHandle::new(tokio::spawn(work.in_current_span()))
                    .map(|joined| joined.unwrap_or_else(|error| Err(Attempt::Broken(error))))
            },
            move |object: Arc<K>, error: &Attempt<E>, _| {
                let delay = policy.failed(&Key::of(&*object));
                match error {
                    Attempt::Failed(failure) if failure.is_routine() => {
                        debug!(?delay, error = error as &dyn Error, "trying again");
                    }
                    _ => warn!(?delay, error = error as &dyn Error, "trying again"),
                }
                Action::requeue(delay)
            },
            context,
            store,
            due,
            config,
        );
        results
            .for_each(|result| {
                // Failures were logged where they happened; what is left is an object that went
                // while it waited.
                if let Err(controller::Error::ObjectNotFound(object)) = result {
                    debug!(%object, "gone before its turn");
                    let namespace = object.namespace.as_deref().unwrap_or_default();
                    gone.forget(&Key::new(namespace, &object.name));
                }
                std::future::ready(())
            })
            .await;
    }
}

async fn attempt<K, E>(
    name: Controller,
    object: Arc<K>,
    context: Arc<Context>,
    reconcile: fn(Arc<K>, Arc<Context>) -> Reconcile<E>,
    backoff: Arc<Backoff>,
) -> Result<Action, Attempt<E>>
where
    K: Resource<DynamicType = ()>,
    E: Failure,
{
    let started = Instant::now();
    let key = Key::of(&*object);
    let result = reconcile(object, context.clone()).await;
    let outcome = match &result {
        Ok(reconciled) => reconciled.outcome,
        Err(error) => {
            context.metrics.failed(name, error.category());
            Outcome::Error
        }
    };
    context.metrics.reconciled(name, outcome, started);
    let reconciled = result.map_err(Attempt::Failed)?;
    backoff.forget(&key);
    Ok(reconciled.action)
}

#[cfg(test)]
mod tests {
    use fermata_crds::Function;
    use fermata_daemon::watch::WatchEvent;
    use kube::ResourceExt as _;

    use super::*;
    use crate::fixtures;

    #[derive(Debug, thiserror::Error)]
    #[error("it always fails")]
    struct Always;

    impl Failure for Always {
        fn is_routine(&self) -> bool {
            true
        }

        fn category(&self) -> &'static str {
            "always"
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_goes_while_it_fails_is_forgotten() {
        let context = Arc::new(fixtures::context());
        let cluster = context.cluster.clone();
        let backoff = Arc::new(Backoff::default());
        let work = Work {
            name: Controller::Function,
            store: cluster.functions.store(),
            queue: cluster.function_queue.clone(),
            context,
            backoff: backoff.clone(),
            reconcile: |_: Arc<Function>, _| Box::pin(std::future::ready(Err(Always))),
        };
        let shutdown = CancellationToken::new();
        let controller = tokio::spawn(work.run(shutdown.clone()));
        let function = fixtures::function("image: a");
        cluster.functions.remember(function.clone());
        cluster.function_queue.push(Key::of(&function));
        while backoff.remembered() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        cluster.functions.observe(WatchEvent::Gone {
            key: Key::of(&function),
            uid: function.uid().unwrap_or_default(),
        });
        // Its next try is due within the longest wait, and finds that it is gone.
        tokio::time::sleep(std::time::Duration::from_secs(120)).await;
        assert_eq!(backoff.remembered(), 0);
        shutdown.cancel();
        controller.await.expect("a clean end");
    }
}
