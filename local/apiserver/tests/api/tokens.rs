//! Tokens of ServiceAccounts.

use kube::Client;
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    requests::{call, eventually},
};

const ACCOUNTS: &str = "/api/v1/namespaces/~/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/~/secrets";

/// Asks for a token of the account `robot`.
async fn request(client: &Client, spec: Value) -> (u16, Value) {
    let path = format!("{ACCOUNTS}/robot/token");
    let body =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    call(client, "POST", &path, body).await
}

async fn robot(client: &Client) -> String {
    let account = json!({"metadata": {"name": "robot"}});
    let (code, body) = call(client, "POST", ACCOUNTS, account).await;
    assert_eq!(code, 201, "{body}");
    body["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// What the server says of a token.
async fn review(client: &Client, token: &Value, audiences: Value) -> Value {
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences},
    });
    let (code, body) = call(client, "POST", path, body).await;
    assert_eq!(code, 201, "{body}");
    body["status"].clone()
}

async fn refused(client: &Client, token: &Value, audiences: Value) {
    eventually("the token is good no longer", async || {
        let status = review(client, token, audiences.clone()).await;
        (status["authenticated"] != true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_token_says_whose_it_is_until_its_account_is_gone() {
    let (cluster, client) = cluster().await;
    let uid = robot(&client).await;
    let (code, body) = request(&client, json!({})).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!(body["kind"], "TokenRequest");
    assert_eq!(body["metadata"]["name"], "robot");
    assert_eq!(body["spec"]["expirationSeconds"], 3600);
    assert!(body["status"]["expirationTimestamp"].is_string(), "{body}");
    let token = &body["status"]["token"];
    let status = review(&client, token, Value::Null).await;
    assert_eq!(status["authenticated"], true, "{status}");
    let user = &status["user"];
    let namespace = &cluster.namespace;
    assert_eq!(
        user["username"],
        format!("system:serviceaccount:{namespace}:robot")
    );
    assert_eq!(user["uid"], uid);
    let groups = user["groups"].as_array().unwrap();
    for group in [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ] {
        assert!(groups.contains(&json!(group)), "{user}");
    }
    let path = format!("{ACCOUNTS}/robot");
    assert_eq!(call(&client, "DELETE", &path, Value::Null).await.0, 200);
    refused(&client, token, Value::Null).await;
    // One of the same name is another one.
    robot(&client).await;
    refused(&client, token, Value::Null).await;
}

#[tokio::test]
async fn audiences_are_kept_apart() {
    let (_cluster, client) = cluster().await;
    robot(&client).await;
    let (code, body) = request(&client, json!({"audiences": ["shop", "bank"]})).await;
    assert_eq!(code, 201, "{body}");
    let token = &body["status"]["token"];
    let status = review(&client, token, json!(["bank", "post"])).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["audiences"], json!(["bank"]));
    for other in [json!(["post"]), Value::Null] {
        let status = review(&client, token, other).await;
        assert_ne!(status["authenticated"], true, "{status}");
        assert!(status["error"].is_string(), "{status}");
    }
    let forged = review(&client, &json!("a.b.c"), Value::Null).await;
    assert_ne!(forged["authenticated"], true, "{forged}");
}

#[tokio::test]
async fn a_bound_token_ends_with_what_it_is_bound_to() {
    let (_cluster, client) = cluster().await;
    robot(&client).await;
    let secret = json!({"metadata": {"name": "tie"}});
    let (code, secret) = call(&client, "POST", SECRETS, secret).await;
    assert_eq!(code, 201, "{secret}");
    let bound = |name: &str, uid: &Value| json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid}});
    let (code, body) = request(&client, bound("tie", &secret["metadata"]["uid"])).await;
    assert_eq!(code, 201, "{body}");
    let token = &body["status"]["token"];
    let status = review(&client, token, Value::Null).await;
    assert_eq!(status["authenticated"], true, "{status}");

    assert_eq!(request(&client, bound("none", &Value::Null)).await.0, 404);
    let (code, body) = request(&client, bound("tie", &json!("other"))).await;
    assert_eq!((code, &body["reason"]), (409, &json!("Conflict")), "{body}");
    let map = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "tie"}});
    let (code, body) = request(&client, map).await;
    assert_eq!(code, 400, "{body}");
    assert_eq!(
        body["message"],
        "cannot bind token to object of type /v1, Kind=ConfigMap"
    );

    let path = format!("{SECRETS}/tie");
    assert_eq!(call(&client, "DELETE", &path, Value::Null).await.0, 200);
    refused(&client, token, Value::Null).await;
}

#[tokio::test]
async fn lifetimes_have_bounds_and_accounts_must_exist() {
    let (_cluster, client) = cluster().await;
    let (code, body) = request(&client, json!({})).await;
    assert_eq!((code, &body["reason"]), (404, &json!("NotFound")), "{body}");
    robot(&client).await;
    for (seconds, why) in [
        (599_i64, "may not specify a duration less than 10 minutes"),
        (
            (1 << 32) + 1,
            "may not specify a duration larger than 2^32 seconds",
        ),
    ] {
        let (code, body) = request(&client, json!({"expirationSeconds": seconds})).await;
        assert_eq!(code, 422, "{body}");
        let message = body["message"].as_str().unwrap();
        assert!(
            message.contains("spec.expirationSeconds") && message.contains(why),
            "{message}"
        );
    }
    let (code, body) = request(&client, json!({"expirationSeconds": 600})).await;
    assert_eq!(code, 201, "{body}");
}

#[tokio::test]
async fn the_default_account_of_a_namespace_comes_back() {
    let (_cluster, client) = cluster().await;
    let path = format!("{ACCOUNTS}/default");
    let uid = async || {
        let (_, account) = call(&client, "GET", &path, Value::Null).await;
        account["metadata"]["uid"].as_str().map(ToOwned::to_owned)
    };
    let first = eventually("the account is there", uid).await;
    assert_eq!(call(&client, "DELETE", &path, Value::Null).await.0, 200);
    eventually("the account is back", async || {
        uid().await.filter(|uid| *uid != first)
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let (_cluster, client) = cluster().await;
    robot(&client).await;
    let token = format!("{ACCOUNTS}/robot/token");
    let review = "/apis/authentication.k8s.io/v1/tokenreviews".to_owned();
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
    let v1 = "authentication.k8s.io/v1";
    for (path, body) in [
        (
            &token,
            json!({"apiVersion": v1, "kind": "TokenRequest", "spec": []}),
        ),
        (&token, json!({"apiVersion": v1, "kind": "TokenReview"})),
        (
            &token,
            json!({"apiVersion": "authentication.k8s.io/v2", "kind": "TokenRequest", "spec": {}}),
        ),
        (&token, json!([])),
        (
            &review,
            json!({"apiVersion": v1, "kind": "TokenReview", "spec": {"token": "a", "audiences": "b"}}),
        ),
        (
            &review,
            json!({"apiVersion": v1, "kind": "TokenReview", "spec": {"token": "a", "audiences": [{}]}}),
        ),
        (
            &access,
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": []}),
        ),
    ] {
        let (code, answer) = call(&client, "POST", path, body.clone()).await;
        assert_eq!(code, 400, "{path} {body}: {answer}");
    }
}
