//! Deployments: a ReplicaSet for each pod template, and the way from one to the next.

mod status;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::Selector,
    runtime::{
        controller::{Action, Controller},
        watcher,
    },
};
use tokio_util::sync::CancellationToken;

use super::{Error, api, controller, is_gone, rollout, slim::Slim};

const HASH_LABEL: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

pub(super) async fn run(client: Client, shutdown: CancellationToken) {
    let (deployments, sets) = (
        Api::<Slim<Deployment>>::all(client.clone()),
        Api::<Slim<ReplicaSet>>::all(client.clone()),
    );
    let controller = Controller::new(deployments, watcher::Config::default())
        .owns(sets, watcher::Config::default());
    controller::run(controller, reconcile, client, shutdown).await;
}

async fn reconcile(seen: Arc<Slim<Deployment>>, client: Arc<Client>) -> Result<Action, Error> {
    let namespace = seen.namespace().unwrap_or_default();
    let deployments = Api::<Deployment>::namespaced((*client).clone(), &namespace);
    let sets = Api::<ReplicaSet>::namespaced((*client).clone(), &namespace);
    let name = seen.name_any();
    let Some(deployment) = controller::current(&deployments, &name, "read a Deployment").await?
    else {
        return Ok(Action::await_change());
    };
    let Some(spec) = deployment.spec.clone() else {
        return Ok(Action::await_change());
    };
    let replicas = spec.replicas.unwrap_or(1);
    let mut owned = owned_sets(&sets, &deployment, &spec.selector).await?;
    let hash = template_hash(&spec.template);
    let newest = owned.iter().map(revision).max().unwrap_or(0);
    let position = owned
        .iter()
        .position(|set| has_template(set, &spec.template));
    let paused = spec.paused == Some(true);

    let (new, created) = match position {
        Some(position) => (Some(owned.remove(position)), false),
        None if paused => (None, false),
        None => {
            let strategy = rollout::Strategy::of(&deployment, replicas);
            let counts: Vec<_> = owned.iter().map(rollout::Counts::of).collect();
            let first = rollout::next(strategy, replicas, rollout::Counts::default(), &counts).0;
            (
                Some(create(&sets, &deployment, &hash, newest + 1, first).await?),
                true,
            )
        }
    };
    // A template that came back is the newest again.
    let new = match new {
        Some(set) if !created && !owned.is_empty() && revision(&set) < newest => {
            Some(renumber(&sets, &set, newest + 1).await?)
        }
        new => new,
    };
    if let Some(new) = &new {
        if revision(&deployment) != revision(new) {
            annotate(&deployments, &deployment, revision(new)).await?;
        }
        if !paused {
            roll(&sets, &deployment, replicas, new, &owned).await?;
            prune(&sets, &owned, spec.revision_history_limit.unwrap_or(10)).await?;
        }
    }
    let next = status::status(
        &deployment,
        replicas,
        new.as_ref(),
        &owned,
        Timestamp::now(),
    );
    if deployment.status.as_ref() != Some(&next) {
        let patch = Patch::Merge(serde_json::json!({ "status": complete(&next)? }));
        match deployments
            .patch_status(&deployment.name_any(), &PatchParams::default(), &patch)
            .await
        {
            Err(error) if is_gone(&error) => {}
            result => result
                .map(drop)
                .map_err(api("write a Deployment's status"))?,
        }
    }
    Ok(
        match status::time_to_deadline(&next, spec.progress_deadline_seconds.unwrap_or(600)) {
            Some(left) => Action::requeue(left + Duration::from_millis(100)),
            None => Action::await_change(),
        },
    )
}

/// A merge patch leaves out what is absent; zero counts have to be written as such.
fn complete(status: &DeploymentStatus) -> Result<serde_json::Value, Error> {
    let mut value = serde_json::to_value(status)?;
    for name in [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ] {
        if value.get(name).is_none() {
            value[name] = serde_json::Value::Null;
        }
    }
    Ok(value)
}

async fn owned_sets(
    sets: &Api<ReplicaSet>,
    deployment: &Deployment,
    selector: &LabelSelector,
) -> Result<Vec<ReplicaSet>, Error> {
    let selector: Selector = selector.clone().try_into().unwrap_or_default();
    let listed = sets
        .list(&ListParams::default().labels_from(&selector))
        .await
        .map_err(api("list ReplicaSets"))?;
    let mut owned: Vec<ReplicaSet> = listed
        .items
        .into_iter()
        .filter(|set| set.metadata.deletion_timestamp.is_none())
        .filter(|set| {
            set.owner_references().iter().any(|owner| {
                owner.controller == Some(true)
                    && Some(&owner.uid) == deployment.metadata.uid.as_ref()
            })
        })
        .collect();
    owned.sort_by_key(revision);
    Ok(owned)
}

fn revision<K: kube::Resource>(object: &K) -> u64 {
    object
        .annotations()
        .get(REVISION)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Whether the set was made from this template, the label with its hash aside.
fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(mut own) = set.spec.as_ref().and_then(|spec| spec.template.clone()) else {
        return false;
    };
    if let Some(metadata) = &mut own.metadata
        && let Some(labels) = &mut metadata.labels
    {
        labels.remove(HASH_LABEL);
    }
    own == *template
}

/// A short name for a template, in the characters that Kubernetes uses for it.
fn template_hash(template: &PodTemplateSpec) -> String {
    let mut hasher = DefaultHasher::new();
    // serde_json keeps its maps sorted, so equal templates are equal text.
    serde_json::to_string(template)
        .unwrap_or_default()
        .hash(&mut hasher);
    let alphabet = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = hasher.finish();
    (0..10)
        .map(|_| {
            let at = usize::try_from(rest % alphabet.len() as u64).unwrap_or(0);
            rest /= alphabet.len() as u64;
            char::from(alphabet[at])
        })
        .collect()
}

async fn create(
    sets: &Api<ReplicaSet>,
    deployment: &Deployment,
    hash: &str,
    number: u64,
    replicas: i32,
) -> Result<ReplicaSet, Error> {
    let spec = deployment.spec.clone().unwrap_or_default();
    let mut template = spec.template;
    let with_hash = |labels: Option<BTreeMap<String, String>>| {
        let mut labels = labels.unwrap_or_default();
        labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
        labels
    };
    let metadata = template.metadata.get_or_insert_default();
    let labels = with_hash(metadata.labels.take());
    metadata.labels = Some(labels.clone());
    let mut annotations = deployment.annotations().clone();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    annotations.insert(REVISION.to_owned(), number.to_string());
    annotations.insert(
        "deployment.kubernetes.io/desired-replicas".to_owned(),
        spec.replicas.unwrap_or(1).to_string(),
    );
    let set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: deployment
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector {
                match_labels: Some(with_hash(spec.selector.match_labels)),
                ..spec.selector
            },
            template: Some(template),
        }),
        status: None,
    };
    sets.create(&PostParams::default(), &set)
        .await
        .map_err(api("create a ReplicaSet"))
}

async fn renumber(
    sets: &Api<ReplicaSet>,
    set: &ReplicaSet,
    number: u64,
) -> Result<ReplicaSet, Error> {
    let patch = Patch::Merge(
        serde_json::json!({"metadata": {"annotations": {REVISION: number.to_string()}}}),
    );
    sets.patch(&set.name_any(), &PatchParams::default(), &patch)
        .await
        .map_err(api("number a ReplicaSet"))
}

async fn annotate(
    deployments: &Api<Deployment>,
    deployment: &Deployment,
    number: u64,
) -> Result<(), Error> {
    let patch = Patch::Merge(
        serde_json::json!({"metadata": {"annotations": {REVISION: number.to_string()}}}),
    );
    match deployments
        .patch(&deployment.name_any(), &PatchParams::default(), &patch)
        .await
    {
        Err(error) if is_gone(&error) => Ok(()),
        result => result.map(drop).map_err(api("number a Deployment")),
    }
}

async fn roll(
    sets: &Api<ReplicaSet>,
    deployment: &Deployment,
    replicas: i32,
    new: &ReplicaSet,
    old: &[ReplicaSet],
) -> Result<(), Error> {
    let strategy = rollout::Strategy::of(deployment, replicas);
    let counts: Vec<_> = old.iter().map(rollout::Counts::of).collect();
    let (next_new, next_old) = rollout::next(strategy, replicas, rollout::Counts::of(new), &counts);
    for (set, wanted) in std::iter::once((new, next_new)).chain(old.iter().zip(next_old)) {
        if rollout::Counts::of(set).wanted != wanted {
            let patch = Patch::Merge(serde_json::json!({"spec": {"replicas": wanted}}));
            match sets
                .patch(&set.name_any(), &PatchParams::default(), &patch)
                .await
            {
                Err(error) if is_gone(&error) => {}
                result => result.map(drop).map_err(api("scale a ReplicaSet"))?,
            }
        }
    }
    Ok(())
}

/// Removes the oldest ReplicaSets that are empty, beyond the number to be kept.
async fn prune(sets: &Api<ReplicaSet>, old: &[ReplicaSet], keep: i32) -> Result<(), Error> {
    let empty = |set: &&ReplicaSet| {
        let counts = rollout::Counts::of(set);
        counts.wanted == 0 && counts.existing == 0
    };
    let beyond = old.len().saturating_sub(usize::try_from(keep).unwrap_or(0));
    for set in old.iter().take(beyond).filter(empty) {
        match sets
            .delete(&set.name_any(), &DeleteParams::background())
            .await
        {
            Err(error) if is_gone(&error) => {}
            result => result.map(drop).map_err(api("delete a ReplicaSet"))?,
        }
    }
    Ok(())
}
