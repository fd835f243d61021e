//! Lists and watches: pages, selectors, old versions, bookmarks, tables, slow readers.

use http::Request;
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    lines::Lines,
    requests::{call, fill, get, names, send},
};

const SECRETS: &str = "/api/v1/namespaces/~/secrets";

#[tokio::test]
async fn pages_show_one_moment_whatever_happens_between_them() {
    let (_cluster, client) = cluster().await;
    fill(&client, SECRETS, 5).await;
    let (_, first) = get(&client, &format!("{SECRETS}?limit=2")).await;
    assert_eq!(names(&first), ["c00", "c01"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    call(&client, "DELETE", &format!("{SECRETS}/c02"), Value::Null).await;
    call(
        &client,
        "POST",
        SECRETS,
        json!({"metadata": {"name": "c025"}}),
    )
    .await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = get(&client, &format!("{SECRETS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["c02", "c03"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let token = second["metadata"]["continue"].as_str().unwrap();
    let (_, last) = get(&client, &format!("{SECRETS}?limit=2&continue={token}")).await;
    assert_eq!(names(&last), ["c04"]);
    assert_eq!(last["metadata"].get("continue"), None);

    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = format!("{SECRETS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(
        names(&get(&client, &exact).await.1),
        ["c00", "c01", "c02", "c03", "c04"]
    );
    for (query, code) in [
        ("continue=nonsense", 400),
        ("limit=x", 400),
        ("resourceVersion=99999999999999999", 504),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 422),
        ("resourceVersionMatch=Exact", 422),
        ("labelSelector=a%20b", 400),
        ("fieldSelector=spec.x%3D1", 400),
    ] {
        assert_eq!(
            get(&client, &format!("{SECRETS}?{query}")).await.0,
            code,
            "{query}"
        );
    }
}

#[tokio::test]
async fn selectors_choose() {
    let (_cluster, client) = cluster().await;
    fill(&client, SECRETS, 4).await;
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
        let (_, list) = get(&client, &format!("{SECRETS}?{query}")).await;
        assert_eq!(names(&list), expected, "{query}");
    }
}

#[tokio::test]
async fn a_watch_with_a_selector_sees_objects_come_and_go() {
    let (_cluster, client) = cluster().await;
    let mut watch = Lines::open(
        &client,
        &format!("{SECRETS}?watch=1&labelSelector=on%3Dyes"),
    )
    .await;
    let path = format!("{SECRETS}/x");
    call(&client, "POST", SECRETS, json!({"metadata": {"name": "x"}})).await;
    for value in ["yes", "yes", "no", "yes"] {
        let patch = json!({"metadata": {"labels": {"on": value}}, "stringData": {"now": format!("{value}{}", fresh())}});
        call(&client, "PATCH", &path, patch).await;
    }
    call(&client, "DELETE", &path, Value::Null).await;
    for expected in ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"] {
        assert_eq!(watch.event().await, (expected.to_owned(), "x".to_owned()));
    }
}

fn fresh() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

#[tokio::test]
async fn a_streamed_list_ends_with_its_bookmark() {
    let (_cluster, client) = cluster().await;
    fill(&client, SECRETS, 3).await;
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Lines::open(&client, &format!("{SECRETS}?{query}")).await;
    for name in ["c00", "c01", "c02"] {
        assert_eq!(watch.event().await, ("ADDED".to_owned(), name.to_owned()));
    }
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    call(&client, "DELETE", &format!("{SECRETS}/c01"), Value::Null).await;
    // A server may send further bookmarks at any time.
    let event = loop {
        let event = watch.event().await;
        if event.0 != "BOOKMARK" {
            break event;
        }
    };
    assert_eq!(event, ("DELETED".to_owned(), "c01".to_owned()));
    // The place of the bookmark is one to go on from.
    let version = metadata["resourceVersion"].as_str().unwrap();
    let mut again = Lines::open(
        &client,
        &format!("{SECRETS}?watch=1&resourceVersion={version}"),
    )
    .await;
    assert_eq!(
        again.event().await,
        ("DELETED".to_owned(), "c01".to_owned())
    );
    let bad = format!("{SECRETS}?watch=1&sendInitialEvents=true");
    assert_eq!(get(&client, &bad).await.0, 422);
}

#[tokio::test]
async fn a_watch_from_a_version_to_come_hears_nothing_before_it() {
    let (_cluster, client) = cluster().await;
    fill(&client, SECRETS, 1).await;
    let (_, list) = get(&client, SECRETS).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    // Others write too, where the cluster is shared.
    let ahead = version.parse::<u64>().unwrap() + 1000;
    let mut watch = Lines::open(
        &client,
        &format!("{SECRETS}?watch=1&resourceVersion={ahead}&timeoutSeconds=1"),
    )
    .await;
    let new = json!({"metadata": {"name": "early"}});
    assert_eq!(call(&client, "POST", SECRETS, new).await.0, 201);
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_watch_ends_in_time() {
    let (_cluster, client) = cluster().await;
    fill(&client, SECRETS, 1).await;
    let (_, list) = get(&client, SECRETS).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query =
        format!("watch=1&resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=true");
    let mut watch = Lines::open(&client, &format!("{SECRETS}?{query}")).await;
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "BOOKMARK");
    }
}

#[tokio::test]
async fn tables_and_metadata_come_in_lists_and_in_watches() {
    let (_cluster, client) = cluster().await;
    fill(&client, SECRETS, 2).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let request = Request::get(SECRETS)
        .header("accept", table)
        .body(Vec::new())
        .unwrap();
    let list = send(&client, request).await.into_body();
    assert_eq!(list["kind"], "Table");
    let columns = list["columnDefinitions"].as_array().unwrap().iter();
    let columns: Vec<&str> = columns
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Type", "Data", "Age"]);
    assert_eq!(list["rows"][0]["cells"][0], "c00");
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");

    let mut watch = Lines::accept(&client, &format!("{SECRETS}?watch=1"), table).await;
    let first = watch.next().await.unwrap();
    assert_eq!(
        first["object"]["columnDefinitions"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    let second = watch.next().await.unwrap();
    assert_eq!(
        second["object"]["columnDefinitions"],
        Value::Null,
        "columns are named once"
    );
    assert_eq!(second["object"]["rows"][0]["cells"][0], "c01");

    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let request = Request::get(SECRETS)
        .header("accept", partial)
        .body(Vec::new())
        .unwrap();
    let list = send(&client, request).await.into_body();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(list["items"][0].get("data"), None);
}
