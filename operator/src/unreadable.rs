//! Functions and Revisions that cannot be read say so in their own status, and what was known of them
//! stays in force. Everything else goes on.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fermata_crds::{
    conditions::{self, Outcome, Status, shortened},
    names::OPERATOR_FIELD_MANAGER,
};
use fermata_daemon::lease::Claim;
use fermata_daemon::watch::{Key, Names, Unreadable};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{reasons, writes};

/// The pause before those that could not be told are tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The longest part of the reader's error that is told, in bytes.
const LONGEST_ERROR: usize = 1024;

/// A kind whose objects have conditions that are the operator's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Kind {
    /// Functions.
    Function,
    /// Revisions.
    Revision,
}

/// The objects that cannot be read: never more than there are.
#[derive(Default)]
pub(crate) struct UnreadableObjects {
    known: Mutex<HashMap<(Kind, Key), Report>>,
    changed: Notify,
}

#[derive(Clone, Debug)]
struct Report {
    uid: String,
    generation: Option<i64>,
    error: String,
    told: bool,
}

// === impl UnreadableObjects ===

impl UnreadableObjects {
    /// An object cannot be read. Said again of the same object it changes nothing.
    pub(crate) fn note(&self, kind: Kind, object: &Unreadable) {
        let meta = &object.metadata;
        let key = Key::of_meta(meta);
        let report = Report {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation,
            error: shortened(&object.error, LONGEST_ERROR).into_owned(),
            told: false,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.entry((kind, key)) {
            Entry::Occupied(entry) if entry.get().is_same(&report) => return,
            Entry::Occupied(mut entry) => drop(entry.insert(report)),
            Entry::Vacant(entry) => drop(entry.insert(report)),
        }
        drop(known);
        self.changed.notify_one();
    }

    /// An object can be read, or is gone.
    pub(crate) fn forget(&self, kind: Kind, key: &Key) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.is_empty() {
            known.remove(&(kind, key.clone()));
        }
    }

    /// A list is whole: what it lacks is gone.
    pub(crate) fn keep(&self, kind: Kind, names: &Names) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, key), _| *of != kind || !names.lack(key));
    }

    /// Writes the conditions while this replica leads, until the shutdown.
    pub(crate) async fn run(&self, client: Client, mut claim: Claim, shutdown: &CancellationToken) {
        let work = async {
            loop {
                claim.held().await;
                let mut failed = false;
                for (kind, key, report) in self.untold() {
                    match write(&client, kind, &key, &report).await {
                        Ok(()) => self.told(kind, &key, &report),
                        Err(error) => {
                            failed = true;
                            let error = &*error as &dyn std::error::Error;
                            debug!(?kind, %key, error, "cannot tell an object that it is unreadable");
                        }
                    }
                }
                let retry = if failed { RETRY } else { Duration::MAX };
                let _ = timeout(retry, self.changed.notified()).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    fn untold(&self) -> Vec<(Kind, Key, Report)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .filter(|(_, report)| !report.told)
            .map(|((kind, key), report)| (*kind, key.clone(), report.clone()))
            .collect()
    }

    fn told(&self, kind: Kind, key: &Key, report: &Report) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&(kind, key.clone()))
            && known.is_same(report)
        {
            known.told = true;
        }
    }
}

// === impl Report ===

impl Report {
    fn is_same(&self, other: &Self) -> bool {
        (&self.uid, self.generation, &self.error) == (&other.uid, other.generation, &other.error)
    }
}

/// The rest of the status stays as it is: traffic goes on to where it went.
async fn write(
    client: &Client,
    kind: Kind,
    key: &Key,
    report: &Report,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let outcome = Outcome {
        kind: conditions::READY,
        status: Status::False,
        reason: reasons::UNREADABLE.to_owned(),
        message: format!(
            "this object cannot be read, so that what was known of it stays in force; correct it: {}",
            report.error
        ),
    };
    let conditions = conditions::merge(&[], &[outcome], report.generation, Timestamp::now());
    let patch = Patch::Merge(json!({
        "metadata": { "uid": report.uid },
        "status": { "conditions": conditions },
    }));
    let parameters = PatchParams {
        field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let resource = match kind {
        Kind::Function => ApiResource::erase::<fermata_crds::Function>(&()),
        Kind::Revision => ApiResource::erase::<fermata_crds::Revision>(&()),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &resource);
    timeout(
        writes::TIMEOUT,
        api.patch_status(&key.name, &parameters, &patch),
    )
    .await??;
    Ok(())
}
