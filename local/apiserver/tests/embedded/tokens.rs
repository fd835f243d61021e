//! What a token of a ServiceAccount opens, and how long.

use std::os::unix::fs::PermissionsExt as _;

use fermata_apiserver::{ApiServer, Options};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::{
    connections::{anonymous, remote},
    requests::{call, send},
    support::{options, server},
};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

async fn token(client: &Client) -> String {
    let account = json!({"metadata": {"name": "robot"}});
    call(client, "POST", ACCOUNTS, account).await;
    let path = format!("{ACCOUNTS}/robot/token");
    let (code, body) = call(client, "POST", &path, json!({"spec": {}})).await;
    assert_eq!(code, 201, "{body}");
    body["status"]["token"].as_str().unwrap().to_owned()
}

/// A request with a token, and nothing else that says who sends it.
async fn with(client: &Client, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(body)
        .unwrap();
    let response = send(client, request).await;
    (response.status().as_u16(), response.into_body())
}

#[tokio::test]
async fn a_token_opens_what_needs_no_role() {
    let server = ApiServer::start(options()).await.unwrap();
    let token = token(&server.client("default")).await;
    let stranger = remote(&anonymous(&server.kubeconfig())).await;
    for path in ["/version", "/api", "/apis", "/api/v1", "/openapi/v3"] {
        let (code, body) = with(&stranger, &token, "GET", path, Value::Null).await;
        assert_eq!(code, 200, "{path}: {body}");
    }
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (code, body) = with(&stranger, &token, "POST", path, json!({})).await;
    assert_eq!(code, 201, "{body}");
    let user = &body["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:robot");

    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (attributes, allowed) in [
        (
            json!({"resourceAttributes": {"verb": "list", "resource": "pods"}}),
            false,
        ),
        (
            json!({"nonResourceAttributes": {"verb": "get", "path": "/apis/apps"}}),
            true,
        ),
        (
            json!({"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}),
            false,
        ),
    ] {
        let review = json!({"spec": attributes});
        let (_, body) = with(&stranger, &token, "POST", path, review).await;
        assert_eq!(body["status"]["allowed"], allowed, "{body}");
    }
    let user = "User \"system:serviceaccount:default:robot\" cannot";
    for (method, path, why) in [
        (
            "GET",
            "/api/v1/namespaces/default/pods",
            format!(
                "pods is forbidden: {user} list resource \"pods\" in API group \"\" in the namespace \"default\""
            ),
        ),
        (
            "GET",
            "/api/v1/nodes/local",
            format!(
                "nodes \"local\" is forbidden: {user} get resource \"nodes\" in API group \"\" at the cluster scope"
            ),
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/default/deployments/web",
            format!(
                "deployments.apps \"web\" is forbidden: {user} delete resource \"deployments\" in API group \"apps\" in the namespace \"default\""
            ),
        ),
        (
            "POST",
            "/api/v1/namespaces/default/serviceaccounts/robot/token",
            format!(
                "serviceaccounts \"robot\" is forbidden: {user} create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"default\""
            ),
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x/exec",
            format!(
                "pods \"x\" is forbidden: {user} get resource \"pods/exec\" in API group \"\" in the namespace \"default\""
            ),
        ),
        (
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            format!(
                "tokenreviews.authentication.k8s.io is forbidden: {user} create resource \"tokenreviews\" in API group \"authentication.k8s.io\" at the cluster scope"
            ),
        ),
    ] {
        let (code, body) = with(&stranger, &token, method, path, Value::Null).await;
        assert_eq!((code, &body["message"]), (403, &json!(why)), "{path}");
    }
    let other = ApiServer::start(options()).await.unwrap();
    let foreign = self::token(&other.client("default")).await;
    for bad in ["", "x", &foreign] {
        let (code, _) = with(&stranger, bad, "GET", "/api", Value::Null).await;
        assert_eq!(code, 401, "{bad}");
    }
}

#[tokio::test]
async fn tokens_outlast_a_restart_and_their_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let kept = || Options {
        data_dir: Some(dir.path().join("state")),
        pki_dir: Some(dir.path().join("pki")),
        ..options()
    };
    let server = ApiServer::start(kept()).await.unwrap();
    let token = token(&server.client("default")).await;
    server.shutdown().await;
    let key = dir.path().join("pki/sa.key");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key), 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();

    let server = ApiServer::start(kept()).await.unwrap();
    assert_eq!(mode(&key), 0o600);
    let stranger = remote(&anonymous(&server.kubeconfig())).await;
    let (code, _) = with(&stranger, &token, "GET", "/api", Value::Null).await;
    assert_eq!(code, 200);
    server.shutdown().await;

    std::fs::write(&key, "no key").unwrap();
    let refused = ApiServer::start(kept()).await.err().unwrap();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("sa.key") && why.contains("delete it"), "{why}");
}

#[tokio::test]
async fn an_audience_that_a_review_names_twice_is_told_once() {
    let (_server, client) = server().await;
    let account = json!({"metadata": {"name": "robot"}});
    call(&client, "POST", ACCOUNTS, account).await;
    let request = json!({"spec": {"audiences": ["shop", "bank"]}});
    let path = format!("{ACCOUNTS}/robot/token");
    let (_, body) = call(&client, "POST", &path, request).await;
    let spec =
        json!({"token": body["status"]["token"], "audiences": ["bank", "post", "bank", "shop"]});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, body) = call(&client, "POST", path, json!({"spec": spec})).await;
    assert_eq!(
        body["status"]["audiences"],
        json!(["bank", "shop"]),
        "{body}"
    );
}
