use http::HeaderName;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn client(address: &str) -> Client {
    let address = address.parse().unwrap();
    let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    Client::new(address, address, Entrance::Public, &trusted)
}

fn add(client: &Client, headers: &mut HeaderMap, host: &'static str, prefix: Option<&str>) {
    let scan = HeaderScan::of(headers);
    client.add_forwarded(headers, &scan, &HeaderValue::from_static(host), prefix);
}

#[test]
fn what_a_stranger_says_about_itself_is_replaced() {
    let mut some = headers(&[
        ("x-forwarded-for", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/admin"),
        ("x-forwarded-server", "x"),
        ("x_forwarded_for", "1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x_real-ip", "1.1.1.1"),
        ("client-ip", "1.1.1.1"),
        ("true-client-ip", "1.1.1.1"),
        ("cf-connecting-ip", "1.1.1.1"),
        ("x-forward", "kept"),
        ("x-real-ip-of-mine", "kept"),
        ("forwarded-by", "kept"),
        ("content-type", "kept"),
    ]);
    add(&client("192.0.2.9:5"), &mut some, "a.example:8080", None);
    let kept = some.iter().filter(|(_, value)| *value == "kept");
    assert_eq!(kept.count(), 4);
    assert_eq!(some.len(), 8, "{some:?}");
    assert_eq!(some["x-forwarded-for"], "192.0.2.9");
    assert_eq!(
        some["forwarded"],
        "for=\"192.0.2.9:5\";host=\"a.example:8080\";proto=http"
    );
    assert_eq!(some["x-forwarded-proto"], "http");
    assert_eq!(some["x-forwarded-host"], "a.example:8080");
}

#[test]
fn what_a_trusted_proxy_says_is_added_to() {
    let mut some = headers(&[
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "outside"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "1.1.1.1"),
    ]);
    add(&client("[fd00::9]:5"), &mut some, "inside", None);
    assert_eq!(some["x-forwarded-for"], "1.1.1.1, 2.2.2.2, fd00::9");
    assert_eq!(some.get_all("x-forwarded-for").iter().count(), 1);
    assert_eq!(
        some["forwarded"],
        "for=\"[fd00::9]:5\";host=\"inside\";proto=http"
    );
    assert_eq!(some["x-forwarded-proto"], "https");
    assert_eq!(some["x-forwarded-host"], "outside");
    assert_eq!(some["x-forwarded-port"], "443");
    assert_eq!(some["x-real-ip"], "1.1.1.1");
}

#[test]
fn the_prefix_that_is_taken_off_is_told_behind_that_of_a_trusted_proxy() {
    for (from, before, prefix, expected) in [
        (
            "192.0.2.9:5",
            "/evil",
            Some("/function/f"),
            Some("/function/f"),
        ),
        ("192.0.2.9:5", "/evil", None, None),
        (
            "10.0.0.9:5",
            "/api/",
            Some("/function/f"),
            Some("/api/function/f"),
        ),
        ("10.0.0.9:5", "/api", None, Some("/api")),
    ] {
        let mut some = headers(&[("x-forwarded-prefix", before)]);
        add(&client(from), &mut some, "a", prefix);
        let found = some.get("x-forwarded-prefix");
        assert_eq!(found.map(|it| it.to_str().unwrap()), expected, "{from}");
    }
}

#[test]
fn behind_a_proxy_of_the_transport_its_client_decides() {
    let trusted: [Network; 1] = ["10.0.0.0/8".parse().unwrap()];
    let (proxy, stranger) = (
        "10.0.0.9:5".parse().unwrap(),
        "192.0.2.1:7".parse().unwrap(),
    );
    let mut some = headers(&[("x-forwarded-for", "1.1.1.1")]);
    let client = Client::new(proxy, stranger, Entrance::Public, &trusted);
    add(&client, &mut some, "a", None);
    assert_eq!(some["x-forwarded-for"], "192.0.2.1");
    assert_eq!(client.peer(), proxy.ip());
}
