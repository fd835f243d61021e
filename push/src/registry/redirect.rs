//! Where an answer leads to. Pure.

use url::Url;

/// The place that an answer to `from` names; none where it is no place, or would give up TLS.
pub(super) fn follow(from: &str, location: &str) -> Option<Url> {
    let from = Url::parse(from).ok()?;
    let to = from.join(location).ok()?;
    let kept = to.scheme() == from.scheme() || to.scheme() == "https";
    (kept && to.has_host() && matches!(to.scheme(), "http" | "https")).then_some(to)
}

/// Whether two places are of one server, which alone may have what is for it.
pub(super) fn same_server(one: &str, other: &str) -> bool {
    let origin = |text| Url::parse(text).map(|url| url.origin()).ok();
    origin(one).is_some_and(|own| own.is_tuple() && Some(own) == origin(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_followed_but_never_out_of_tls() {
        let from = "https://r.example:5000/v2/a/blobs/uploads/";
        let followed = |location| follow(from, location).map(String::from);
        assert_eq!(
            followed("/v2/x?y=1").as_deref(),
            Some("https://r.example:5000/v2/x?y=1")
        );
        assert_eq!(
            followed("https://s3.example/b").as_deref(),
            Some("https://s3.example/b")
        );
        for wrong in ["http://r.example:5000/x", "file:///etc/passwd", "https://"] {
            assert_eq!(followed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let own = "https://r.example/v2/";
        assert!(same_server(own, "https://r.example:443/other"));
        for other in [
            "https://r.example:444/",
            "http://r.example/",
            "https://r.example.evil/",
            "x",
        ] {
            assert!(!same_server(own, other), "{other}");
        }
    }
}
