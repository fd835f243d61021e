//! Programs as handlers.

use std::time::Duration;

use futures::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;

use crate::function::{Function, Setup, client, eventually, rest};

fn command(handler: &str) -> Function {
    Setup::new("command").handler(handler).start()
}

#[tokio::test]
async fn a_program_reads_the_body_and_writes_the_answer() {
    let function = command("tr a-z A-Z");
    let answer = function.post("/", "hello").await;
    assert_eq!(
        (answer.status, answer.kind()),
        (200, "text/plain; charset=utf-8")
    );
    assert_eq!(answer.text(), "HELLO");
    let binary = command("cat");
    let bytes: Vec<u8> = (0..200_000).map(|n: u32| (n % 251) as u8 | 0x80).collect();
    let answer = binary.post("/", bytes.clone()).await;
    assert_eq!(answer.kind(), "application/octet-stream");
    assert_eq!(answer.body, bytes);
    assert_eq!(binary.get("/").await.body, "");
}

#[tokio::test]
async fn the_request_is_in_the_environment() {
    let line = r#"sh -c 'echo "$REQUEST_METHOD $REQUEST_PATH $PATH_INFO $QUERY_STRING $HTTP_X_THING $CONTENT_TYPE $CONTENT_LENGTH $SERVER_NAME"'"#;
    let function = command(line);
    let request = http::Request::post(function.url("/a%20b?x=1"))
        .header("x-thing", "it's $(here)")
        .header("content-type", "text/x");
    let answer = function.send(request, "12345").await;
    assert_eq!(
        answer.text(),
        "POST /a%20b /a b x=1 it's $(here) text/x 5 127.0.0.1\n"
    );
}

#[tokio::test]
async fn a_field_that_only_looks_like_another_is_not_in_the_environment() {
    let function = command("sh -c 'echo $HTTP_X_FORWARDED_FOR $HTTP_X_REAL_IP'");
    let request = http::Request::get(function.url("/"))
        .header("x_forwarded_for", "6.6.6.6")
        .header("x-forwarded-for", "10.0.0.9")
        .header("x_real_ip", "6.6.6.6");
    assert_eq!(function.send(request, "").await.text(), "10.0.0.9\n");
}

#[tokio::test]
async fn a_program_that_fails_is_a_500_and_says_why_in_the_log() {
    let function = command("sh -c 'echo what went wrong >&2; exit 3'");
    let answer = function.get("/").await;
    assert_eq!(
        (answer.status, answer.kind()),
        (500, "application/problem+json")
    );
    assert!(answer.text().contains("exit code 3"), "{}", answer.text());
    assert!(!answer.text().contains("what went wrong"));
    function.logged("what went wrong").await;
    let killed = command("sh -c 'kill -9 $$'");
    assert!(killed.get("/").await.text().contains("signal 9"));
}

#[tokio::test]
async fn a_program_that_fails_in_the_middle_breaks_the_answer_off() {
    let function = command("sh -c 'echo some; exit 3'");
    let text = rest(function.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 200"),
        "{text}"
    );
    assert!(!text.ends_with("0\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn output_is_streamed_while_the_body_still_comes() {
    let function = command("cat");
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes>::new(4);
    let request = http::Request::post(function.url("/")).body(body).unwrap();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client = client.build_http();
    sender.send_data("first".into()).await.unwrap();
    let response = client
        .request(request)
        .await
        .expect("a response before the body's end");
    let mut body = response.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );
    sender.send_data("second".into()).await.unwrap();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "second"
    );
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_caller_that_goes_ends_the_program_and_all_it_started() {
    let function = command("sh -c 'sleep 1000 & sleep 1000'");
    let stream = function.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    eventually("started", || grandchildren(&function) == 2).await;
    drop(stream);
    eventually("ended", || function.children().is_empty()).await;
}

fn grandchildren(function: &Function) -> usize {
    let children = function.children();
    let of = |pid: &i32| {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().count()
    };
    children.iter().map(of).sum()
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_hold_the_answer_up() {
    let function = command("sh -c 'sleep 1000 & echo done'");
    let answer = tokio::time::timeout(Duration::from_secs(20), function.get("/")).await;
    assert_eq!(answer.expect("in time").text(), "done\n");
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_fill_the_process_table() {
    let function = command("sh -c 'setsid sleep 0.1 & echo done'");
    for _ in 0..5 {
        assert_eq!(function.get("/").await.text(), "done\n");
    }
    eventually("all waited for", || function.children().is_empty()).await;
    assert_eq!(function.get("/").await.text(), "done\n");
}

#[tokio::test]
async fn a_program_need_not_read_its_input() {
    let function = command("echo done");
    let answer = function.post("/", vec![b'x'; 1_000_000]).await;
    assert_eq!(answer.text(), "done\n");
}

#[tokio::test]
async fn many_calls_run_at_once_within_the_limit() {
    let function = Setup::new("command")
        .handler("sh -c 'mkdir running/$$; ls running | wc -l; sleep 0.05; rmdir running/$$'")
        .variable("FERMATA_CONCURRENCY", "4")
        .start_in(|directory| std::fs::create_dir(directory.join("running")).unwrap());
    let answers = join_all((0..24).map(|_| function.get("/"))).await;
    let most = answers
        .iter()
        .map(|answer| answer.text().trim().parse::<usize>().unwrap())
        .max();
    assert!(most.unwrap() <= 4 && most.unwrap() > 1, "{most:?}");
}

#[tokio::test]
async fn a_hundred_calls_are_all_answered() {
    let function = command("tr a-z A-Z");
    let calls = (0..100).map(|n| {
        let function = &function;
        async move { (n, function.post("/", format!("call {n}")).await) }
    });
    for (n, answer) in join_all(calls).await {
        assert_eq!(answer.text(), format!("CALL {n}"));
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let function = Setup::new("command")
        .handler("sh -c 'cat >/dev/null; echo done'")
        .variable("FERMATA_MAX_BODY", "1000")
        .start();
    assert_eq!(function.post("/", vec![b'x'; 1000]).await.text(), "done\n");
    assert_eq!(function.post("/", vec![b'x'; 1001]).await.status, 413);
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes>::new(4);
    let request = http::Request::post(function.url("/")).body(body).unwrap();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client = client.build_http();
    sender.send_data(vec![b'x'; 1001].into()).await.unwrap();
    drop(sender);
    let response = client.request(request).await.expect("a response");
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_script_of_the_source_can_be_the_handler() {
    let script = "#!/bin/sh\necho from $1\n";
    for handler in ["./run.sh here", "run.sh here", "sh run.sh here"] {
        let function = Setup::new("command")
            .handler(handler)
            .script("run.sh", script)
            .start();
        assert_eq!(function.get("/").await.text(), "from here\n", "{handler}");
    }
}

#[tokio::test]
async fn a_head_request_has_no_body() {
    let function = command("echo hi");
    let request = http::Request::head(function.url("/"))
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = client().request(request).await.expect("a response");
    assert_eq!(response.status(), 200);
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[test]
fn a_handler_that_cannot_be_run_says_why_and_ends() {
    for (handler, expected) in [
        ("", "no handler is given"),
        ("   ", "no handler is given"),
        ("nothing-of-this-name", "there is no program"),
        ("./nothing", "there is no program"),
        ("sh -c 'x", "no closing"),
        ("./plain.sh", "call it by its interpreter"),
    ] {
        let (status, text) = Setup::new("command")
            .handler(handler)
            .file("plain.sh", "")
            .fail();
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
}
