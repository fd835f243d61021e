//! What was acknowledged is there after the worst.

use std::{collections::BTreeSet, path::Path, time::Duration};

use bytes::Bytes;
use fermata_crds::Function;
use fermata_tests::{DEADLINE, SYSTEM, Space, Up, eventually, eventually_within};
use http::Request;
use http_body_util::Full;
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

/// The numbers of the lines that the function has written.
fn written(file: &Path) -> BTreeSet<u32> {
    let lines = std::fs::read_to_string(file).unwrap_or_default();
    lines.lines().filter_map(|line| line.parse().ok()).collect()
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_no_call_that_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let code = format!(
        "import os\n\ndef handle(request):\n    with open({ledger:?}, 'a') as file:\n        \
         file.write(request.text() + '\\n')\n        file.flush()\n    return 'ok'\n"
    );
    let spec = json!({
        "source": {"runtime": "python", "files": {"main.py": code}},
        "scale": {"max": 1},
        "delivery": {"attempts": 100},
    });
    let no_arguments: [&str; 0] = [];
    let mut accepted = BTreeSet::new();
    let mut space_name = String::new();
    for round in 0..3_u32 {
        let up = Up::start(dir.path(), no_arguments);
        let space = if round == 0 {
            let space = Space::on(up.platform().clone()).await;
            space.function("ledger", spec.clone()).await;
            space_name.clone_from(&space.name);
            space
        } else {
            Space {
                platform: up.platform().clone(),
                client: up.platform().client().await,
                name: space_name.clone(),
            }
        };
        space.ready("ledger").await;
        let gateway = space.gateway();
        let path = space.path("ledger");
        // Callers go on until there is nobody any more.
        let caller = tokio::spawn(async move {
            let mut accepted = BTreeSet::new();
            for number in round * 10_000..(round + 1) * 10_000 {
                let body = Full::new(Bytes::from(number.to_string()));
                let request = Request::post(&path).header("prefer", "respond-async");
                match gateway.try_send(request.body(body).unwrap()).await {
                    Ok(told) if told.status == 202 => {
                        accepted.insert(number);
                    }
                    _ => break,
                }
            }
            accepted
        });
        eventually("calls are made", async || {
            let made = written(&ledger);
            if made.iter().any(|number| number / 10_000 == round) {
                Ok(())
            } else {
                Err(format!("{made:?}"))
            }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        up.kill();
        accepted.extend(caller.await.unwrap());
    }
    let up = Up::start(dir.path(), no_arguments);
    eventually_within(
        3 * DEADLINE,
        "all calls that were accepted are made",
        async || {
            let made = written(&ledger);
            let missing: Vec<_> = accepted.difference(&made).take(10).collect();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(format!(
                    "of {} these are missing: {missing:?}",
                    accepted.len()
                ))
            }
        },
    )
    .await;
    assert!(accepted.len() > 10, "{}", accepted.len());
    drop(up);
}
