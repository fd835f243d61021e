//! Pods run as processes, with all that a manifest can say of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/cluster.rs"]
mod cluster;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret};
use kube::{
    api::{DeleteParams, ListParams, LogParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::time;

use cluster::{Cluster, eventually, is_ready, state};

#[tokio::test]
async fn a_container_sees_its_environment_files_and_arguments() {
    let cluster = Cluster::start().await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "settings"}, "data": {"COLOUR": "blue", "file.txt": "from the map"}})).await;
    cluster
        .create::<Secret>(json!({"metadata": {"name": "keys"}, "stringData": {"token": "s3cret"}}))
        .await;
    let more = json!({
        "container": {
            "args": ["x", "argument $(COLOUR) $$(COLOUR) $(MISSING)"],
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "env": [
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "DERIVED", "value": "very $(COLOUR)"},
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "volumeMounts": [{"name": "files", "mountPath": "/etc/app"}],
            "workingDir": "/etc/app",
        },
        "spec": {"volumes": [{"name": "files", "configMap": {"name": "settings", "items": [{"key": "file.txt", "path": "deep/file.txt"}]}}]},
    });
    let script = r#"echo "$1"; echo "$TOKEN $DERIVED $POD"; cat deep/file.txt "$FERMATA_ROOT/etc/app/deep/file.txt"; echo; exec sleep 60"#;
    cluster.run("sees", script, more).await;
    cluster
        .says("sees", "argument blue $(COLOUR) $(MISSING)")
        .await;
    cluster.says("sees", "s3cret very blue sees").await;
    cluster.says("sees", "from the mapfrom the map").await;
}

#[tokio::test]
async fn a_mount_path_that_leaves_the_containers_root_is_refused() {
    let cluster = Cluster::start().await;
    let more = json!({
        "container": {"volumeMounts": [{"name": "files", "mountPath": "/../../../escaped"}]},
        "spec": {"volumes": [{"name": "files", "emptyDir": {}}]},
    });
    cluster.run("escapes", "exec sleep 60", more).await;
    eventually("the container is refused", async || {
        let state = state(&cluster.pod("escapes").await);
        let waiting = &state["state"]["waiting"];
        let message = waiting["message"].as_str().unwrap_or_default();
        if waiting["reason"] == "CreateContainerConfigError"
            && message.contains("/../../../escaped")
        {
            Ok(())
        } else {
            Err(state.to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_told_and_then_found() {
    let cluster = Cluster::start().await;
    cluster
        .run(
            "needy",
            "echo $COLOUR; exec sleep 60",
            json!({"container": {"envFrom": [{"configMapRef": {"name": "late"}}]}}),
        )
        .await;
    eventually("the reason is there", async || {
        let state = state(&cluster.pod("needy").await);
        let waiting = &state["state"]["waiting"];
        if waiting["reason"] == "CreateContainerConfigError"
            && waiting["message"] == "configmap \"late\" not found"
        {
            Ok(())
        } else {
            Err(state.to_string())
        }
    })
    .await;
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "late"}, "data": {"COLOUR": "green"}}))
        .await;
    cluster.says("needy", "green").await;
}

#[tokio::test]
async fn commands_that_cannot_run_say_why() {
    let cluster = Cluster::start().await;
    for (name, container, reason, says) in [
        (
            "image",
            json!({"name": "a", "image": "registry.example.com/x:1"}),
            "ErrImagePull",
            "registry.example.com/x:1",
        ),
        (
            "absent",
            json!({"name": "a", "image": "x", "command": ["no-such-program"]}),
            "RunContainerError",
            "not found in $PATH",
        ),
    ] {
        cluster
            .create::<Pod>(json!({"metadata": {"name": name}, "spec": {"containers": [container]}}))
            .await;
        eventually(reason, async || {
            let state = state(&cluster.pod(name).await);
            let waiting = &state["state"]["waiting"];
            let message = waiting["message"].as_str().unwrap_or_default();
            if waiting["reason"] == reason && message.contains(says) {
                Ok(())
            } else {
                Err(state.to_string())
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_crash_is_restarted_with_back_off_and_its_last_words_are_kept() {
    let cluster = Cluster::start().await;
    let more = json!({"container": {"terminationMessagePolicy": "FallbackToLogsOnError"}});
    cluster
        .run("crash", "echo trying; echo no luck >&2; exit 3", more)
        .await;
    let state = eventually("it has crashed twice", async || {
        let state = state(&cluster.pod("crash").await);
        if state["restartCount"].as_i64() >= Some(2)
            && state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        {
            Ok(state)
        } else {
            Err(state.to_string())
        }
    })
    .await;
    let last = &state["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["reason"]),
        (&json!(3), &json!("Error"))
    );
    assert!(last["message"].as_str().unwrap().contains("no luck"));
    let previous = cluster
        .api::<Pod>()
        .logs(
            "crash",
            &LogParams {
                previous: true,
                ..LogParams::default()
            },
        )
        .await
        .unwrap();
    assert!(previous.contains("no luck"), "{previous}");
}

#[tokio::test]
async fn the_first_restart_is_at_once() {
    let cluster = Cluster::start().await;
    // Every status of the pod, from the first on.
    let watched = watch_pod(&cluster, "clumsy");
    cluster
        .run(
            "clumsy",
            "if mkdir tripped; then echo ouch; exit 3; fi; echo up; exec sleep 60",
            json!({}),
        )
        .await;
    cluster.says("clumsy", "up").await;
    let states = eventually("it runs again", async || {
        let states = watched.lock().unwrap().clone();
        match states.last() {
            Some(last) if last["restartCount"] == 1 && last["state"]["running"].is_object() => {
                Ok(states)
            }
            last => Err(format!("{last:?}")),
        }
    })
    .await;
    let last = states.last().unwrap();
    assert_eq!(last["lastState"]["terminated"]["exitCode"], 3);
    // As with the kubelet: it waits before it has run at all, and not after the crash.
    let crashed = states
        .iter()
        .skip_while(|state| state["state"]["terminated"].is_null() && state["restartCount"] != 1);
    for state in crashed {
        assert!(state["state"]["waiting"].is_null(), "{states:#?}");
    }
    let events = cluster.api::<Event>().list(&ListParams::default()).await;
    let events = events.unwrap().items;
    assert!(
        events
            .iter()
            .all(|event| event.reason.as_deref() != Some("BackOff"))
    );
}

/// All statuses that the container of a pod goes through, as far as they were written.
fn watch_pod(cluster: &Cluster, name: &str) -> Arc<Mutex<Vec<Value>>> {
    let states = Arc::new(Mutex::new(Vec::new()));
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let pods = watcher(cluster.api::<Pod>(), config);
    let seen = states.clone();
    tokio::spawn(async move {
        let mut pods = std::pin::pin!(pods.applied_objects());
        while let Some(Ok(pod)) = pods.next().await {
            seen.lock().unwrap().push(state(&pod));
        }
    });
    states
}

#[tokio::test]
async fn restart_policies_are_kept() {
    let cluster = Cluster::start().await;
    for (name, code, policy, phase) in [
        ("done", 0, "Never", "Succeeded"),
        ("failed", 1, "Never", "Failed"),
        ("on-failure", 0, "OnFailure", "Succeeded"),
    ] {
        cluster
            .run(
                name,
                &format!("exit {code}"),
                json!({"spec": {"restartPolicy": policy}}),
            )
            .await;
        eventually(phase, async || {
            let seen = cluster
                .pod(name)
                .await
                .status
                .and_then(|status| status.phase)
                .unwrap_or_default();
            if seen == phase { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

#[tokio::test]
async fn termination_asks_waits_and_then_kills() {
    let cluster = Cluster::start().await;
    let hook = json!({"container": {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo stopping > stopped"]}}}},
        "spec": {"terminationGracePeriodSeconds": 600}});
    let polite = "trap 'echo bye > bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    cluster.run("polite", polite, hook).await;
    cluster
        .run(
            "stubborn",
            "trap '' TERM; echo up; while :; do sleep 0.05; done",
            json!({}),
        )
        .await;
    for name in ["polite", "stubborn"] {
        cluster.says(name, "up").await;
    }
    cluster.delete_pod("polite").await;
    for file in ["stopped", "bye"] {
        assert!(cluster.dir.path().join(file).is_file(), "no {file}");
    }
    let started = time::Instant::now();
    cluster.delete_pod("stubborn").await;
    let grace = Duration::from_secs(2);
    assert!(started.elapsed() >= grace, "killed before its time");
}

#[tokio::test]
async fn a_node_that_stops_waits_for_no_hook() {
    let cluster = Cluster::start().await;
    let hook = json!({"container": {"lifecycle": {"preStop": {"sleep": {"seconds": 60}}}},
        "spec": {"terminationGracePeriodSeconds": 90}});
    let script = "trap 'echo bye > bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    cluster.run("waits", script, hook).await;
    cluster.says("waits", "up").await;
    cluster
        .api::<Pod>()
        .delete("waits", &DeleteParams::default())
        .await
        .unwrap();
    // Its task has seen the deletion when the next pod runs.
    cluster.run("next", "echo up; sleep 60", json!({})).await;
    cluster.says("next", "up").await;
    cluster.stop.cancel();
    time::timeout(Duration::from_secs(4), cluster.node)
        .await
        .expect("the node waits for the hook")
        .unwrap();
    assert!(cluster.dir.path().join("bye").is_file());
}

#[tokio::test]
async fn nothing_of_a_container_survives_it() {
    let cluster = Cluster::start().await;
    // The child leaves the process group and its parent, as daemons do.
    let script = "(setsid sh -c 'echo child $$; exec sleep 1000' &) ; sleep 0.3; exit 0";
    cluster
        .run("forks", script, json!({"spec": {"restartPolicy": "Never"}}))
        .await;
    let child = eventually("the child has told its id", async || {
        let log = cluster.log("forks").await;
        log.lines()
            .find_map(|line| line.strip_prefix("child "))
            .map(str::to_owned)
            .ok_or(log.clone())
    })
    .await;
    eventually("the child is gone", async || {
        if Path::new("/proc").join(&child).exists() {
            Err(child.clone())
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn probes_decide_on_readiness_and_restarts() {
    let cluster = Cluster::start().await;
    let ready_file = cluster.dir.path().join("ready");
    let probe = json!({"exec": {"command": ["test", "-f", "ready"]}, "periodSeconds": 1, "failureThreshold": 1});
    cluster
        .run(
            "probed",
            "exec sleep 1000",
            json!({"container": {"readinessProbe": probe}}),
        )
        .await;
    eventually("it runs", async || {
        let pod = cluster.pod("probed").await;
        if pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Running")
        {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
    assert!(!is_ready(&cluster.pod("probed").await));
    std::fs::write(&ready_file, "").unwrap();
    let becomes = async |wanted: bool| {
        eventually("readiness follows the probe", async || {
            if is_ready(&cluster.pod("probed").await) == wanted {
                Ok(())
            } else {
                Err(String::new())
            }
        })
        .await;
    };
    becomes(true).await;
    std::fs::remove_file(&ready_file).unwrap();
    becomes(false).await;

    let liveness =
        json!({"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1});
    cluster
        .run(
            "sick",
            "exec sleep 1000",
            json!({"container": {"livenessProbe": liveness}}),
        )
        .await;
    eventually("it is restarted", async || {
        let state = state(&cluster.pod("sick").await);
        if state["restartCount"].as_i64() >= Some(1) {
            Ok(())
        } else {
            Err(state.to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn init_containers_run_first_and_in_order() {
    let cluster = Cluster::start().await;
    let init = |name: &str| json!({"name": name, "image": "x", "command": ["sh", "-c", format!("echo {name} >> order")]});
    cluster
        .run(
            "main",
            "cat order; exec sleep 60",
            json!({"spec": {"initContainers": [init("first"), init("second")]}}),
        )
        .await;
    eventually("the order is right", async || {
        let log = cluster.log("main").await;
        if log == "first\nsecond\n" {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
}
