//! Watches and lists when the server ends, starts again, or has more to say than a reader takes.

use fermata_apiserver::{ApiServer, Options};
use serde_json::json;

use crate::{
    lines::Lines,
    requests::{PATIENCE, call, fill, get, names},
    support::{options, server},
};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn versions_of_an_earlier_run_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(dir.path().to_owned()),
        ..options()
    };
    let server = ApiServer::start(options.clone()).await.unwrap();
    let client = server.client("default");
    fill(&client, CONFIG_MAPS, 2).await;
    let (_, list) = get(&client, &format!("{CONFIG_MAPS}?limit=1")).await;
    server.shutdown().await;

    let server = ApiServer::start(options).await.unwrap();
    let client = server.client("default");
    let (_, now) = get(&client, CONFIG_MAPS).await;
    assert_eq!(names(&now), ["c00", "c01"]);
    let old = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Lines::open(
        &client,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={old}"),
    )
    .await;
    let error = watch.next().await.unwrap();
    assert_eq!(
        (error["type"].as_str(), error["object"]["code"].as_i64()),
        (Some("ERROR"), Some(410))
    );
    assert_eq!(watch.next().await, None);
    let token = list["metadata"]["continue"].as_str().unwrap();
    let (code, body) = get(&client, &format!("{CONFIG_MAPS}?continue={token}")).await;
    assert_eq!((code, body["reason"].as_str()), (410, Some("Expired")));
    server.shutdown().await;
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_so_and_disturbs_nobody() {
    let (server, client) = server().await;
    let new = json!({"metadata": {"name": "big"}});
    call(&client, "POST", CONFIG_MAPS, new).await;
    let mut slow = Lines::open(&client, &format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(slow.event().await.0, "ADDED");
    let mut quick = Lines::open(&client, &format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(quick.event().await.0, "ADDED");
    // More than the history holds: 16 MiB.
    let big = "x".repeat(1_000_000);
    for n in 0..20 {
        let patch = json!({"data": {"big": big, "n": n.to_string()}});
        let (code, _) = call(&client, "PATCH", &format!("{CONFIG_MAPS}/big"), patch).await;
        assert_eq!(code, 200);
        assert_eq!(quick.event().await.0, "MODIFIED");
    }
    let told = async {
        loop {
            let event = slow.next().await.expect("an error before the end");
            if event["type"] == "ERROR" {
                return event["object"]["code"].as_i64();
            }
        }
    };
    assert_eq!(
        tokio::time::timeout(PATIENCE, told).await.unwrap(),
        Some(410)
    );
    assert_eq!(slow.next().await, None);
    server.shutdown().await;
}

#[tokio::test]
async fn watches_end_with_the_server() {
    let (server, client) = server().await;
    let mut watch = Lines::open(&client, &format!("{CONFIG_MAPS}?watch=1")).await;
    let end = tokio::spawn(async move { watch.next().await });
    tokio::time::timeout(PATIENCE, server.shutdown())
        .await
        .unwrap();
    assert_eq!(end.await.unwrap(), None);
}
