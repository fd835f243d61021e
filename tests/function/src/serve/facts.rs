//! What the process can see: its request, its surroundings, itself.

use std::{collections::BTreeMap, env, fs, time::Duration};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;

use super::body::{self, Body, full};

pub(super) async fn request(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let headers: BTreeMap<String, String> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    body::json(&json!({
        "method": head.method.as_str(), "uri": head.uri.to_string(), "version": format!("{:?}", head.version),
        "headers": headers, "body": String::from_utf8_lossy(&body),
    }))
}

pub(super) fn listening(since: Duration) -> Response<Body> {
    let microseconds = since.as_micros();
    Response::new(full(format!(
        "{}.{:03}",
        microseconds / 1000,
        microseconds % 1000
    )))
}

pub(super) fn variable(name: &str) -> Response<Body> {
    match env::var(name) {
        Ok(value) => Response::new(full(value)),
        Err(_) => body::response(StatusCode::NOT_FOUND, full("")),
    }
}

pub(super) fn file(path: &str) -> Response<Body> {
    let root = env::var("FERMATA_ROOT").unwrap_or_default();
    match fs::read(format!("{root}{path}")) {
        Ok(content) => Response::new(full(content)),
        Err(error) => body::response(StatusCode::NOT_FOUND, full(error.to_string())),
    }
}

pub(super) fn whoami() -> Response<Body> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // `Uid:` has the real, the effective, the saved and the file system's id: the second counts.
    let effective = |field| numbers(&status, field).get(1).copied();
    let first = |field| numbers(&status, field).first().copied();
    body::json(&json!({
        "uid": effective("Uid"), "gid": effective("Gid"), "groups": numbers(&status, "Groups"),
        "rootWritable": root_writable(),
        "noNewPrivs": first("NoNewPrivs") == Some(1), "seccomp": first("Seccomp"),
    }))
}

fn numbers(status: &str, field: &str) -> Vec<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn root_writable() -> bool {
    let file = format!("/.fermata-test-function-{}", std::process::id());
    let created = fs::File::create_new(&file).is_ok();
    if created {
        let _ = fs::remove_file(&file);
    }
    created
}
