//! Garbage collection: what belongs to an owner that is gone goes too
//! (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/>).

mod graph;

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{DynamicObject, PartialObjectMeta},
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time;
use tokio_util::sync::CancellationToken;

use self::graph::{Entry, Graph, Step};
use super::{
    Error, api, is_gone,
    kinds::{self, Kind},
};

/// Writes under way at the same time.
const AT_ONCE: usize = 16;

/// Pause before a step that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn run(client: Client, shutdown: CancellationToken) {
    let mut changes = std::pin::pin!(kinds::changes(&client));
    loop {
        let round = async {
            let kinds = match kinds::list(&client).await {
                Ok(kinds) => kinds,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the kinds to collect are not known yet"
                    );
                    time::sleep(RETRY).await;
                    return;
                }
            };
            let collecting = Collector::new(client.clone(), kinds.clone()).collect();
            let mut collecting = std::pin::pin!(collecting);
            // Definitions change more often than the kinds they define: their status does.
            loop {
                tokio::select! {
                    () = &mut collecting => return,
                    _ = changes.next() => {
                        if kinds::list(&client).await.is_ok_and(|now| now != kinds) {
                            return;
                        }
                    }
                }
            }
        };
        if shutdown.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

/// Collects garbage among a fixed set of kinds.
struct Collector {
    client: Client,
    kinds: Vec<Kind>,
    graph: Graph,
    /// Kinds whose first list is not complete yet; until then an owner may just not be known.
    unlisted: BTreeSet<usize>,
}

type Event = (usize, watcher::Event<PartialObjectMeta<DynamicObject>>);

// === impl Collector ===

impl Collector {
    fn new(client: Client, kinds: Vec<Kind>) -> Self {
        let unlisted = (0..kinds.len()).collect();
        Self {
            client,
            kinds,
            graph: Graph::default(),
            unlisted,
        }
    }

    async fn collect(mut self) {
        let watches = self.kinds.iter().enumerate().map(|(index, kind)| {
            let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(
                self.client.clone(),
                &kind.resource,
            );
            watcher(api, watcher::Config::default())
                .default_backoff()
                .filter_map(async |event| event.ok())
                .map(move |event| (index, event))
                .boxed()
        });
        let mut events = stream::select_all(watches).ready_chunks(1024);
        let mut due = BTreeSet::new();
        loop {
            let chunk = if due.is_empty() {
                events.next().await
            } else {
                // What is left has failed before.
                time::timeout(RETRY, events.next())
                    .await
                    .unwrap_or_else(|_| Some(Vec::new()))
            };
            let Some(chunk) = chunk else { return };
            for event in chunk {
                due.extend(self.see(event));
            }
            if self.unlisted.is_empty() {
                due = self.work(due).await;
            }
        }
    }

    fn see(&mut self, (kind, event): Event) -> BTreeSet<String> {
        match event {
            watcher::Event::Init => {
                self.graph.begin_list(kind);
                BTreeSet::new()
            }
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                Entry::of(kind, &object.metadata)
                    .map(|entry| self.graph.put(entry))
                    .unwrap_or_default()
            }
            watcher::Event::InitDone => {
                self.unlisted.remove(&kind);
                self.graph.end_list(kind)
            }
            watcher::Event::Delete(object) => object
                .metadata
                .uid
                .map(|uid| self.graph.remove(&uid))
                .unwrap_or_default(),
        }
    }

    /// Does what is due; gives back what has to be tried again.
    async fn work(&self, due: BTreeSet<String>) -> BTreeSet<String> {
        stream::iter(due)
            .map(async |uid| {
                let step = self.graph.step(&uid)?;
                match self.take(&uid, step).await {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::warn!(
                            uid,
                            error = &error as &dyn std::error::Error,
                            "garbage collection failed and is tried again"
                        );
                        Some(uid)
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(async |failed| failed)
            .collect()
            .await
    }

    async fn take(&self, uid: &str, step: Step) -> Result<(), Error> {
        let Some(entry) = self.graph.get(uid) else {
            return Ok(());
        };
        match step {
            Step::CheckOwners => {
                let mut gone = Vec::new();
                for owner in &entry.owners {
                    if !self.graph.contains(&owner.uid) && self.is_absent(entry, owner).await? {
                        gone.push(owner.uid.clone());
                    }
                }
                if gone.len() == entry.owners.len() {
                    self.delete(entry, PropagationPolicy::Background).await
                } else if gone.is_empty() {
                    Ok(())
                } else {
                    self.disown(entry, &gone).await
                }
            }
            Step::DeleteForOwner => self.delete(entry, PropagationPolicy::Foreground).await,
            Step::OrphanDependents(dependents) => {
                for dependent in dependents
                    .iter()
                    .filter_map(|dependent| self.graph.get(dependent))
                {
                    self.disown(dependent, &[uid.to_owned()]).await?;
                }
                self.release(entry, graph::ORPHAN).await
            }
            Step::Release => self.release(entry, graph::FOREGROUND).await,
        }
    }

    fn api(&self, entry: &Entry) -> Option<Api<DynamicObject>> {
        let kind = self.kinds.get(entry.kind)?;
        Some(self.api_of(kind, entry.namespace.as_deref()))
    }

    fn api_of(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if kind.namespaced => {
                Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
            }
            _ => Api::all_with(self.client.clone(), &kind.resource),
        }
    }

    /// Asks the API itself: the watch of the owner's kind may be behind.
    async fn is_absent(&self, entry: &Entry, owner: &graph::Owner) -> Result<bool, Error> {
        let kind = self.kinds.iter().find(|kind| {
            kind.resource.kind == owner.kind
                && owner.api_version.split('/').next()
                    == kind.resource.api_version.split('/').next()
        });
        // An owner of a kind that is not served may come back with its definition.
        let Some(kind) = kind else { return Ok(false) };
        let found = self
            .api_of(kind, entry.namespace.as_deref())
            .get_metadata_opt(&owner.name)
            .await
            .map_err(api("read an owner"))?;
        Ok(found.is_none_or(|found| found.metadata.uid.as_deref() != Some(owner.uid.as_str())))
    }

    async fn delete(&self, entry: &Entry, policy: PropagationPolicy) -> Result<(), Error> {
        let Some(objects) = self.api(entry) else {
            return Ok(());
        };
        let preconditions = Some(Preconditions {
            uid: Some(entry.uid.clone()),
            resource_version: None,
        });
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions,
            ..DeleteParams::default()
        };
        match objects.delete(&entry.name, &params).await {
            Err(error) if is_gone(&error) => Ok(()),
            result => result.map(drop).map_err(api("delete a dependent")),
        }
    }

    /// Takes owners out of an object's references.
    async fn disown(&self, entry: &Entry, owners: &[String]) -> Result<(), Error> {
        self.edit(entry, |metadata| {
            if let Some(references) = &mut metadata.owner_references {
                references.retain(|reference| !owners.contains(&reference.uid));
            }
        })
        .await
    }

    /// Takes a finalizer off, so that the object can go.
    async fn release(&self, entry: &Entry, finalizer: &str) -> Result<(), Error> {
        self.edit(entry, |metadata| {
            if let Some(finalizers) = &mut metadata.finalizers {
                finalizers.retain(|own| own != finalizer);
            }
        })
        .await
    }

    /// Changes lists in an object's metadata, guarded by its resourceVersion: a merge patch
    /// replaces a list as a whole.
    async fn edit(
        &self,
        entry: &Entry,
        change: impl Fn(&mut kube::api::ObjectMeta),
    ) -> Result<(), Error> {
        let Some(objects) = self.api(entry) else {
            return Ok(());
        };
        let Some(object) = objects
            .get_metadata_opt(&entry.name)
            .await
            .map_err(api("read a dependent"))?
        else {
            return Ok(());
        };
        let mut metadata = object.metadata;
        if metadata.uid.as_deref() != Some(entry.uid.as_str()) {
            return Ok(());
        }
        change(&mut metadata);
        let patch = Patch::Merge(serde_json::json!({"metadata": {
            "resourceVersion": metadata.resource_version,
            "ownerReferences": metadata.owner_references,
            "finalizers": metadata.finalizers,
        }}));
        match objects
            .patch(&entry.name, &PatchParams::default(), &patch)
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            result => result.map(drop).map_err(api("change a dependent")),
        }
    }
}
