//! What a node in the same process may do to pods.

use std::sync::Arc;

use fermata_apiserver::{ApiServer, Options};
use serde_json::{Value, json};

use crate::{requests::call, support::options};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn pods_are_changed_or_refused_by_mutators() {
    let server = ApiServer::start(Options {
        mutators: vec![Arc::new(|pod: &mut Value, live: Option<&Value>| {
            if let Some(live) = live {
                pod["metadata"]["annotations"]["was"] = live["spec"]["nodeName"].clone();
            }
            if pod["metadata"]["name"] == "unwanted" {
                return Err("the node has no room for it".to_owned());
            }
            pod["spec"]["nodeName"] = json!("local");
            Ok(())
        })],
        ..options()
    })
    .await
    .unwrap();
    let client = server.client("default");
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let (code, made) = call(&client, "POST", PODS, pod("a")).await;
    assert_eq!(
        (code, made["spec"]["nodeName"].as_str()),
        (201, Some("local"))
    );
    let (code, body) = call(&client, "POST", PODS, pod("unwanted")).await;
    assert_eq!(
        (code, body["message"].as_str()),
        (
            403,
            Some("pods \"unwanted\" is forbidden: the node has no room for it")
        )
    );
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    let (code, changed) = call(&client, "PATCH", &format!("{PODS}/a"), patch).await;
    assert_eq!(
        (code, changed["metadata"]["annotations"]["was"].as_str()),
        (200, Some("local"))
    );
    server.shutdown().await;
}
