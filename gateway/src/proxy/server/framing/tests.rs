use std::{convert::Infallible, fmt::Write};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Follows the text in parts of each size; what is found must not depend on that.
fn follow(text: &str) -> Option<Finding> {
    let outcomes = [usize::MAX, 1, 2, 3, 7, 64].map(|size| {
        let mut framing = Framing::default();
        let found = text
            .as_bytes()
            .chunks(size.min(text.len().max(1)))
            .find_map(|part| framing.follow(part).err());
        found.map(|found| found.finding)
    });
    assert!(outcomes.iter().all(|one| *one == outcomes[0]), "{text:?}");
    outcomes[0]
}

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn requests_one_after_another_are_followed() {
    for body in [
        "",
        "content-length: 0\r\n\r\n",
        "content-length: 5\r\n\r\n\nab\nc",
        "Content-Length:5\r\n\r\n\n\n\n\n\n",
        "transfer-encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n",
        "Transfer-Encoding:chunked\r\n\r\n3;x=\"y\"\r\n\n\n\n\r\nA \r\n\n\n\n\n\n\n\n\n\n\n\r\n000\r\nx: y\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nhost: a\r\n";
        let first = if body.is_empty() {
            GET.to_owned()
        } else {
            format!("{head}{body}")
        };
        assert_eq!(follow(&format!("{first}{GET}\r\n{GET}")), None, "{body:?}");
        let bad = format!("{first}GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n");
        assert_eq!(follow(&bad), Some(Finding::BareLineFeed), "{body:?}");
    }
}

#[test]
fn bare_line_feeds_are_found_in_each_line_of_a_head() {
    for bad in [
        "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        assert_eq!(follow(bad), Some(Finding::BareLineFeed), "{bad:?}");
    }
}

#[test]
fn the_beginning_of_the_head_is_told() {
    let mut framing = Framing::default();
    let bytes = format!("{GET}GET / HTTP/1.1\r\nhost: a\n");
    let found = framing.follow(bytes.as_bytes()).unwrap_err();
    assert_eq!(found.finding, Finding::BareLineFeed);
    assert_eq!((found.begin, found.end), (GET.len(), bytes.len()));
    // When the head began earlier, nothing of these bytes may pass.
    let mut framing = Framing::default();
    assert_eq!(framing.follow(b"GET / HTTP/1.1\r\nho"), Ok(()));
    let found = framing.follow(b"st: a\nx").unwrap_err();
    assert_eq!((found.begin, found.end), (0, 6));
}

#[test]
fn many_fields_are_told_once_and_too_many_too() {
    let head = |fields: usize| {
        let mut head = "GET / HTTP/1.1\r\n".to_owned();
        for number in 0..fields {
            write!(head, "x-{number}: y\r\n").unwrap();
        }
        head + "\r\n"
    };
    assert_eq!(follow(&head(FEW_FIELDS)), None);
    for (fields, found) in [
        (FEW_FIELDS + 1, vec![Finding::ManyFields]),
        (MOST_FIELDS, vec![Finding::ManyFields]),
        (
            MOST_FIELDS + 1,
            vec![Finding::ManyFields, Finding::TooManyFields],
        ),
    ] {
        let mut framing = Framing::default();
        // As one byte after the other, so that nothing lies behind what is found.
        let findings: Vec<Finding> = head(fields)
            .bytes()
            .filter_map(|byte| framing.follow(&[byte]).err())
            .map(|found| found.finding)
            .collect();
        assert_eq!(findings, found, "{fields}");
    }
}

#[test]
fn what_is_no_chunk_is_lost() {
    for bad in [
        "\r\n",
        "x\r\n",
        "3x\r\nabc\r\n",
        "3\nabc\r\n",
        "ffffffffffffffffff\r\n",
        "fffffffffffffffe\r\n",
    ] {
        let text = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{bad}");
        assert_eq!(follow(&text), Some(Finding::Lost), "{bad:?}");
    }
}

#[test]
fn a_length_that_cannot_be_seen_whole_is_lost() {
    let line = format!("content-length:{}5\r\n\r\nabcde", " ".repeat(LINE_KEPT));
    let text = format!("POST / HTTP/1.1\r\n{line}");
    let mut framing = Framing::default();
    assert_eq!(framing.follow(text.as_bytes()), Ok(()));
    let mut framing = Framing::default();
    let (begin, rest) = text.as_bytes().split_at(100);
    framing.follow(begin).unwrap();
    assert_eq!(framing.follow(rest).unwrap_err().finding, Finding::Lost);
}

#[test]
fn half_a_head_is_told_from_none() {
    let mut framing = Framing::default();
    assert!(!framing.is_mid_head());
    for (part, mid) in [
        ("G", true),
        ("ET / HTTP/1.1\r\n", true),
        ("content-length: 3\r\n\r\n", false),
        ("ab", false),
        ("c", false),
        ("G", true),
    ] {
        framing.follow(part.as_bytes()).unwrap();
        assert_eq!(framing.is_mid_head(), mid, "{part:?}");
    }
}

/// How many requests hyper reads from these bytes, bodies included.
pub(super) async fn taken_by_hyper(bytes: &[u8]) -> usize {
    let (mut client, server) = tokio::io::duplex(bytes.len() + 1);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
        let taken = &taken;
        async move {
            if request.into_body().collect().await.is_ok() {
                taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(server), service);
    let reading = async {
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await
    };
    let _ = tokio::join!(serving, reading);
    taken.into_inner()
}

#[tokio::test]
async fn it_counts_as_many_requests_as_hyper() {
    for text in [
        format!("{GET}{GET}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc{GET}"),
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{GET}"
        ),
    ] {
        assert_eq!(taken_by_hyper(text.as_bytes()).await, 2, "{text:?}");
        assert_eq!(follow(&text), None);
    }
}
