//! What a function is told about who asks, and what a client cannot say or take away.

use bytes::Bytes;
use fermata_gateway::Options;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Answer, Behaviour, FunctionSpec, Harness, RawClient, echo, full, request, respond_with,
};

/// Asks with these headers.
async fn ask(harness: &Harness, path: &str, headers: &[(&str, &str)]) -> Answer {
    // By the host if the path does not say which function is meant.
    let host = if path.starts_with("/function/") {
        "any.example"
    } else {
        "echo.default.localhost"
    };
    let mut asked = Request::get(path).header("host", host);
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    request(harness.data, asked.body(Empty::<Bytes>::new()).unwrap()).await
}

async fn harness(change: impl FnOnce(&mut Options)) -> Harness {
    Harness::with_options(&[FunctionSpec::warm("echo", echo())], change).await
}

#[tokio::test]
async fn the_connection_header_takes_nothing_away_that_the_gateway_adds() {
    let harness = harness(|_| {}).await;
    let names = "close, x-request-id, traceparent, x-forwarded-for, forwarded, x-forwarded-prefix";
    let headers = [("connection", names), ("x-request-id", "mine")];
    let answer = ask(&harness, "/function/echo/", &headers).await;
    assert_eq!(answer.status, 200);
    let id = answer.header("x-request-id");
    assert_eq!(answer.header("got-x-request-id"), id);
    assert_ne!(id, "mine", "the client has asked not to pass it on");
    assert!(!answer.header("got-traceparent").is_empty());
    assert_eq!(answer.header("got-x-forwarded-for"), "127.0.0.1");
    assert!(
        answer
            .header("got-forwarded")
            .starts_with("for=\"127.0.0.1:")
    );
    assert_eq!(answer.header("got-x-forwarded-prefix"), "/function/echo");
    assert_eq!(answer.header("got-connection"), "");
}

/// What a client says about itself, and what nobody else says.
const CLAIMS: [(&str, &str); 9] = [
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-server", "evil"),
    ("x-forwarded-prefix", "/evil"),
    ("x_forwarded_for", "6.6.6.6"),
    ("x-real-ip", "6.6.6.6"),
    ("x-client-ip", "6.6.6.6"),
    ("true-client-ip", "6.6.6.6"),
    ("forwarded", "for=6.6.6.6"),
];

#[tokio::test]
async fn what_strangers_claim_does_not_pass() {
    for networks in [vec![], vec!["192.0.2.0/24".parse().unwrap()]] {
        let harness = harness(|options| options.trusted_proxies = networks).await;
        let answer = ask(&harness, "/", &CLAIMS).await;
        let seen: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, value)| {
                let value = value.to_str().unwrap();
                // Ids have such digits too, in the middle of others.
                let mut words = value.split(|letter: char| !letter.is_ascii_alphanumeric());
                let has_port = words.any(|word| word == "443");
                let has_claim = ["6.6.6.6", "evil"]
                    .iter()
                    .any(|claim| value.contains(claim));
                name.as_str().starts_with("got-") && (has_port || has_claim)
            })
            .collect();
        assert!(seen.is_empty(), "{seen:?}");
        assert_eq!(answer.header("got-x-forwarded-for"), "127.0.0.1");
        assert_eq!(answer.header("got-x-forwarded-prefix"), "");
    }
}

#[tokio::test]
async fn what_trusted_proxies_say_is_added_to() {
    let networks = vec![
        "10.0.0.0/8".parse().unwrap(),
        "127.0.0.0/8".parse().unwrap(),
    ];
    let harness = harness(|options| options.trusted_proxies = networks).await;
    let answer = ask(&harness, "/function/echo/x", &CLAIMS).await;
    assert_eq!(answer.header("got-x-forwarded-for"), "6.6.6.6, 127.0.0.1");
    assert_eq!(answer.header("got-x-forwarded-port"), "443");
    assert_eq!(answer.header("got-x-real-ip"), "6.6.6.6");
    assert_eq!(
        answer.header("got-x-forwarded-prefix"),
        "/evil/function/echo"
    );
    assert_eq!(answer.header("got-target"), "/x");
}

#[tokio::test]
async fn other_transfer_codings_than_chunked_are_refused_and_not_lost() {
    let harness = harness(|_| {}).await;
    for coding in [
        "gzip, chunked",
        "chunked, chunked",
        "gzip\r\ntransfer-encoding: chunked",
    ] {
        let mut client = RawClient::open(harness.data).await;
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nhost: echo.default.localhost\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n"
            ))
            .await;
        let answer = client.read_until("}").await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{coding}: {answer}");
        assert!(
            answer.contains("x-fermata-reason: UnsupportedCoding"),
            "{answer}"
        );
    }
    for coding in ["gzip, chunked", "gzip"] {
        let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n");
        let behaviour = Behaviour::raw(move |mut stream| {
            let head = head.clone();
            async move {
                let mut buffer = [0; 4096];
                if matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    let _ = stream.write_all(head.as_bytes()).await;
                }
            }
            .boxed()
        });
        let harness = Harness::with(&[FunctionSpec::warm("f", behaviour)]).await;
        let answer = harness.get("f", "/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (502, "FunctionReset")
        );
        assert!(
            answer.text().contains("transfer coding"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_function_says_no_reason_of_the_gateways() {
    let claims = respond_with(|_, _| async {
        let answer = Response::builder()
            .status(503)
            .header("x-fermata-reason", "QueueFull");
        answer.body(full("busy")).unwrap()
    });
    let harness = Harness::with(&[FunctionSpec::warm("echo", claims)]).await;
    let answer = ask(&harness, "/", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (503, ""));
    assert_eq!(answer.text(), "busy");
}
