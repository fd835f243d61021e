//! What the builds of a function's instances print.

use std::time::Duration;

use anyhow::Context as _;
use fermata_crds::names::{BUILD_CONTAINER, IMAGE_BUILD_LABEL, PUSH_CONTAINER};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams},
};
use tokio::time;
use tokio_util::sync::CancellationToken;

/// How often it is looked for builds that have begun.
const LOOK: Duration = Duration::from_millis(300);

/// One build.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Build {
    /// The pod that it is in.
    pub(crate) pod: String,
    /// The pod's identity, and how often it has built before.
    run: (String, i32),
    /// The containers that it is made of, in their order.
    containers: Vec<String>,
    state: State,
    /// Whether the one before it in the pod has failed.
    failed_before: bool,
    /// How long it has run, once it has ended well.
    pub(crate) took: Option<Duration>,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It has not begun.
    Ahead,
    /// It runs, or has ended.
    Begun,
    /// It has failed, and is tried again after a while.
    TriedAgain,
}

// === impl Build ===

impl Build {
    /// The build of a pod; nothing if it has none.
    fn of(pod: &Pod) -> Option<Self> {
        if pod.labels().contains_key(IMAGE_BUILD_LABEL) {
            return Self::of_image(pod);
        }
        let mut containers = pod
            .spec
            .iter()
            .flat_map(|spec| spec.init_containers.iter().flatten());
        containers.find(|container| container.name == BUILD_CONTAINER)?;
        let mut statuses = pod
            .status
            .iter()
            .flat_map(|status| status.init_container_statuses.iter().flatten());
        let status = statuses.find(|status| status.name == BUILD_CONTAINER);
        Some(Self {
            pod: pod.name_any(),
            run: (
                pod.uid().unwrap_or_default(),
                status.map_or(0, |status| status.restart_count),
            ),
            containers: vec![BUILD_CONTAINER.to_owned()],
            state: status.map_or(State::Ahead, state),
            failed_before: status.is_some_and(failed_before),
            took: status.and_then(took),
        })
    }

    /// The build of an image: the pod does nothing else.
    fn of_image(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let containers = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers);
        let status = pod.status.as_ref();
        let init = status.and_then(|status| status.init_container_statuses.as_deref());
        let main = status.and_then(|status| status.container_statuses.as_deref());
        let all: Vec<&ContainerStatus> = init.into_iter().chain(main).flatten().collect();
        let ended = |status: &&ContainerStatus| status.state.as_ref()?.terminated.clone();
        let begun = all.iter().any(|status| state(status) == State::Begun);
        let from = all
            .iter()
            .filter_map(ended)
            .filter_map(|ended| ended.started_at)
            .min();
        let push = all
            .iter()
            .find(|status| status.name == PUSH_CONTAINER)
            .and_then(ended);
        let to = push
            .filter(|push| push.exit_code == 0)
            .and_then(|push| push.finished_at);
        let took = from.zip(to).map(|(from, to)| to.0.duration_since(from.0));
        Some(Self {
            pod: pod.name_any(),
            run: (pod.uid().unwrap_or_default(), 0),
            containers: containers.map(|container| container.name.clone()).collect(),
            state: if begun { State::Begun } else { State::Ahead },
            failed_before: false,
            took: took.and_then(|took| Duration::try_from(took).ok()),
        })
    }

    /// The build before this one, where that is what matters: it has failed, and this one has only begun.
    pub(crate) fn before(&self) -> Option<Self> {
        let is_there = self.failed_before && self.state == State::Begun;
        is_there.then(|| self.failed())
    }

    /// What its container ran before, which has failed.
    pub(crate) fn failed(&self) -> Self {
        Self {
            state: State::TriedAgain,
            ..self.clone()
        }
    }

    /// Whether it is of the same pod.
    fn is_beside(&self, other: &Self) -> bool {
        self.run.0 == other.run.0
    }
}

fn state(status: &ContainerStatus) -> State {
    let state = status.state.as_ref();
    if state.is_some_and(|state| state.running.is_some() || state.terminated.is_some()) {
        return State::Begun;
    }
    if failed_before(status) {
        State::TriedAgain
    } else {
        State::Ahead
    }
}

fn failed_before(status: &ContainerStatus) -> bool {
    let last = status.last_state.as_ref();
    last.is_some_and(|last| last.terminated.is_some())
}

fn took(status: &ContainerStatus) -> Option<Duration> {
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    let (from, to) = (ended.started_at.as_ref()?, ended.finished_at.as_ref()?);
    let time = Duration::try_from(to.0.duration_since(from.0)).ok()?;
    (ended.exit_code == 0).then_some(time)
}

/// The build of the newest pod that has one.
///
/// # Errors
///
/// When the pods cannot be listed.
pub(crate) async fn newest(pods: &Api<Pod>, selector: &str) -> anyhow::Result<Option<Build>> {
    let listed = pods
        .list(&ListParams::default().labels(selector))
        .await
        .context("the pods cannot be listed")?;
    let mut builds: Vec<(_, Build)> = listed
        .iter()
        .filter_map(|pod| Some((pod.creation_timestamp().map(|time| time.0), Build::of(pod)?)))
        .collect();
    builds.sort_by(|(one, a), (other, b)| (one, &a.pod).cmp(&(other, &b.pod)));
    Ok(builds.pop().map(|(_, build)| build))
}

/// Gives each line of a build to `show`: those that are there, and with `follow` those that come until it has
/// ended. Whether anything could be read.
///
/// # Errors
///
/// When the log cannot be read.
pub(crate) async fn print(
    pods: &Api<Pod>,
    build: &Build,
    follow: bool,
    mut show: impl FnMut(&str),
) -> anyhow::Result<bool> {
    let mut any = false;
    for container in &build.containers {
        let params = LogParams {
            container: Some(container.clone()),
            follow: follow && build.state != State::TriedAgain,
            previous: build.state == State::TriedAgain,
            ..LogParams::default()
        };
        let read = || format!("the log of the build in {} cannot be read", build.pod);
        let mut lines = loop {
            match pods.log_stream(&build.pod, &params).await {
                Ok(stream) => break stream.lines(),
                // The container before it has just ended.
                Err(kube::Error::Api(status))
                    if status.code == 400 && any && follow && goes_on(pods, &build.pod).await =>
                {
                    time::sleep(LOOK).await;
                }
                // It has not begun, or is over and forgotten.
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => {
                    return Ok(any);
                }
                Err(error) => return Err(error).with_context(read),
            }
        };
        any = true;
        while let Some(line) = lines.try_next().await.with_context(read)? {
            show(&line);
        }
    }
    Ok(any)
}

/// Whether further containers of the pod may begin.
async fn goes_on(pods: &Api<Pod>, name: &str) -> bool {
    let pod = pods.get_opt(name).await.ok().flatten();
    let phase = pod.and_then(|pod| pod.status?.phase);
    phase.is_some_and(|phase| matches!(phase.as_str(), "Pending" | "Running"))
}

/// Gives each line of the newest builds to `show`, build after build, until `over` is cancelled; then what there
/// is of the newest one, and no more. What cannot be read is not shown.
pub(crate) async fn follow(
    pods: Api<Pod>,
    selector: String,
    over: CancellationToken,
    mut show: impl FnMut(&str),
) -> Option<Build> {
    let mut shown: Option<Build> = None;
    loop {
        let last = over.is_cancelled();
        if let Ok(Some(build)) = newest(&pods, &selector).await
            && is_news(&build, shown.as_ref())
            && print(&pods, &build, true, &mut show)
                .await
                .is_ok_and(|read| read)
        {
            shown = Some(build);
        }
        if last {
            return shown;
        }
        let _ = time::timeout(LOOK, over.cancelled()).await;
    }
}

/// Whether a build says something that was not shown. One that is tried again has mostly been shown already.
fn is_news(build: &Build, shown: Option<&Build>) -> bool {
    match build.state {
        State::Ahead => false,
        State::Begun => shown.is_none_or(|shown| shown.run != build.run),
        State::TriedAgain => shown.is_none_or(|shown| !shown.is_beside(build)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn build(uid: &str, status: Value) -> Build {
        let pod = json!({
            "metadata": {"name": format!("pod-{uid}"), "uid": uid},
            "spec": {"containers": [], "initContainers": [{"name": BUILD_CONTAINER}]},
            "status": {"initContainerStatuses": [status]},
        });
        Build::of(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn status(restarts: i32, state: Value, last: Value) -> Value {
        json!({"name": BUILD_CONTAINER, "restartCount": restarts, "state": state, "lastState": last,
            "ready": false, "image": "i", "imageID": "i"})
    }

    #[test]
    fn each_build_is_shown_once() {
        let ended = || json!({"terminated": {"exitCode": 1}});
        let waits = build("a", status(0, json!({"waiting": {}}), json!({})));
        let first = build("a", status(0, json!({"running": {}}), json!({})));
        let again = build("a", status(1, json!({"waiting": {}}), ended()));
        let second = build("a", status(1, json!({"running": {}}), ended()));
        let elsewhere = build("b", status(0, ended(), json!({})));
        assert!(!is_news(&waits, None));
        assert!(is_news(&first, None) && !is_news(&first, Some(&first)));
        // Of one that was missed the last run is told.
        assert!(is_news(&again, None) && !is_news(&again, Some(&first)));
        assert!(is_news(&second, Some(&first)) && !is_news(&again, Some(&second)));
        assert!(is_news(&elsewhere, Some(&second)));
        assert!(second.before().is_some() && again.before().is_none() && first.before().is_none());
    }

    #[test]
    fn the_build_of_an_image_is_all_of_its_pod() {
        let ended = |name: &str, from: u32, to: u32| {
            json!({"name": name, "restartCount": 0, "ready": false, "image": "i", "imageID": "i",
                "state": {"terminated": {"exitCode": 0,
                    "startedAt": format!("2026-01-01T00:00:{from:02}Z"), "finishedAt": format!("2026-01-01T00:00:{to:02}Z")}}})
        };
        let pod = json!({
            "metadata": {"name": "p", "labels": {IMAGE_BUILD_LABEL: "hello-00001"}},
            "spec": {"initContainers": [{"name": BUILD_CONTAINER}], "containers": [{"name": PUSH_CONTAINER}]},
            "status": {"initContainerStatuses": [ended(BUILD_CONTAINER, 1, 4)],
                "containerStatuses": [ended(PUSH_CONTAINER, 5, 9)]},
        });
        let build = Build::of(&serde_json::from_value(pod).unwrap()).unwrap();
        assert_eq!(build.containers, [BUILD_CONTAINER, PUSH_CONTAINER]);
        assert_eq!(
            (build.state, build.took),
            (State::Begun, Some(Duration::from_secs(8)))
        );
    }

    #[test]
    fn a_pod_that_builds_nothing_has_no_build() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [], "initContainers": [{"name": "own"}]}});
        assert_eq!(Build::of(&serde_json::from_value(pod).unwrap()), None);
    }
}
