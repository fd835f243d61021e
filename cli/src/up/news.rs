//! What a change of a Function means to a person. Pure.

use std::time::Duration;

use fermata_crds::{Function, conditions};

use crate::urls;

/// The sentences about what has happened between two states of a Function.
pub(super) fn news(old: Option<&Function>, new: &Function) -> Vec<String> {
    let before = old.and_then(|old| old.status.clone()).unwrap_or_default();
    let now = new.status.clone().unwrap_or_default();
    let mut news = Vec::new();

    if now.latest_created_revision != before.latest_created_revision
        && let Some(revision) = &now.latest_created_revision
        && now.latest_ready_revision.as_ref() != Some(revision)
    {
        news.push(format!("revision {revision} is starting"));
    }
    if now.latest_ready_revision != before.latest_ready_revision
        && let Some(revision) = &now.latest_ready_revision
    {
        news.push(format!(
            "revision {revision} is ready and gets the requests"
        ));
    }
    // Before it has been ready, a first start is no waking.
    if before.latest_ready_revision.is_some()
        && now.last_cold_start != before.last_cold_start
        && let Some(start) = &now.last_cold_start
    {
        news.push(format!(
            "woken from zero in {:.0?}",
            rounded(start.duration.into())
        ));
    }
    let (had, has) = (before.replicas.unwrap_or(0), now.replicas.unwrap_or(0));
    match (had, has) {
        _ if had == has => {}
        (1.., 0) => news.push("rests at zero; the next request wakes it".to_owned()),
        (0, 1) => {}
        _ => news.push(format!("{has} replicas (was {had})")),
    }
    for kind in [conditions::READY, conditions::ROUTABLE] {
        let condition = conditions::find(&now.conditions, kind);
        let earlier = conditions::find(&before.conditions, kind);
        let Some(condition) = condition else { continue };
        let same = earlier.is_some_and(|earlier| {
            earlier.status == condition.status
                && earlier.reason == condition.reason
                && earlier.message == condition.message
        });
        if condition.status == "False" && !same && !condition.message.is_empty() {
            let sentence = format!("{}: {}", condition.reason, condition.message);
            if !news.contains(&sentence) {
                news.push(sentence);
            }
        }
        let was_bad = earlier.is_some_and(|earlier| earlier.status == "False");
        if kind == conditions::READY
            && condition.status == "True"
            && was_bad
            && now.latest_ready_revision == before.latest_ready_revision
        {
            news.push("ready again".to_owned());
        }
    }
    news
}

/// What is said when a Function is seen for the first time. Its own hosts are seldom known to this
/// machine, so that the path is told as well.
pub(super) fn greeting(function: &Function, gateway: &str) -> String {
    let status = function.status.as_ref();
    let url = status
        .and_then(|status| status.url.clone())
        .unwrap_or_default();
    format!("{}  or  {url}", urls::by_path(function, gateway))
}

fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use fermata_crds::{FunctionSpec, FunctionStatus};

    use super::*;

    fn function(status: serde_json::Value) -> Function {
        let mut function = Function::new("hello", FunctionSpec::default());
        function.status = Some(serde_json::from_value::<FunctionStatus>(status).unwrap());
        function
    }

    #[test]
    fn a_life_is_told_in_sentences() {
        let created = function(serde_json::json!({"latestCreatedRevision": "hello-00001"}));
        let ready = function(
            serde_json::json!({"latestCreatedRevision": "hello-00001", "latestReadyRevision": "hello-00001", "replicas": 1}),
        );
        let rests = function(
            serde_json::json!({"latestCreatedRevision": "hello-00001", "latestReadyRevision": "hello-00001", "replicas": 0}),
        );
        let woken = function(serde_json::json!({
            "latestCreatedRevision": "hello-00001", "latestReadyRevision": "hello-00001", "replicas": 1,
            "lastColdStart": {"time": "2026-01-01T00:00:00Z", "duration": "41.7ms", "revision": "hello-00001"},
        }));
        assert_eq!(news(None, &created), ["revision hello-00001 is starting"]);
        assert_eq!(
            news(Some(&created), &ready),
            ["revision hello-00001 is ready and gets the requests"]
        );
        assert_eq!(
            news(Some(&ready), &rests),
            ["rests at zero; the next request wakes it"]
        );
        assert_eq!(news(Some(&rests), &woken), ["woken from zero in 41ms"]);
        assert!(news(Some(&woken), &woken).is_empty());
    }

    #[test]
    fn a_failure_is_told_once_and_so_is_its_end() {
        let condition = |status: &str, reason: &str, message: &str| {
            function(serde_json::json!({"conditions": [{
                "type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}))
        };
        let bad = condition("False", "CrashLoopBackOff", "exit code 1");
        assert_eq!(news(None, &bad), ["CrashLoopBackOff: exit code 1"]);
        assert!(news(Some(&bad), &bad).is_empty());
        assert_eq!(
            news(Some(&bad), &condition("True", "Ready", "")),
            ["ready again"]
        );
    }
}
