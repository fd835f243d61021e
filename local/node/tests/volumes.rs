//! Volumes of pods, as folders that programs find.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/cluster.rs"]
mod cluster;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use cluster::{Cluster, eventually, is_ready};

#[tokio::test]
async fn a_config_maps_items_stand_in_folders_with_their_modes() {
    let cluster = Cluster::start().await;
    let map = json!({
        "metadata": {"name": "files"},
        "data": {"plain": "text", "script": "#!/bin/sh\necho it runs\n"},
        "binaryData": {"bytes": "AJ+Slg=="},
    });
    cluster.create::<ConfigMap>(map).await;
    let items = json!([
        {"key": "plain", "path": "main.txt"},
        {"key": "script", "path": "bin/tools/run", "mode": 0o755},
        {"key": "bytes", "path": "data/logo.png"},
    ]);
    let more = json!({
        "container": {
            "volumeMounts": [{"name": "files", "mountPath": "/source", "readOnly": true}],
            "workingDir": "/source",
        },
        "spec": {"volumes": [{"name": "files", "configMap": {"name": "files", "items": items}}]},
    });
    let script = "find . -type f | sort | xargs echo; bin/tools/run; od -An -tx1 data/logo.png; test -x main.txt || echo no program; exec sleep 600";
    cluster.run("reads", script, more).await;
    for line in [
        "./bin/tools/run ./data/logo.png ./main.txt",
        "it runs",
        " 00 9f 92 96",
        "no program",
    ] {
        cluster.says("reads", line).await;
    }
}

#[tokio::test]
async fn a_volume_stands_beside_the_others_under_the_name_of_its_path() {
    let cluster = Cluster::start().await;
    let map = json!({"metadata": {"name": "files"}, "data": {"name.txt": "files"}});
    cluster.create::<ConfigMap>(map).await;
    let volume = |name: &str| json!({"name": name, "configMap": {"name": "files"}});
    let more = json!({
        "container": {
            "volumeMounts": [
                {"name": "source", "mountPath": "/function"},
                {"name": "packages", "mountPath": "/node_modules"},
                {"name": "settings", "mountPath": "/opt/deep"},
                {"name": "own", "mountPath": "/source"},
            ],
            "workingDir": "/function",
        },
        "spec": {"volumes": [volume("source"), volume("packages"), volume("settings"), volume("own")]},
    });
    let script =
        "cd -P .; cat ../node_modules/name.txt; echo; readlink ../source || ls ..; exec sleep 600";
    cluster.run("looks", script, more).await;
    cluster.says("looks", "files").await;
    // A volume's own name counts more than a path.
    for name in [
        "function",
        "node_modules",
        "own",
        "packages",
        "settings",
        "source",
    ] {
        cluster.says("looks", name).await;
    }
    let log = cluster.log("looks").await;
    assert!(!log.lines().any(|line| line == "deep"), "{log}");
}

#[tokio::test]
async fn a_command_may_lie_in_a_volume() {
    let cluster = Cluster::start().await;
    let script = "#!/bin/sh\necho \"$0 $1\" | sed 's,.*/volumes/,,'\n[ \"$1\" = stay ] && exec sleep 600\nexit 0\n";
    let map = json!({"metadata": {"name": "files"}, "data": {"function": script}});
    cluster.create::<ConfigMap>(map).await;
    let probe = json!({"exec": {"command": ["/built/function", "probe"]}, "periodSeconds": 1});
    let mut absent = probe.clone();
    absent["exec"]["command"] = json!(["/built/absent"]);
    let pod = |name: &str, program: &str, probe: &serde_json::Value| {
        json!({
            "metadata": {"name": name},
            "spec": {
                "containers": [{
                    "name": "main", "image": "x", "command": [program, "stay"], "readinessProbe": probe,
                    "volumeMounts": [{"name": "built", "mountPath": "/built"}],
                }],
                "volumes": [{"name": "built", "configMap": {"name": "files", "defaultMode": 0o755}}],
            },
        })
    };
    cluster
        .create::<Pod>(pod("runs", "/built/function", &probe))
        .await;
    cluster.says("runs", "built/function stay").await;
    eventually("its probe lies there too", async || {
        match is_ready(&cluster.pod("runs").await) {
            true => Ok(()),
            false => Err(String::new()),
        }
    })
    .await;
    let uid = cluster.pod("runs").await.uid().unwrap();
    let command = ["/built/function", "more"].map(ToOwned::to_owned);
    let ran = cluster
        .containers
        .exec(&uid, "main", &command, false, false);
    let mut ran = ran.unwrap_or_else(|error| panic!("{error}"));
    let mut said = String::new();
    ran.stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "built/function more\n");

    cluster
        .create::<Pod>(pod("lost", "/built/absent", &absent))
        .await;
    eventually("what is not there is told by its own path", async || {
        let state = cluster::state(&cluster.pod("lost").await);
        let message = state["state"]["waiting"]["message"].as_str();
        match message.is_some_and(|message| message.contains("\"/built/absent\"")) {
            true => Ok(()),
            false => Err(state.to_string()),
        }
    })
    .await;
}
