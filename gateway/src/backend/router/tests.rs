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
            NamedFunction {
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

fn find_in_cluster(
    host: &str,
    path: &str,
    namespace: Option<&str>,
) -> Option<(&'static str, usize)> {
    router()
        .find_in_cluster(host, path, namespace)
        .map(|found| (*found.function, found.strip))
}

#[test]
fn functions_answer_under_the_domain() {
    assert_eq!(find("orders.shop.example.com", "/x"), Some(("orders", 0)));
}

#[test]
fn in_cluster_names_lead_somewhere_only_in_the_cluster() {
    for host in [
        "orders.shop",
        "orders.shop.svc",
        "orders.shop.svc.cluster.local",
        "Orders.shop.svc.cluster.local.:80",
    ] {
        assert_eq!(find(host, "/x"), None, "{host}");
        let found = find_in_cluster(host, "/x", None);
        assert_eq!(found, Some(("orders", 0)), "{host}");
    }
    for host in ["api.example.org", "orders.shop.example.com", "orders"] {
        assert_eq!(find_in_cluster(host, "/api", None), None, "{host}");
    }
}

#[test]
fn cluster_functions_answer_only_in_the_cluster() {
    for host in [
        "secret.shop",
        "secret.shop.svc",
        "secret.shop.svc.cluster.local",
        "secret.shop.example.com",
    ] {
        assert_eq!(find(host, "/"), None, "{host}");
    }
    assert_eq!(find("gateway", "/function/secret.shop/"), None);
    assert_eq!(
        find_in_cluster("secret.shop.svc", "/", None),
        Some(("secret", 0))
    );
    let strip = "/function/secret.shop".len();
    assert_eq!(
        find_in_cluster("gateway", "/function/secret.shop/", None),
        Some(("secret", strip))
    );
}

#[test]
fn a_name_without_a_namespace_is_looked_for_in_the_callers() {
    assert_eq!(
        find_in_cluster("orders", "/", Some("shop")),
        Some(("orders", 0))
    );
    assert_eq!(find_in_cluster("orders", "/", Some("default")), None);
    let strip = "/function/orders".len();
    let found = find_in_cluster("gateway", "/function/orders", Some("shop"));
    assert_eq!(found, Some(("orders", strip)));
}

#[test]
fn a_name_in_a_path_goes_before_a_path_and_behind_a_host() {
    let mut router = router();
    router.add_path("/", "orders");
    let found = |host| *router.find(host, "/function/hello").unwrap().function;
    assert_eq!(found("gateway"), "hello");
    // Who owns a host owns all paths under it: nobody else's code runs there.
    assert_eq!(found("api.example.org"), "orders");
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
        ("orders.shop.svc", "/"),
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
