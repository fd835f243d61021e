//! Asking the operator to look, not more often than it does any good.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fermata_crds::{Function, names::LOOK_ANNOTATION};
use fermata_daemon::watch::Key;
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The least time between two looks of a function.
const PAUSE: Duration = Duration::from_secs(5);

/// For how long a look that was promised is tried.
const PROMISED: Duration = Duration::from_secs(600);

/// The most functions that are within their pause.
const MOST: usize = 10_000;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who may tell of a look.
const FIELD_MANAGER: &str = "fermata-webhooks";

/// What became of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// A look was asked for, or will be within the pause.
    Yes,
    /// There is no such function any more.
    Gone,
    /// It cannot be asked now.
    No,
}

/// The looks that were asked for.
#[derive(Clone)]
pub(super) struct Looks(Arc<Shared>);

struct Shared {
    client: Client,
    /// The functions within their pause, and whether another look follows at its end.
    paused: Mutex<HashMap<Key, bool>>,
    tasks: TaskTracker,
    /// Pauses are over.
    hurry: CancellationToken,
}

// === impl Looks ===

impl Looks {
    pub(super) fn new(client: Client) -> Self {
        Self(Arc::new(Shared {
            client,
            paused: Mutex::default(),
            tasks: TaskTracker::new(),
            hurry: CancellationToken::new(),
        }))
    }

    /// Asks for a look at the function's repository. Within the pause after one, it is asked for at its end.
    pub(super) async fn ask(&self, function: &Key) -> Asked {
        {
            let mut paused = self.0.paused();
            if let Some(again) = paused.get_mut(function) {
                *again = true;
                return Asked::Yes;
            }
            if paused.len() >= MOST {
                return Asked::No;
            }
            paused.insert(function.clone(), false);
        }
        let (tell, told) = oneshot::channel();
        let (shared, function) = (self.0.clone(), function.clone());
        // It goes on when the one who delivers goes away.
        self.0
            .tasks
            .spawn(async move { shared.look(function, tell).await });
        told.await.unwrap_or(Asked::No)
    }

    /// Asks for what was promised, and ends.
    pub(super) async fn finish(self) {
        self.0.hurry.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

// === impl Shared ===

impl Shared {
    /// Asks for a look now, and for another one after the pause if somebody wants it.
    async fn look(&self, function: Key, tell: oneshot::Sender<Asked>) {
        let asked = self.patch(&function).await;
        // Who has gone away does not have to hear of it.
        let _ = tell.send(asked);
        let mut promised = None;
        let mut pause = if asked == Asked::Yes {
            PAUSE
        } else {
            Duration::ZERO
        };
        loop {
            tokio::select! {
                () = time::sleep(pause) => {}
                () = self.hurry.cancelled() => {}
            }
            {
                let mut paused = self.paused();
                let again = paused.get_mut(&function);
                if promised.is_none() && !again.as_ref().is_some_and(|again| **again) {
                    paused.remove(&function);
                    return;
                }
                if let Some(again) = again {
                    *again = false;
                }
            }
            let since = *promised.get_or_insert_with(Instant::now);
            match self.patch(&function).await {
                Asked::Yes => (promised, pause) = (None, PAUSE),
                Asked::No if since.elapsed() < PROMISED && !self.hurry.is_cancelled() => {
                    pause = PAUSE;
                }
                Asked::Gone | Asked::No => {
                    tracing::warn!(function = %function, "a look was promised and cannot be asked for");
                    self.paused().remove(&function);
                    return;
                }
            }
        }
    }

    /// Writes the annotation, and nothing else.
    async fn patch(&self, function: &Key) -> Asked {
        let text = Timestamp::now().to_string();
        let patch = json!({"metadata": {"annotations": {LOOK_ANNOTATION: text}}});
        let functions = Api::<Function>::namespaced(self.client.clone(), &function.namespace);
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let patched = functions.patch_metadata(&function.name, &parameters, &patch);
        let error = match time::timeout(PATIENCE, patched).await {
            Ok(Ok(_)) => {
                tracing::info!(function = %function, "a look was asked for");
                return Asked::Yes;
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Asked::Gone,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the API server does not answer".to_owned(),
        };
        tracing::warn!(function = %function, error, "a look cannot be asked for");
        Asked::No
    }

    fn paused(&self) -> MutexGuard<'_, HashMap<Key, bool>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
