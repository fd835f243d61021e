use super::*;

fn router() -> Router<&'static str> {
    let mut router = Router::new("Example.com.", "cluster.local");
    for (namespace, name, cluster_only) in [
        ("default", "hello", false),
        ("shop", "orders", false),
        ("shop", "secret", true),
    ] {
        router.add_name(
            namespace,
            name,
            Target {
                function: name,
                cluster_only,
            },
        );
    }
    router.add_host("api.example.org", "orders");
    router.add_path("/api", "hello");
    router.add_path("/api/orders", "orders");
    router
}

fn find(host: &str, path: &str) -> Option<(&'static str, usize)> {
    router()
        .find(host, path)
        .map(|found| (*found.function, found.strip))
}

#[test]
fn hosts_match_without_case_port_or_trailing_dot() {
    for host in [
        "api.example.org",
        "API.Example.Org",
        "api.example.org:8080",
        "api.example.org.",
        "api.example.org.:80",
    ] {
        assert_eq!(find(host, "/"), Some(("orders", 0)), "{host}");
    }
}

#[test]
fn functions_answer_under_the_domain_and_in_the_cluster() {
    for host in [
        "orders.shop.example.com",
        "orders.shop",
        "orders.shop.svc",
        "orders.shop.svc.cluster.local",
        "orders.shop.svc.cluster.local.:80",
    ] {
        assert_eq!(find(host, "/x"), Some(("orders", 0)), "{host}");
    }
}

#[test]
fn cluster_functions_answer_only_in_cluster_hosts() {
    for host in [
        "secret.shop",
        "secret.shop.svc",
        "secret.shop.svc.cluster.local",
    ] {
        assert_eq!(find(host, "/"), Some(("secret", 0)), "{host}");
    }
    assert_eq!(find("secret.shop.example.com", "/"), None);
    assert_eq!(find("gateway", "/function/secret.shop/"), None);
}

#[test]
fn the_longest_path_wins_at_whole_segments() {
    for (path, function) in [
        ("/api", "hello"),
        ("/api/", "hello"),
        ("/api/x/y", "hello"),
        ("/api/orders", "orders"),
        ("/api/orders/7", "orders"),
        ("/api/ordersx", "hello"),
    ] {
        assert_eq!(find("gateway", path), Some((function, 0)), "{path}");
    }
    assert_eq!(find("gateway", "/apix"), None);
    assert_eq!(find("gateway", "/"), None);
    assert_eq!(find("gateway", "*"), None);
}

#[test]
fn a_host_goes_before_a_path() {
    assert_eq!(
        find("hello.default.example.com", "/api/orders"),
        Some(("hello", 0))
    );
}

#[test]
fn a_root_path_takes_what_is_left() {
    let mut router = router();
    router.add_path("/", "hello");
    assert_eq!(*router.find("any", "/else").unwrap().function, "hello");
    assert_eq!(
        *router.find("any", "/api/orders/1").unwrap().function,
        "orders"
    );
}

#[test]
fn calls_by_name_strip_the_prefix() {
    assert_eq!(
        find("x", "/function/hello"),
        Some(("hello", "/function/hello".len()))
    );
    assert_eq!(
        find("x", "/function/hello/a/b"),
        Some(("hello", "/function/hello".len()))
    );
    let whole = "/function/orders.shop";
    assert_eq!(
        find("x", "/function/orders.shop/a"),
        Some(("orders", whole.len()))
    );
}

#[test]
fn nothing_odd_leads_anywhere() {
    for (host, path) in [
        ("", "/"),
        (".", "/"),
        (":80", "/"),
        (".example.com", "/"),
        ("example.com", "/"),
        ("orders.shop.example.com.evil", "/"),
        ("orders.shop.notexample.com", "/"),
        ("orders.shop.cluster.local", "/"),
        ("[::1]:8080", "/"),
        ("x", "/function/"),
        ("x", "/function//a"),
        ("x", "/function/.shop/a"),
        ("x", "/function/hello.default.svc/a"),
        ("x", "/functionhello"),
    ] {
        assert_eq!(find(host, path), None, "{host} {path}");
    }
}
