//! Commands run beside those of containers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/cluster.rs"]
mod cluster;

use fermata_node::{Execution, NotExecuted};
use kube::{ResourceExt as _, api::DeleteParams};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use cluster::{Cluster, PATIENCE, eventually};
use k8s_openapi::api::core::v1::Pod;

async fn running(cluster: &Cluster) -> String {
    let more = json!({"container": {"env": [{"name": "COLOUR", "value": "blue"}]}});
    cluster.run("lives", "echo up; exec sleep 600", more).await;
    cluster.says("lives", "up").await;
    cluster.pod("lives").await.uid().unwrap()
}

fn exec(cluster: &Cluster, uid: &str, script: &str, stdin: bool, tty: bool) -> Execution {
    let command = ["sh", "-c", script].map(ToOwned::to_owned);
    let started = cluster.containers.exec(uid, "main", &command, stdin, tty);
    started.unwrap_or_else(|error| panic!("{error}"))
}

async fn all(stream: impl tokio::io::AsyncRead) -> String {
    let mut stream = std::pin::pin!(stream);
    let mut bytes = Vec::new();
    // The end of a terminal is an error.
    let reading = async { while let Ok(1..) = stream.read_buf(&mut bytes).await {} };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_command_has_the_containers_world_and_streams_of_its_own() {
    let cluster = Cluster::start().await;
    let uid = running(&cluster).await;
    let script = "echo $COLOUR; pwd; cat; echo wrong >&2; exit 3";
    let mut execution = exec(&cluster, &uid, script, true, false);
    let mut stdin = execution.stdin.take().unwrap();
    stdin.write_all(b"from outside\n").await.unwrap();
    drop(stdin);
    let folder = cluster.dir.path().canonicalize().unwrap();
    let expected = format!("blue\n{}\nfrom outside\n", folder.display());
    assert_eq!(all(execution.stdout).await, expected);
    assert_eq!(all(execution.stderr.unwrap()).await, "wrong\n");
    assert_eq!(execution.ended.await, 3);
}

#[tokio::test]
async fn without_standard_input_it_is_empty() {
    let cluster = Cluster::start().await;
    let uid = running(&cluster).await;
    let execution = exec(&cluster, &uid, "cat; kill -9 $$", false, false);
    assert!(execution.stdin.is_none());
    assert_eq!(all(execution.stdout).await, "");
    assert_eq!(execution.ended.await, 137);
}

#[tokio::test]
async fn a_terminal_has_a_size_and_ends_with_its_command() {
    let cluster = Cluster::start().await;
    let uid = running(&cluster).await;
    let script = "read line; stty size; test -t 0 && test -t 1 && echo $TERM-$line; exit 4";
    let mut execution = exec(&cluster, &uid, script, true, true);
    assert!(execution.stderr.is_none());
    (execution.resize)(132, 43);
    let mut stdin = execution.stdin.take().unwrap();
    stdin.write_all(b"typed\n").await.unwrap();
    let text = all(execution.stdout).await;
    assert!(
        text.contains("43 132") && text.contains("xterm-typed"),
        "{text:?}"
    );
    assert_eq!(execution.ended.await, 4);
}

#[tokio::test]
async fn commands_end_with_their_container_and_when_nobody_wants_them() {
    let cluster = Cluster::start().await;
    let uid = running(&cluster).await;
    let lives = |pid: &str| std::path::Path::new(&format!("/proc/{pid}")).exists();
    let script = "sleep 600 & echo $!; wait";
    let mut dropped = exec(&cluster, &uid, script, false, false);
    let mut line = [0; 16];
    let read = dropped.stdout.read(&mut line).await.unwrap();
    let pid = std::str::from_utf8(&line[..read])
        .unwrap()
        .trim()
        .to_owned();
    assert!(lives(&pid));
    drop(dropped);
    eventually("the child of a dropped command is gone", async || {
        if lives(&pid) {
            Err(pid.clone())
        } else {
            Ok(())
        }
    })
    .await;

    let stays = exec(&cluster, &uid, "sleep 600", false, false);
    let params = DeleteParams::default().grace_period(0);
    cluster.api::<Pod>().delete("lives", &params).await.unwrap();
    let code = tokio::time::timeout(PATIENCE, stays.ended).await.unwrap();
    assert_eq!(code, 137);
    let command = ["true".to_owned()];
    eventually(
        "the container is not among those that run",
        async || match cluster
            .containers
            .exec(&uid, "main", &command, false, false)
        {
            Err(NotExecuted::NotRunning(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err("it runs".to_owned()),
        },
    )
    .await;
}

#[tokio::test]
async fn what_is_no_program_is_told() {
    let cluster = Cluster::start().await;
    let uid = running(&cluster).await;
    let command = ["no-such-program".to_owned()];
    let refused = cluster
        .containers
        .exec(&uid, "main", &command, false, false);
    let error = refused
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        error.contains("no-such-program") && error.contains("not found"),
        "{error}"
    );
    assert!(matches!(
        cluster
            .containers
            .exec(&uid, "other", &command, false, false),
        Err(NotExecuted::NotRunning(_))
    ));
}
