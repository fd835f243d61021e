//! Lists and watches: pages, selectors, old versions, bookmarks, tables, slow readers.

use std::time::Duration;

use fermata_apiserver::{ApiServer, Options};
use futures::{AsyncBufRead, AsyncBufReadExt as _};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::support::{PATIENCE, call, options, server};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn fill(client: &Client, count: usize) {
    for n in 0..count {
        let labels = json!({"n": n.to_string(), "even": (n % 2 == 0).to_string()});
        let new = json!({"metadata": {"name": format!("c{n:02}"), "labels": labels}});
        assert_eq!(call(client, "POST", CONFIG_MAPS, new).await.0, 201);
    }
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

async fn get(client: &Client, path: &str) -> (u16, Value) {
    call(client, "GET", path, Value::Null).await
}

/// The events of a watch, line by line.
struct Lines {
    reader: std::pin::Pin<Box<dyn AsyncBufRead + Send>>,
}

impl Lines {
    async fn open(client: &Client, path: &str) -> Self {
        Self::accept(client, path, "application/json").await
    }

    async fn accept(client: &Client, path: &str, accept: &str) -> Self {
        let request = Request::get(path)
            .header("accept", accept)
            .body(Vec::new())
            .unwrap();
        let reader = client.request_stream(request).await.unwrap();
        Self {
            reader: Box::pin(reader),
        }
    }

    async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.reader.read_line(&mut line));
        if read.await.expect("an event").unwrap() == 0 {
            return None;
        }
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Type and name of the next event.
    async fn event(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}

#[tokio::test]
async fn pages_show_one_moment_whatever_happens_between_them() {
    let (server, client) = server().await;
    fill(&client, 5).await;
    let (_, first) = get(&client, &format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["c00", "c01"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    call(
        &client,
        "DELETE",
        &format!("{CONFIG_MAPS}/c02"),
        Value::Null,
    )
    .await;
    call(
        &client,
        "POST",
        CONFIG_MAPS,
        json!({"metadata": {"name": "c025"}}),
    )
    .await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = get(&client, &format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["c02", "c03"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let token = second["metadata"]["continue"].as_str().unwrap();
    let (_, last) = get(&client, &format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&last), ["c04"]);
    assert_eq!(last["metadata"].get("continue"), None);

    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(
        names(&get(&client, &exact).await.1),
        ["c00", "c01", "c02", "c03", "c04"]
    );
    for (query, code) in [
        ("continue=nonsense", 400),
        ("limit=x", 400),
        ("resourceVersion=99999999999999999", 504),
        ("watch=1&resourceVersion=99999999999999999", 504),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 400),
        ("resourceVersionMatch=Exact", 400),
        ("labelSelector=a%20b", 400),
        ("fieldSelector=spec.x%3D1", 400),
    ] {
        assert_eq!(
            get(&client, &format!("{CONFIG_MAPS}?{query}")).await.0,
            code,
            "{query}"
        );
    }
    server.shutdown().await;
}

#[tokio::test]
async fn selectors_choose() {
    let (server, client) = server().await;
    fill(&client, 4).await;
    for (query, expected) in [
        ("labelSelector=even%3Dtrue", vec!["c00", "c02"]),
        ("labelSelector=n%20in%20(1,2),even!%3Dtrue", vec!["c01"]),
        ("labelSelector=!n", vec![]),
        ("fieldSelector=metadata.name%3Dc03", vec!["c03"]),
        (
            "fieldSelector=metadata.name!%3Dc03&labelSelector=even%3Dfalse",
            vec!["c01"],
        ),
    ] {
        let (_, list) = get(&client, &format!("{CONFIG_MAPS}?{query}")).await;
        assert_eq!(names(&list), expected, "{query}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_watch_with_a_selector_sees_objects_come_and_go() {
    let (server, client) = server().await;
    let mut watch = Lines::open(
        &client,
        &format!("{CONFIG_MAPS}?watch=1&labelSelector=on%3Dyes"),
    )
    .await;
    let path = format!("{CONFIG_MAPS}/x");
    call(
        &client,
        "POST",
        CONFIG_MAPS,
        json!({"metadata": {"name": "x"}}),
    )
    .await;
    for value in ["yes", "yes", "no", "yes"] {
        let patch = json!({"metadata": {"labels": {"on": value}}, "data": {"now": format!("{value}{}", fresh())}});
        call(&client, "PATCH", &path, patch).await;
    }
    call(&client, "DELETE", &path, Value::Null).await;
    for expected in ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"] {
        assert_eq!(watch.event().await, (expected.to_owned(), "x".to_owned()));
    }
    server.shutdown().await;
}

fn fresh() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

#[tokio::test]
async fn a_streamed_list_ends_with_its_bookmark() {
    let (server, client) = server().await;
    fill(&client, 3).await;
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Lines::open(&client, &format!("{CONFIG_MAPS}?{query}")).await;
    for name in ["c00", "c01", "c02"] {
        assert_eq!(watch.event().await, ("ADDED".to_owned(), name.to_owned()));
    }
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    call(
        &client,
        "DELETE",
        &format!("{CONFIG_MAPS}/c01"),
        Value::Null,
    )
    .await;
    assert_eq!(
        watch.event().await,
        ("DELETED".to_owned(), "c01".to_owned())
    );
    // The place of the bookmark is one to go on from.
    let version = metadata["resourceVersion"].as_str().unwrap();
    let mut again = Lines::open(
        &client,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"),
    )
    .await;
    assert_eq!(
        again.event().await,
        ("DELETED".to_owned(), "c01".to_owned())
    );
    let bad = format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true");
    assert_eq!(get(&client, &bad).await.0, 400);
    server.shutdown().await;
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark() {
    let (server, client) = server().await;
    fill(&client, 1).await;
    let (_, list) = get(&client, CONFIG_MAPS).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query =
        format!("watch=1&resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=true");
    let mut watch = Lines::open(&client, &format!("{CONFIG_MAPS}?{query}")).await;
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(watch.next().await, None);
    server.shutdown().await;
}

#[tokio::test]
async fn tables_and_metadata_come_in_lists_and_in_watches() {
    let (server, client) = server().await;
    fill(&client, 2).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let request = Request::get(CONFIG_MAPS)
        .header("accept", table)
        .body(Vec::new())
        .unwrap();
    let list = crate::support::send(&client, request).await.into_body();
    assert_eq!(list["kind"], "Table");
    let columns = list["columnDefinitions"].as_array().unwrap().iter();
    let columns: Vec<&str> = columns
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    assert_eq!(list["rows"][0]["cells"][0], "c00");
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");

    let mut watch = Lines::accept(&client, &format!("{CONFIG_MAPS}?watch=1"), table).await;
    let first = watch.next().await.unwrap();
    assert_eq!(
        first["object"]["columnDefinitions"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let second = watch.next().await.unwrap();
    assert_eq!(
        second["object"]["columnDefinitions"],
        json!([]),
        "columns are named once"
    );
    assert_eq!(second["object"]["rows"][0]["cells"][0], "c01");

    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let request = Request::get(CONFIG_MAPS)
        .header("accept", partial)
        .body(Vec::new())
        .unwrap();
    let list = crate::support::send(&client, request).await.into_body();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(list["items"][0].get("data"), None);
    server.shutdown().await;
}

#[tokio::test]
async fn versions_of_an_earlier_run_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(dir.path().to_owned()),
        ..options()
    };
    let server = ApiServer::start(options.clone()).await.unwrap();
    let client = server.client("default");
    fill(&client, 2).await;
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
    tokio::time::timeout(Duration::from_secs(10), server.shutdown())
        .await
        .unwrap();
    assert_eq!(end.await.unwrap(), None);
}
