//! What only a real node shows: containers, probes, limits, volumes, users, drains.

use std::time::Duration;

use fermata_tests::{Cluster, Load, eventually};
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::api::EvictParams;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// How long a call may take while its instance moves.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a function and waits until it is ready.
async fn ready(cluster: &Cluster, name: &str, arguments: &[&str], spec: Value) {
    cluster.space.test_function(name, arguments, spec).await;
    cluster.space.ready(name).await;
}

/// The pod of a function that has one.
async fn pod(cluster: &Cluster, function: &str) -> Pod {
    let name = cluster.function_containers(function).await[0].pod.clone();
    let pod = cluster.space.api::<Pod>().get(&name).await;
    pod.expect("the pod is there")
}

#[tokio::test]
async fn probes_of_all_four_kinds_are_run() {
    let cluster = Cluster::new().await;
    let often = |probe: Value| {
        let mut probe = probe;
        probe["periodSeconds"] = json!(1);
        probe
    };
    let exec = |path: &str| json!({"exec": {"command": ["fermata-test-function", "exists", path]}});
    for (name, probe, protocol) in [
        ("http", json!({"httpGet": {"path": "/status/204"}}), "http1"),
        ("tcp", json!({"tcpSocket": {}}), "http1"),
        ("grpc", json!({"grpc": {"port": 8080}}), "h2c"),
        ("exec", exec("/etc/passwd"), "http1"),
    ] {
        let mut probe = probe;
        for kind in ["httpGet", "tcpSocket"] {
            if probe.get(kind).is_some() {
                probe[kind]["port"] = json!("http");
            }
        }
        let probe = often(probe);
        let spec = json!({
            "protocol": protocol, "scale": {"min": 1},
            "readinessProbe": probe, "livenessProbe": probe, "startupProbe": probe,
        });
        ready(&cluster, name, &["serve"], spec).await;
        let answer = cluster.space.call(name, "hi").await.ok();
        assert_eq!(answer.text(), "hi", "{name}");
    }
}

#[tokio::test]
async fn a_readiness_probe_that_fails_keeps_requests_away() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let spec = |path: &str| {
        json!({
            "scale": {"initial": 0}, "timeouts": {"start": "5s"},
            "readinessProbe": {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1},
        })
    };
    ready(&cluster, "moody", &["serve"], spec("/status/500")).await;
    let answer = space.call("moody", "hi").await;
    assert_eq!(
        (answer.status, answer.header("x-fermata-reason")),
        (StatusCode::GATEWAY_TIMEOUT, "StartTimeout"),
        "{}",
        answer.text()
    );
    space
        .test_function("moody", &["serve"], spec("/status/200"))
        .await;
    eventually("the mended revision answers", async || {
        let answer = space.call("moody", "hi").await;
        if answer.status == StatusCode::OK {
            Ok(())
        } else {
            Err(answer.text())
        }
    })
    .await;
}

#[tokio::test]
async fn a_liveness_probe_that_fails_restarts_the_container() {
    let cluster = Cluster::new().await;
    let probe = json!({
        "exec": {"command": ["fermata-test-function", "exists", "/nowhere"]},
        "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 2,
    });
    let spec = json!({"scale": {"min": 1}, "livenessProbe": probe});
    cluster.space.test_function("sick", &["serve"], spec).await;
    eventually("the container was started again", async || {
        let containers = cluster.kubectl(&[
            "-n",
            &cluster.space.name,
            "get",
            "pods",
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
        ]);
        let restarted = containers
            .split(' ')
            .any(|count| !matches!(count, "" | "0"));
        restarted.then_some(()).ok_or(containers)
    })
    .await;
}

#[tokio::test]
async fn requests_and_limits_hold() {
    let cluster = Cluster::new().await;
    let resources = json!({
        "requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"},
    });
    let spec = json!({"scale": {"min": 1}, "resources": resources});
    ready(&cluster, "small", &["serve"], spec).await;
    let pod = pod(&cluster, "small").await;
    let set = pod.spec.unwrap().containers[0].resources.clone().unwrap();
    assert_eq!(serde_json::to_value(set).unwrap(), resources);
    // 200 MiB do not fit: the kernel ends the container, and Kubernetes says so.
    let space = &cluster.space;
    let request = http::Request::get(format!("{}/bytes/209715200", space.path("small")))
        .body(http_body_util::Full::default())
        .unwrap();
    let answer = space.gateway().try_send(request).await;
    assert!(
        answer
            .as_ref()
            .map_or(true, |answer| answer.status == StatusCode::BAD_GATEWAY),
        "there is no limit"
    );
    eventually("the reason is known", async || {
        let states = cluster.kubectl(&[
            "-n",
            &space.name,
            "get",
            "pods",
            "-o",
            "jsonpath={.items[*].status.containerStatuses[*].lastState.terminated.reason}",
        ]);
        states.contains("OOMKilled").then_some(()).ok_or(states)
    })
    .await;
    eventually("it answers again", async || {
        let answer = space.call("small", "hi").await;
        (answer.status == StatusCode::OK)
            .then_some(())
            .ok_or(answer.text())
    })
    .await;
}

#[tokio::test]
async fn secrets_and_config_maps_come_as_variables_and_files() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    space
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"TOKEN": "s3cret"}}))
        .await;
    space
        .apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"COLOUR": "blue"}}))
        .await;
    let spec = json!({
        "env": [{"name": "FROM_KEY", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "TOKEN"}}}],
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "secret"}}],
        "volumes": [
            {"name": "secret", "secret": {"secretName": "secret"}},
            {"name": "settings", "configMap": {"name": "settings"}},
        ],
        "volumeMounts": [
            {"name": "secret", "mountPath": "/etc/secret", "readOnly": true},
            {"name": "settings", "mountPath": "/etc/settings"},
        ],
    });
    ready(&cluster, "reader", &["serve"], spec).await;
    for (path, content) in [
        ("/env/FROM_KEY", "s3cret"),
        ("/env/TOKEN", "s3cret"),
        ("/env/COLOUR", "blue"),
        ("/file?/etc/secret/TOKEN", "s3cret"),
        ("/file?/etc/settings/COLOUR", "blue"),
    ] {
        assert_eq!(
            space.fetch("reader", path).await.ok().text(),
            content,
            "{path}"
        );
    }
}

#[tokio::test]
async fn pull_secrets_reach_the_pod() {
    let cluster = Cluster::new().await;
    let spec = json!({"scale": {"min": 1}, "imagePullSecrets": [{"name": "registry"}]});
    ready(&cluster, "private", &["serve"], spec).await;
    let secrets = pod(&cluster, "private")
        .await
        .spec
        .unwrap()
        .image_pull_secrets;
    assert_eq!(secrets.unwrap()[0].name, "registry");
}

#[tokio::test]
async fn a_token_is_there_only_when_asked_for() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    cluster.kubectl(&["-n", &space.name, "create", "serviceaccount", "worker"]);
    let token = "/file?/var/run/secrets/kubernetes.io/serviceaccount/token";
    ready(&cluster, "plain", &["serve"], json!({})).await;
    assert_eq!(
        space.fetch("plain", token).await.status,
        StatusCode::NOT_FOUND
    );
    ready(
        &cluster,
        "worker",
        &["serve"],
        json!({"serviceAccountName": "worker"}),
    )
    .await;
    let token = space.fetch("worker", token).await.ok().text();
    assert_eq!(token.split('.').count(), 3, "that is no token");
}

#[tokio::test]
async fn an_empty_dir_is_writable_where_the_root_is_not() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let spec = json!({
        "source": {"runtime": "python", "files": {"main.py":
            "def handle(request):\n    path = request.text()\n    try:\n        open(path, 'w').write('x')\n    except OSError as error:\n        return str(error)\n    return open(path).read()\n"}},
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    });
    space.function("writer", spec).await;
    space.ready("writer").await;
    assert_eq!(space.call("writer", "/scratch/file").await.ok().text(), "x");
    let refused = space.call("writer", "/usr/file").await.ok().text();
    assert!(refused.contains("Errno"), "{refused}");
}

#[tokio::test]
async fn processes_are_nobody_without_privileges() {
    let cluster = Cluster::new().await;
    ready(&cluster, "modest", &["serve"], json!({})).await;
    let who = cluster.space.fetch("modest", "/whoami").await.ok().json();
    assert_eq!(who["uid"], 65532, "{who}");
    assert_eq!(who["noNewPrivs"], true, "{who}");
    // 2: a filter, that of RuntimeDefault.
    assert_eq!(who["seccomp"], 2, "{who}");
    let other = json!({"security": {"runAsUser": 1234}});
    ready(&cluster, "other", &["serve"], other).await;
    let who = cluster.space.fetch("other", "/whoami").await.ok().json();
    assert_eq!(who["uid"], 1234, "{who}");
}

#[tokio::test]
async fn a_sidecar_comes_with_the_pod_template() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let restricted = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
    });
    let sidecar = json!({
        "name": "beside", "image": "localhost/fermata-test-function:1",
        "command": ["fermata-test-function", "serve"], "env": [{"name": "PORT", "value": "9000"}],
        "securityContext": restricted,
    });
    let spec = json!({
        "scale": {"min": 1},
        "podTemplate": {
            "metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/note": "hello"}},
            "spec": {"containers": [sidecar], "terminationGracePeriodSeconds": 17},
        },
    });
    ready(&cluster, "pair", &["serve"], spec).await;
    assert_eq!(space.call("pair", "hi").await.ok().text(), "hi");
    let pod = pod(&cluster, "pair").await;
    let ready = pod.status.unwrap().container_statuses.unwrap();
    assert!(
        ready.len() == 2 && ready.iter().all(|status| status.ready),
        "{ready:?}"
    );
    assert_eq!(pod.metadata.labels.unwrap()["team"], "shop");
    assert_eq!(
        pod.metadata.annotations.unwrap()["example.com/note"],
        "hello"
    );
    assert_eq!(pod.spec.unwrap().termination_grace_period_seconds, Some(17));
}

#[tokio::test]
async fn a_request_that_runs_outlives_the_deletion_of_its_pod() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    ready(
        &cluster,
        "slow",
        &["serve"],
        json!({"timeouts": {"request": "30s"}}),
    )
    .await;
    space.call("slow", "hi").await.ok();
    let pod = pod(&cluster, "slow").await.metadata.name.unwrap();
    // A line each 100 ms: its pod is deleted after the first.
    let mut stream = TcpStream::connect(space.platform.gateway).await.unwrap();
    let request = format!(
        "GET {}/stream/80/100 HTTP/1.1\r\nhost: gateway.example\r\nconnection: close\r\n\r\n",
        space.path("slow")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let has = |answer: &[u8], line: &str| String::from_utf8_lossy(answer).contains(line);
    while !has(&answer, "line 0\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "it ended");
    }
    cluster.kubectl(&["-n", &space.name, "delete", "pod", &pod, "--wait=false"]);
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(has(&answer, "line 79\n"), "the answer was cut");
}

// kubectl holds up the thread that it is run on, and the load goes on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eviction_fails_no_request() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    ready(&cluster, "moved", &["serve"], json!({"scale": {"min": 1}})).await;
    let before = cluster.function_containers("moved").await[0].clone();
    let load = Load::start(space.platform.gateway, &space.path("moved"), 100, PATIENCE);
    let pods = space.api::<Pod>();
    pods.evict(&before.pod, &EvictParams::default())
        .await
        .expect("the pod can be evicted");
    eventually("it runs again", async || {
        let now = cluster.function_containers("moved").await;
        (!now.is_empty() && !now.contains(&before))
            .then_some(())
            .ok_or(format!("{now:?}"))
    })
    .await;
    load.stop().await.all_good(50);
}

#[tokio::test]
async fn a_drained_node_is_told_and_functions_come_back_with_it() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    ready(&cluster, "moved", &["serve"], json!({"scale": {"min": 1}})).await;
    let before = cluster.function_containers("moved").await[0].clone();
    // Pods that belong to others stay where they are.
    let selector = "--pod-selector=fermata.dev/function=moved";
    let drained = cluster.try_kubectl(&["drain", "node", selector, "--timeout=60s"]);
    let answer = space.call("moved", "hi").await;
    cluster.kubectl(&["uncordon", "node"]);
    drained.expect("the node can be drained");
    // There is no other node: the call fails at once, with the scheduler's own words.
    assert_eq!(answer.header("x-fermata-reason"), "StartFailed");
    assert!(answer.text().contains("unschedulable"), "{}", answer.text());
    eventually("it runs again", async || {
        let now = cluster.function_containers("moved").await;
        (!now.is_empty() && !now.contains(&before))
            .then_some(())
            .ok_or(format!("{now:?}"))
    })
    .await;
    assert_eq!(space.call("moved", "hi").await.ok().text(), "hi");
}
