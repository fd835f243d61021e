//! The Jobs that build images: they are made when there is room, and go when they are to be tried again.

use std::time::Duration;

use fermata_crds::names;
use fermata_daemon::watch::Key;
use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::PodTemplateSpec};
use kube::{ResourceExt as _, api::ObjectMeta};

use super::{
    dereference::Inputs,
    image::{self, Decision, Next, Start},
};
use crate::{
    builds::Unended,
    cache::Index,
    context::Context,
    observed::{self, job::ObservedJob},
    writes::WriteError,
};

/// How soon it is asked again whether there is room.
const FULL: Duration = Duration::from_secs(5);

/// How soon it is looked again at a Job that was just made or deleted.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a Job holds its place although none of its containers has started: one that waits for a node, or for an
/// image that cannot be had, must not keep others from being built.
const WAITING: Duration = Duration::from_secs(120);

/// Does what was decided. When to come back.
pub(super) async fn carry_out(
    decision: &mut Decision,
    inputs: &Inputs,
    template: &PodTemplateSpec,
    now: Timestamp,
    context: &Context,
) -> Result<Option<Duration>, WriteError> {
    match decision.next.clone() {
        Next::Without | Next::Run(_) => Ok(None),
        Next::Wait(again) => Ok(again),
        Next::Start(start) => begin(&start, decision, inputs, template, now, context).await,
        Next::Discard(job) => {
            let job = Job {
                metadata: ObjectMeta {
                    name: Some(job.name),
                    namespace: Some(job.namespace),
                    uid: Some(job.uid),
                    ..ObjectMeta::default()
                },
                ..Job::default()
            };
            context.writes.delete(&job).await?;
            Ok(Some(PAUSE))
        }
    }
}

async fn begin(
    start: &Start,
    decision: &mut Decision,
    inputs: &Inputs,
    template: &PodTemplateSpec,
    now: Timestamp,
    context: &Context,
) -> Result<Option<Duration>, WriteError> {
    let key = Key::of(&*inputs.revision);
    let most = usize::from(context.options.builds.concurrency);
    if let Err(under_way) = context.builds.take(&key, &unended(now, context), most) {
        decision.queue(under_way);
        return Ok(Some(FULL));
    }
    let job = image::job::build(&inputs.revision, template, start, &context.options);
    let made = context.writes.create(&job).await;
    let result = match made {
        Ok(job) => {
            context.cluster.jobs.remember(observed::job::observe(job));
            Ok(Some(PAUSE))
        }
        Err(error) if error.is_taken() => {
            // It may be the Revision's own, which the watch has not told of yet; that sets it right.
            decision.taken(&names::build_job_name(&inputs.revision.name_any()));
            Ok(Some(PAUSE))
        }
        Err(error) => match error.refusal() {
            Some(sentence) => {
                decision.refused(WriteError::refusal_reason(sentence), sentence);
                Ok(Some(WAITING))
            }
            None => Err(error),
        },
    };
    context.builds.free(&key);
    result
}

/// The Jobs that have not ended, as far as they are known.
fn unended(now: Timestamp, context: &Context) -> Vec<Unended> {
    let jobs = context.cluster.jobs.store().state();
    let unended = jobs
        .iter()
        .filter(|job| job.finished.is_none() && !job.deleting);
    unended
        .filter_map(|job| {
            let revision = Key::new(&*job.namespace, &*job.revision);
            // Everybody who may make Jobs may give one the label.
            let owner = context.cluster.revisions.get(&revision)?;
            let is_own = job.name == names::build_job_name(&job.revision)
                && job.is_controlled_by(&owner.uid().unwrap_or_default());
            if !is_own {
                return None;
            }
            let counts = image::age(job, now) < WAITING || has_started(job, &revision, context);
            Some(Unended { revision, counts })
        })
        .collect()
}

fn has_started(job: &ObservedJob, revision: &Key, context: &Context) -> bool {
    let pods = context
        .cluster
        .pods
        .indexed(&Index::Build(revision.clone()));
    pods.iter().any(|pod| {
        pod.is_controlled_by(&job.uid) && pod.build.as_ref().is_some_and(|build| build.started)
    })
}
