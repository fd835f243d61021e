//! The way to the ports of pods, and listening to containers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/cluster.rs"]
mod cluster;

use fermata_node::{NotExecuted, NotForwarded};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use cluster::{Cluster, PATIENCE, eventually};

/// Serves a folder with one file on the pod's port.
const SERVER: &str = "mkdir served; echo hello > served/file; exec python3 -m http.server --bind 127.0.0.1 --directory served $PORT";

async fn end(cluster: &Cluster, name: &str) {
    let params = DeleteParams::default().grace_period(0);
    cluster.api::<Pod>().delete(name, &params).await.unwrap();
}

#[tokio::test]
async fn declared_ports_are_reached_until_the_pod_ends() {
    let cluster = Cluster::start().await;
    let more = json!({"container": {"ports": [{"containerPort": 8080}]}});
    cluster.run("serves", SERVER, more).await;
    let uid = cluster.pod("serves").await.uid().unwrap();
    let way = eventually("the pod runs", async || {
        let way = cluster.containers.forward(&uid);
        way.map_err(|error| error.to_string())
    })
    .await;
    let stream = eventually("the program listens", async || {
        let stream = way.connect(8080).await;
        stream.map_err(|error| error.to_string())
    })
    .await;
    let own = stream.peer_addr().unwrap().port();
    assert_ne!(own, 8080);
    assert!(way.connect(own).await.is_ok());
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = other.local_addr().unwrap().port();
    match way.connect(other).await {
        Err(NotForwarded::NotDeclared { declared }) => {
            assert_eq!(declared, format!("8080, {own}"));
        }
        result => panic!("{result:?}"),
    }
    let ended = way.ended();
    end(&cluster, "serves").await;
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert!(matches!(
        cluster.containers.forward(&uid),
        Err(NotForwarded::NotRunning)
    ));
}

#[tokio::test]
async fn a_pod_with_ports_is_applied_again() {
    let cluster = Cluster::start().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "again"},
        "spec": {"containers": [{
            "name": "main", "image": "x", "command": ["sleep", "600"],
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "PORT", "value": "8080"}],
            "startupProbe": {"exec": {"command": ["true"]}},
            "livenessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 600},
        }]},
    });
    let api = cluster.api::<Pod>();
    let params = PatchParams::apply("test");
    let first = api.patch("again", &params, &Patch::Apply(&pod)).await;
    let spec = first.unwrap().spec;
    let again = api.patch("again", &params, &Patch::Apply(&pod)).await;
    assert_eq!(again.unwrap().spec, spec);
    // What kubectl makes of it without --server-side.
    let params = PatchParams::default();
    let again = api.patch("again", &params, &Patch::Strategic(&pod)).await;
    assert_eq!(again.unwrap().spec, spec);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let changed = api.patch("again", &params, &Patch::Merge(&label)).await;
    assert_eq!(changed.unwrap().spec, spec);
    let other =
        json!({"spec": {"containers": [{"name": "main", "ports": [{"containerPort": 9}]}]}});
    let refused = api.patch("again", &params, &Patch::Strategic(&other)).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn ports_of_others_that_an_annotation_claims_are_not_reached() {
    let cluster = Cluster::start().await;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = other.local_addr().unwrap().port();
    let ports = json!({"80": other}).to_string();
    cluster
        .create::<Pod>(json!({
            "metadata": {"name": "claims", "annotations": {"local.fermata.dev/ports": ports}},
            "spec": {"containers": [{"name": "main", "image": "x", "command": ["sleep", "600"]}]},
        }))
        .await;
    let uid = cluster.pod("claims").await.uid().unwrap();
    let way = eventually("the pod runs", async || {
        let way = cluster.containers.forward(&uid);
        way.map_err(|error| error.to_string())
    })
    .await;
    for port in [80, other] {
        let refused = way.connect(port).await.unwrap_err().to_string();
        assert!(refused.ends_with("are none"), "{refused}");
    }
}

#[tokio::test]
async fn who_attaches_hears_a_container_from_now_on() {
    let cluster = Cluster::start().await;
    let script = "echo before; while test ! -f go; do sleep 0.02; done; echo out; echo err >&2";
    let more = json!({"spec": {"restartPolicy": "Never"}});
    cluster.run("talks", script, more).await;
    cluster.says("talks", "before").await;
    let uid = cluster.pod("talks").await.uid().unwrap();
    assert!(matches!(
        cluster.containers.attach(&uid, "main", true),
        Err(NotExecuted::NoInput(_))
    ));
    assert!(matches!(
        cluster.containers.attach(&uid, "other", false),
        Err(NotExecuted::NotRunning(_))
    ));
    let attached = cluster.containers.attach(&uid, "main", false).unwrap();
    std::fs::write(cluster.dir.path().join("go"), "").unwrap();
    let all = async {
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (attached.stdout, attached.stderr.unwrap());
        let (read, wrong) = tokio::join!(
            stdout.read_to_string(&mut out),
            stderr.read_to_string(&mut err)
        );
        read.unwrap();
        wrong.unwrap();
        (out, err, attached.ended.await)
    };
    let heard = tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert_eq!(heard, ("out\n".to_owned(), "err\n".to_owned(), 0));
}

#[tokio::test]
async fn who_listens_too_slowly_misses_lines_and_holds_nobody_up() {
    let cluster = Cluster::start().await;
    let script = "while test ! -f go; do sleep 0.02; done; seq 1 5000; echo last; sleep 600";
    cluster.run("talks", script, json!({})).await;
    let uid = cluster.pod("talks").await.uid().unwrap();
    let attached = eventually("it runs", async || {
        let attached = cluster.containers.attach(&uid, "main", false);
        attached.map_err(|error| error.to_string())
    })
    .await;
    std::fs::write(cluster.dir.path().join("go"), "").unwrap();
    cluster.says("talks", "last").await;
    let mut lines = BufReader::new(attached.stdout).lines();
    let mut heard = 0;
    while lines.next_line().await.unwrap().unwrap() != "last" {
        heard += 1;
    }
    assert!(heard < 100, "{heard}");
}
