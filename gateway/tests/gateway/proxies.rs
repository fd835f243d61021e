//! Proxies that pass on connections and say whose they are, and the names of the admin port.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::support::{FunctionSpec, Harness, RawClient, echo, get};

const ASK: &str = "GET / HTTP/1.1\r\nhost: f.default.localhost\r\n\r\n";

/// A header of version 2 for a client at 203.0.113.7.
fn header(command: u8, family: u8, more: &[u8]) -> Vec<u8> {
    let addresses = [203, 0, 113, 7, 10, 0, 0, 1, 0xab, 0xcd, 0, 80];
    let length = u16::try_from(addresses.len() + more.len()).unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header.extend(more);
    header
}

async fn harness(networks: &[&str]) -> Harness {
    Harness::with_options(&[FunctionSpec::warm("f", echo())], |options| {
        options.proxy_protocol = true;
        options.trusted_proxies = networks.iter().map(|it| it.parse().unwrap()).collect();
        options.header_timeout = Duration::from_millis(200).into();
    })
    .await
}

async fn answer(harness: &Harness, parts: &[&[u8]], until: &str) -> String {
    let mut client = RawClient::open(harness.data).await;
    for part in parts {
        client.0.write_all(part).await.unwrap();
    }
    client.read_until(until).await
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_a_connection_is() {
    let harness = harness(&["127.0.0.0/8"]).await;
    for (first, client) in [
        (header(1, 0x11, &[]), "203.0.113.7"),
        (header(1, 0x11, &[4, 0, 3, 1, 2, 3]), "203.0.113.7"),
        // Its own connections, and those it does not name, are its own.
        (header(0, 0x11, &[]), "127.0.0.1"),
        (header(0, 0x00, &[]), "127.0.0.1"),
        (header(1, 0x00, &[]), "127.0.0.1"),
    ] {
        // What the client behind it says about itself is what a stranger says.
        let ask = ASK.replace("\r\n\r\n", "\r\nx-forwarded-for: 6.6.6.6\r\n\r\n");
        let answer = answer(&harness, &[&first, ask.as_bytes()], "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{first:?}: {answer}");
        let expected = if client == "127.0.0.1" {
            "got-x-forwarded-for: 6.6.6.6, 127.0.0.1\r\n".to_owned()
        } else {
            format!("got-x-forwarded-for: {client}\r\n")
        };
        assert!(answer.contains(&expected), "{first:?}: {answer}");
    }
    let mut parts = header(1, 0x11, &[]);
    parts.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // The server's settings come first.
    let settings = answer(&harness, &[&parts, &[0, 0, 0, 4, 0, 0, 0, 0, 0]], "\0\u{4}").await;
    assert!(!settings.is_empty());
}

#[tokio::test]
async fn a_trusted_proxy_has_to_say_so_in_time_and_well() {
    let harness = harness(&["127.0.0.0/8"]).await;
    let whole = header(1, 0x11, &[]);
    for bad in [
        ASK.as_bytes(),
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        &whole[..9],
        &whole[..20],
        &header(1, 0x12, &[]),
        &header(2, 0x11, &[]),
    ] {
        assert_eq!(answer(&harness, &[bad], "").await, "", "{bad:?}");
    }
}

#[tokio::test]
async fn others_say_nothing_and_are_not_believed() {
    let harness = harness(&["192.0.2.0/24"]).await;
    assert_eq!(harness.get("f", "/").await.status, 200);
    let first = header(1, 0x11, &[]);
    let answer = answer(&harness, &[&first, ASK.as_bytes()], "").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn the_admin_port_answers_to_its_own_names_only() {
    let harness = Harness::with_options(&[], |options| {
        options.admin.hosts = vec!["metrics.example.org".to_owned()];
    })
    .await;
    let address = harness.admin.to_string();
    for own in [
        &*address,
        "localhost:1",
        "[::1]",
        "Metrics.example.org:9090",
    ] {
        assert_eq!(get(harness.admin, own, "/livez").await.status, 200, "{own}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/stats"] {
        let answer = get(harness.admin, "evil.example:9090", path).await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.text().contains("--admin-hosts"));
    }
    let mut client = RawClient::open(harness.admin).await;
    client.send("GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(client.read_to_end().await.starts_with("HTTP/1.0 200 "));
    let mut client = RawClient::open(harness.admin).await;
    client
        .send("GET http://evil.example/livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    assert!(client.read_until("\n").await.starts_with("HTTP/1.1 421 "));
}
