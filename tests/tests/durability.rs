//! What was acknowledged is there after the worst.

use std::time::Duration;

use fermata_crds::Function;
use fermata_tests::{SYSTEM, Space, Up, eventually};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, ObjectMeta, PostParams},
};
use serde_json::json;

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing_and_the_functions_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let no_arguments: [&str; 0] = [];
    let up = Up::start(dir.path(), no_arguments);
    let space = Space::on(up.platform().clone()).await;
    space.test_function("hello", &["serve"], json!({})).await;
    space.ready("hello").await;
    let old = space.fetch("hello", "/pid").await.ok().text();
    let process = std::path::Path::new("/proc").join(&old);
    assert!(process.exists(), "{old} is no running process");

    // Writes go on while it is killed; those that were answered have to be there afterwards.
    let (done, mut killed) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn({
        let maps: Api<ConfigMap> = space.api();
        async move {
            let mut acknowledged = 0;
            loop {
                let name = format!("map-{acknowledged}");
                let map = ConfigMap {
                    metadata: ObjectMeta {
                        name: Some(name),
                        ..ObjectMeta::default()
                    },
                    ..ConfigMap::default()
                };
                match maps.create(&PostParams::default(), &map).await {
                    Ok(_) => acknowledged += 1,
                    Err(_) => return acknowledged,
                }
                if killed.try_recv().is_ok() {
                    return acknowledged;
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    up.kill();
    drop(done);
    let acknowledged = writer.await.unwrap();
    assert!(acknowledged > 0);
    eventually("the pods have died with it", async || {
        if process.exists() {
            Err(old.clone())
        } else {
            Ok(())
        }
    })
    .await;

    let up = Up::start(dir.path(), no_arguments);
    let again = Space {
        platform: up.platform().clone(),
        client: up.platform().client().await,
        name: space.name.clone(),
    };
    let maps = again
        .api::<ConfigMap>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let kept = maps
        .items
        .iter()
        .filter(|map| {
            map.metadata
                .name
                .as_deref()
                .is_some_and(|name| name.starts_with("map-"))
        })
        .count();
    assert!(kept >= acknowledged, "{kept} of {acknowledged} are there");
    let answer = eventually("the function answers", async || {
        let answer = again.fetch("hello", "/pid").await;
        if answer.status.is_success() {
            Ok(answer.text())
        } else {
            Err(answer.text())
        }
    })
    .await;
    assert_ne!(answer, old);
}

#[tokio::test]
async fn a_stop_is_clean_and_an_ephemeral_platform_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), ["--ephemeral"]);
    let space = Space::on(up.platform().clone()).await;
    space.test_function("hello", &["serve"], json!({})).await;
    space.ready("hello").await;
    // A running request is finished.
    let running = tokio::spawn({
        let space = space.clone();
        async move { space.fetch("hello", "/sleep/1000").await }
    });
    eventually("the request is running", async || {
        let metrics = fermata_tests::Gateway {
            address: space.platform.admin.unwrap(),
        }
        .get("/metrics")
        .await
        .text();
        let busy = metrics.lines().any(|line| {
            line.starts_with("fermata_requests_in_flight{")
                && line.contains("hello")
                && line.ends_with(" 1")
        });
        if busy { Ok(()) } else { Err(metrics) }
    })
    .await;
    let (code, printed) = tokio::task::spawn_blocking(move || up.stop())
        .await
        .unwrap();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(running.await.unwrap().ok().text(), "slept\n");

    let up = Up::start(dir.path(), ["--ephemeral"]);
    let functions = Api::<Function>::all(up.platform().client().await)
        .list(&ListParams::default())
        .await
        .unwrap();
    // Of the platform's own there may be some.
    let of_others = |function: &Function| function.namespace().as_deref() != Some(SYSTEM);
    assert!(!functions.iter().any(of_others));
}

#[tokio::test]
async fn a_directory_is_used_by_one_platform_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let no_arguments: [&str; 0] = [];
    let first = Up::start(dir.path(), no_arguments);
    let Err(printed) = Up::try_start(dir.path(), &no_arguments) else {
        panic!("a second one started")
    };
    assert!(
        printed.contains("error:") && printed.contains("data"),
        "{printed}"
    );
    drop(first);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--listen-internal", "--admin", "--api"] {
        let Err(printed) = Up::try_start(dir.path(), &[format!("{flag}={address}")]) else {
            panic!("it started")
        };
        assert!(
            printed.contains(&address) && printed.contains(flag),
            "{flag}: {printed}"
        );
    }
}

#[tokio::test]
async fn a_corrupt_state_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let no_arguments: [&str; 0] = [];
    let up = Up::start(dir.path(), no_arguments);
    up.kill();
    let state = dir.path().join("data/state");
    let file = walk(&state)
        .into_iter()
        .max_by_key(|path| path.metadata().unwrap().len())
        .expect("there is a state file");
    let garbage = b"this is no store".repeat(500);
    std::fs::write(&file, &garbage).unwrap();
    let Err(printed) = Up::try_start(dir.path(), &no_arguments) else {
        panic!("it started")
    };
    assert!(
        printed.contains(file.file_name().unwrap().to_str().unwrap()),
        "{printed}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), garbage);
}

fn walk(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| walk(&entry.path()))
        .collect()
}
