//! What init containers make is kept for pods that need the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/cluster.rs"]
mod cluster;

use std::fs;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, LogParams};
use serde_json::{Value, json};

use cluster::{Cluster, eventually, node};

/// Makes something that no second run would make again, and notes that it has run.
const MAKE: &str =
    r#"echo made >> runs; cat /proc/sys/kernel/random/uuid > "$FERMATA_ROOT/opt/made/stamp""#;

/// Shows it.
const SHOW: &str = r#"cat "$FERMATA_ROOT/opt/made/stamp"; exec sleep 600"#;

/// Makes a pod whose init container runs a script.
async fn run(cluster: &Cluster, name: &str, script: &str, more: Value) {
    let made = json!({"name": "made", "mountPath": "/opt/made"});
    let mut init = json!({
        "name": "build", "image": "x", "command": ["sh", "-c", script], "volumeMounts": [made],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    let own = init.as_object_mut().unwrap();
    own.extend(more["init"].as_object().cloned().unwrap_or_default());
    let mut volumes = vec![json!({"name": "made", "emptyDir": {}})];
    if let Some(mounts) = more["init"]["volumeMounts"].as_array() {
        own["volumeMounts"] = [vec![made.clone()], mounts.clone()].concat().into();
        volumes.extend(more["volumes"].as_array().cloned().unwrap_or_default());
    }
    let pod = json!({
        "metadata": {"name": name, "annotations": more["annotations"]},
        "spec": {
            "initContainers": [init],
            "containers": [{"name": "main", "image": "x", "command": ["sh", "-c", SHOW], "volumeMounts": [made]}],
            "terminationGracePeriodSeconds": 1,
            "volumes": volumes,
        },
    });
    cluster.create::<Pod>(pod).await;
}

/// What the pod's container says at its start.
async fn said(cluster: &Cluster, name: &str) -> String {
    eventually("it says something", async || {
        let log = cluster.log(name).await;
        if log.is_empty() { Err(log) } else { Ok(log) }
    })
    .await
}

async fn gone(cluster: &Cluster, name: &str) {
    let pods = cluster.api::<Pod>();
    pods.delete(name, &DeleteParams::default()).await.unwrap();
    eventually("the pod is gone", async || {
        match pods.get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(_) => Err(name.to_owned()),
        }
    })
    .await;
}

fn runs(cluster: &Cluster) -> usize {
    let runs = fs::read_to_string(cluster.dir.path().join("runs"));
    runs.unwrap_or_default().lines().count()
}

fn results(cluster: &Cluster) -> Vec<String> {
    let entries = fs::read_dir(cluster.dir.path().join("built")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

async fn init_status(cluster: &Cluster, name: &str) -> Value {
    let status = cluster.pod(name).await.status.unwrap();
    let status = status.init_container_statuses.unwrap_or_default();
    serde_json::to_value(status.first()).unwrap()
}

async fn init_log(cluster: &Cluster, name: &str, previous: bool) -> String {
    let params = LogParams {
        container: Some("build".into()),
        previous,
        ..LogParams::default()
    };
    cluster.api::<Pod>().logs(name, &params).await.unwrap()
}

#[tokio::test]
async fn a_result_is_made_once_and_outlives_pods_and_node() {
    let mut cluster = Cluster::start().await;
    run(&cluster, "first", MAKE, json!({})).await;
    let made = said(&cluster, "first").await;
    run(&cluster, "second", MAKE, json!({})).await;
    assert_eq!(said(&cluster, "second").await, made);
    let status = init_status(&cluster, "second").await;
    let ended = &status["state"]["terminated"];
    assert_eq!(ended["exitCode"], 0, "{status}");
    assert_eq!(ended["reason"], "Completed", "{status}");
    assert_eq!(init_log(&cluster, "second", false).await, "");

    gone(&cluster, "first").await;
    gone(&cluster, "second").await;
    cluster.stop.cancel();
    (&mut cluster.node).await.unwrap();
    // What a build has left that was killed.
    let left = cluster.dir.path().join("built").join("killed.part");
    fs::create_dir_all(left.join("made")).unwrap();
    let dir = cluster.dir.path();
    (cluster.node, cluster.stop) = node(&cluster.client, cluster.containers.clone(), dir).await;
    assert!(!left.exists());
    run(&cluster, "third", MAKE, json!({})).await;
    assert_eq!(said(&cluster, "third").await, made);
    assert_eq!(runs(&cluster), 1);
    assert_eq!(results(&cluster).len(), 1);
}

#[tokio::test]
async fn what_it_is_made_from_makes_the_difference() {
    let cluster = Cluster::start().await;
    for (name, text) in [("same", "one"), ("again", "one"), ("other", "two")] {
        let map = json!({"metadata": {"name": name}, "data": {"list.txt": text}});
        cluster.create::<ConfigMap>(map).await;
        let more = json!({
            "init": {"volumeMounts": [{"name": "inputs", "mountPath": "/inputs", "readOnly": true}]},
            "volumes": [{"name": "inputs", "configMap": {"name": name}}],
        });
        run(&cluster, name, MAKE, more).await;
    }
    let same = said(&cluster, "same").await;
    assert_eq!(said(&cluster, "again").await, same);
    assert_ne!(said(&cluster, "other").await, same);

    let fresh = json!({"annotations": {"example.com/build": "now"}});
    run(&cluster, "plain", MAKE, json!({})).await;
    run(&cluster, "fresh", MAKE, fresh).await;
    let plain = said(&cluster, "plain").await;
    assert_ne!(said(&cluster, "fresh").await, plain);
    assert_eq!(runs(&cluster), 4);
}

#[tokio::test]
async fn who_needs_the_same_at_the_same_time_waits_for_it() {
    let cluster = Cluster::start().await;
    let script = format!("echo begun; until test -e go; do sleep 0.05; done; {MAKE}");
    run(&cluster, "first", &script, json!({})).await;
    eventually("the first builds", async || {
        let status = init_status(&cluster, "first").await;
        match status["state"]["running"].is_object() {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .await;
    run(&cluster, "second", &script, json!({})).await;
    eventually("the second says that it waits", async || {
        let status = init_status(&cluster, "second").await;
        let waiting = &status["state"]["waiting"];
        let message = waiting["message"].as_str().unwrap_or_default();
        if waiting["reason"] == "PodInitializing" && message.contains("another pod makes") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    fs::write(cluster.dir.path().join("go"), "").unwrap();
    assert_eq!(
        said(&cluster, "first").await,
        said(&cluster, "second").await
    );
    assert_eq!(runs(&cluster), 1);

    // The one who waits takes over when the other goes.
    fs::remove_file(cluster.dir.path().join("go")).unwrap();
    let fresh = json!({"annotations": {"example.com/build": "now"}});
    run(&cluster, "third", &script, fresh.clone()).await;
    eventually("the third builds", async || {
        let status = init_status(&cluster, "third").await;
        match status["state"]["running"].is_object() {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .await;
    run(&cluster, "fourth", &script, fresh).await;
    gone(&cluster, "third").await;
    fs::write(cluster.dir.path().join("go"), "").unwrap();
    said(&cluster, "fourth").await;
    assert_eq!(runs(&cluster), 2);
}

#[tokio::test]
async fn a_failed_build_is_tried_again_and_leaves_nothing() {
    let cluster = Cluster::start().await;
    let script = format!(
        r#"cd "$OLDPWD" 2>/dev/null; ls "$FERMATA_ROOT/opt/made"; echo downloading; test -e go || {{ echo half > "$FERMATA_ROOT/opt/made/half"; echo 'ERROR: no such package' >&2; exit 3; }}; {MAKE}"#
    );
    run(&cluster, "fails", &script, json!({})).await;
    let status = eventually("it backs off", async || {
        let status = init_status(&cluster, "fails").await;
        if status["state"]["waiting"]["reason"] == "CrashLoopBackOff" {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let ended = &status["lastState"]["terminated"];
    assert_eq!(ended["exitCode"], 3, "{status}");
    let message = ended["message"].as_str().unwrap();
    assert!(message.ends_with("ERROR: no such package"), "{message}");
    for previous in [false, true] {
        let log = init_log(&cluster, "fails", previous).await;
        assert!(log.contains("ERROR: no such package"), "{log}");
    }
    assert!(results(&cluster).is_empty(), "{:?}", results(&cluster));
    fs::write(cluster.dir.path().join("go"), "").unwrap();
    said(&cluster, "fails").await;
    let [key] = &results(&cluster)[..] else {
        panic!("{:?}", results(&cluster));
    };
    let folder = cluster.dir.path().join("built").join(key).join("made");
    assert!(folder.join("stamp").exists());
    assert!(!folder.join("half").exists());
    // Nobody adds to it by accident.
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder).unwrap().permissions());
    assert_eq!(mode & 0o222, 0);
}

#[tokio::test]
async fn tools_find_their_caches_and_scratch_goes_with_the_pod() {
    let cluster = Cluster::start().await;
    let more = json!({
        "init": {
            "env": [{"name": "HOME", "value": "/tmp"}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
        },
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    });
    let script = format!(r#"echo "$HOME"; cd "$TMPDIR"; pwd; cd - >/dev/null; {MAKE}"#);
    run(&cluster, "builds", &script, more).await;
    said(&cluster, "builds").await;
    let log = init_log(&cluster, "builds", false).await;
    let (home, scratch) = log.trim().split_once('\n').unwrap();
    assert_eq!(home, "/home/somebody");
    assert!(scratch.ends_with("/volumes/scratch"), "{scratch}");
}
