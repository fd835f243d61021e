//! The columns of pods, whose status is made up of many things.

use serde_json::{Value, json};

use super::age;

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
}

/// Ready containers of all.
pub(super) fn ready(pod: &Value) -> Value {
    let ready = containers(pod)
        .filter(|status| status["ready"] == true)
        .count();
    let all = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    format!("{ready}/{all}").into()
}

/// The most telling reason of all that a pod has.
pub(super) fn status(pod: &Value) -> Value {
    let phase = pod["status"]["phase"].as_str().unwrap_or("Unknown");
    let mut reason = pod["status"]["reason"].as_str().unwrap_or(phase).to_owned();
    let initializing = initializing(pod);
    if let Some(init) = &initializing {
        reason.clone_from(init);
    } else {
        let mut running = false;
        let statuses: Vec<&Value> = containers(pod).collect();
        for status in statuses.into_iter().rev() {
            if let Some(shown) = stopped(status, "") {
                reason = shown;
            } else if status["ready"] == true && status["state"]["running"].is_object() {
                running = true;
            }
        }
        // A pod that has one finished and one running container is running.
        if reason == "Completed" && running {
            reason = if condition(pod, "Ready") {
                "Running"
            } else {
                "NotReady"
            }
            .to_owned();
        }
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        reason = if pod["status"]["reason"] == "NodeLost" {
            "Unknown".to_owned()
        } else {
            "Terminating".to_owned()
        };
    }
    reason.into()
}

fn initializing(pod: &Value) -> Option<String> {
    let statuses = pod["status"]["initContainerStatuses"].as_array()?;
    let all = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    for (index, status) in statuses.iter().enumerate() {
        let state = &status["state"];
        if state["terminated"]["exitCode"] == 0 || status["started"] == true {
            continue;
        }
        return Some(stopped(status, "Init:").unwrap_or_else(|| format!("Init:{index}/{all}")));
    }
    None
}

/// Why a container does not run, if it does not.
fn stopped(status: &Value, prefix: &str) -> Option<String> {
    let (waiting, terminated) = (&status["state"]["waiting"], &status["state"]["terminated"]);
    if let Some(reason) = waiting["reason"]
        .as_str()
        .filter(|reason| !reason.is_empty())
    {
        return (prefix.is_empty() || reason != "PodInitializing")
            .then(|| format!("{prefix}{reason}"));
    }
    if !terminated.is_object() {
        return None;
    }
    if let Some(reason) = terminated["reason"]
        .as_str()
        .filter(|reason| !reason.is_empty())
    {
        return Some(format!("{prefix}{reason}"));
    }
    Some(
        match terminated["signal"].as_i64().filter(|signal| *signal != 0) {
            Some(signal) => format!("{prefix}Signal:{signal}"),
            None => format!("{prefix}ExitCode:{}", terminated["exitCode"]),
        },
    )
}

fn condition(pod: &Value, type_: &str) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|condition| condition["type"] == type_)
        .any(|condition| condition["status"] == "True")
}

/// Restarts of all containers, and when the last one was.
pub(super) fn restarts(pod: &Value) -> Value {
    let count: i64 = containers(pod)
        .filter_map(|status| status["restartCount"].as_i64())
        .sum();
    let last = containers(pod)
        .filter_map(|status| status["lastState"]["terminated"]["finishedAt"].as_str())
        .max();
    match last {
        Some(last) if count > 0 => {
            let age = age::since(&json!(last));
            format!("{count} ({} ago)", age.as_str().unwrap_or_default()).into()
        }
        _ => count.to_string().into(),
    }
}

/// Passed readiness gates of all.
pub(super) fn gates(pod: &Value) -> Value {
    let Some(gates) = pod["spec"]["readinessGates"].as_array() else {
        return "<none>".into();
    };
    let passed = gates
        .iter()
        .filter_map(|gate| gate["conditionType"].as_str())
        .filter(|type_| condition(pod, type_))
        .count();
    format!("{passed}/{}", gates.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_most_telling_reason() {
        let with = |state: Value, ready: bool| {
            json!({"spec": {"containers": [{}]}, "status": {
                "phase": "Running",
                "containerStatuses": [{"ready": ready, "restartCount": 0, "state": state}],
            }})
        };
        assert_eq!(status(&with(json!({"running": {}}), true)), "Running");
        assert_eq!(
            status(&with(
                json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                false
            )),
            "CrashLoopBackOff"
        );
        assert_eq!(
            status(&with(json!({"terminated": {"exitCode": 3}}), false)),
            "ExitCode:3"
        );
        let mut gone = with(json!({"running": {}}), true);
        gone["metadata"] = json!({"deletionTimestamp": "2024-01-01T00:00:00Z"});
        assert_eq!(status(&gone), "Terminating");
        assert_eq!(ready(&gone), "1/1");
        assert_eq!(status(&json!({"status": {"phase": "Pending"}})), "Pending");
    }

    #[test]
    fn an_init_container_that_is_not_done_is_shown() {
        let pod = json!({
            "spec": {"initContainers": [{}, {}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"state": {"terminated": {"exitCode": 0}}}, {"state": {"running": {}}},
            ]},
        });
        assert_eq!(status(&pod), "Init:1/2");
    }
}
