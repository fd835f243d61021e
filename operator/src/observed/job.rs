//! Jobs that build images.

use fermata_crds::names;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;

use super::Observed;

/// Annotation: the key of the dependencies that are built.
pub(crate) const KEY_ANNOTATION: &str = "fermata.dev/build-key";

/// Annotation: which try it is, from 1 on.
pub(crate) const ATTEMPT_ANNOTATION: &str = "fermata.dev/build-attempt";

/// Annotation: the layer that is used again, if one is.
pub(crate) const REUSE_ANNOTATION: &str = "fermata.dev/build-reuse";

/// How far a build is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct JobState {
    /// The Revision that its label names.
    pub(crate) revision: String,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) reuse: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) finished: Option<Finished>,
}

/// How a Job ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finished {
    pub(crate) at: Timestamp,
    pub(crate) well: bool,
    /// Such as `DeadlineExceeded`.
    pub(crate) reason: String,
}

/// A Job as far as it is known.
pub(crate) type ObservedJob = Observed<Job, JobState>;

/// Reduces a Job.
pub(crate) fn observe(job: Job) -> ObservedJob {
    let label = |label: &str| job.labels().get(label).cloned().unwrap_or_default();
    let annotation = |name: &str| job.annotations().get(name).cloned();
    let created = job.metadata.creation_timestamp.as_ref();
    let created = created.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let state = JobState {
        revision: label(names::IMAGE_BUILD_LABEL),
        key: annotation(KEY_ANNOTATION).unwrap_or_default(),
        attempt: annotation(ATTEMPT_ANNOTATION)
            .and_then(|text| text.parse().ok())
            .unwrap_or(1),
        reuse: annotation(REUSE_ANNOTATION),
        created,
        finished: finished(&job, created),
    };
    Observed::new(&job, state)
}

fn finished(job: &Job, created: Timestamp) -> Option<Finished> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let condition = conditions.iter().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })?;
    Some(Finished {
        at: condition
            .last_transition_time
            .as_ref()
            .map_or(created, |time| time.0),
        well: condition.type_ == "Complete",
        reason: condition.reason.clone().unwrap_or_default(),
    })
}
