//! Raw requests, whose answers are looked at whole.

use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use serde_json::{Value, json};

/// How long a test waits for what should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A path in which `~` stands for the namespace of the client.
pub(crate) fn placed(client: &Client, path: &str) -> String {
    path.replace(
        "/namespaces/~",
        &format!("/namespaces/{}", client.default_namespace()),
    )
}

/// A raw request, its path [`placed`]; the status code and the body.
pub(crate) async fn send(client: &Client, request: Request<Vec<u8>>) -> Response<Value> {
    let (mut parts, body) = request.into_parts();
    let path = placed(client, &parts.uri.to_string());
    parts.uri = path.parse().expect("path");
    let request = Request::from_parts(parts, kube::client::Body::from(body));
    let whole = async {
        let response = client.send(request).await.expect("response");
        let (parts, body) = response.into_parts();
        (parts, body.collect_bytes().await.expect("body"))
    };
    let answer = tokio::time::timeout(PATIENCE, whole).await;
    let (parts, bytes) = answer.unwrap_or_else(|_| panic!("no answer, or one without end: {path}"));
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Response::from_parts(parts, value)
}

/// A request with a JSON body.
pub(crate) async fn call(client: &Client, method: &str, path: &str, body: Value) -> (u16, Value) {
    let content_type = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    typed(client, method, path, content_type, body).await
}

pub(crate) async fn typed(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: Value,
) -> (u16, Value) {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(body)
        .expect("request");
    let response = send(client, request).await;
    (response.status().as_u16(), response.into_body())
}

/// The answer to a GET.
pub(crate) async fn get(client: &Client, path: &str) -> (u16, Value) {
    call(client, "GET", path, Value::Null).await
}

/// Creates objects `c00`, `c01` and so on, with labels that say which and whether that is even.
pub(crate) async fn fill(client: &Client, path: &str, count: usize) {
    for n in 0..count {
        let labels = json!({"n": n.to_string(), "even": (n % 2 == 0).to_string()});
        let new = json!({"metadata": {"name": format!("c{n:02}"), "labels": labels}});
        let (code, body) = call(client, "POST", path, new).await;
        assert_eq!(code, 201, "{body}");
    }
}

/// The names of what is in a list.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("a list").iter();
    items
        .map(|item| item["metadata"]["name"].as_str().expect("a name"))
        .collect()
}

/// A server-side apply.
pub(crate) async fn apply(
    client: &Client,
    path: &str,
    manager: &str,
    force: bool,
    config: Value,
) -> (u16, Value) {
    let path = format!("{path}?fieldManager={manager}&force={force}");
    typed(
        client,
        "PATCH",
        &path,
        "application/apply-patch+yaml",
        config,
    )
    .await
}

/// Waits until `probe` says yes.
pub(crate) async fn eventually<F, T>(what: &str, mut probe: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let wait = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}
