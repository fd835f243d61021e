//! What a request says before its body: for which function it is, and how it is signed. Pure.

use fermata_daemon::watch::Key;
use http::{HeaderMap, HeaderName, Method};

use super::{refusal::Refusal, signature::Claim};

/// Below which path of the gateway deliveries are taken.
pub(in super::super) const PATH: &str = "/hooks/git";

/// Signatures of the body (HMAC-SHA256, hexadecimal), and what stands before them.
/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
/// <https://docs.gitea.com/usage/webhooks>
static SIGNATURES: [(HeaderName, &str); 4] = [
    (HeaderName::from_static("x-hub-signature-256"), "sha256="),
    (HeaderName::from_static("x-gitea-signature"), ""),
    (HeaderName::from_static("x-forgejo-signature"), ""),
    (HeaderName::from_static("x-gogs-signature"), ""),
];

/// The key itself. <https://docs.gitlab.com/user/project/integrations/webhooks/>
static TOKEN: HeaderName = HeaderName::from_static("x-gitlab-token");

/// What has happened.
static EVENTS: [HeaderName; 4] = [
    HeaderName::from_static("x-github-event"),
    HeaderName::from_static("x-gitea-event"),
    HeaderName::from_static("x-forgejo-event"),
    HeaderName::from_static("x-gogs-event"),
];

/// A delivery.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Delivery {
    /// The function.
    pub(super) function: Key,
    /// How it is signed; each in a way of its own.
    pub(super) claims: Vec<Claim>,
    /// Whether it only tries whether somebody is there.
    pub(super) is_ping: bool,
}

// === impl Delivery ===

impl Delivery {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// When it cannot be a delivery.
    pub(super) fn of(method: &Method, path: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let path = path
            .strip_prefix(PATH)
            .and_then(|rest| rest.strip_prefix('/'));
        let function = path.and_then(|path| path.split_once('/'));
        let Some((namespace, name)) = function.filter(|(_, name)| !name.contains('/')) else {
            return Err(Refusal::NotHere);
        };
        if method != Method::POST {
            return Err(Refusal::NoPost);
        }
        let signatures = SIGNATURES.iter().filter_map(|(header, before)| {
            let text = only(headers, header)?.strip_prefix(before.as_bytes())?;
            Claim::signature(text)
        });
        let token = only(headers, &TOKEN).map(|token| Claim::Token(token.into()));
        let is_ping = EVENTS
            .iter()
            .any(|event| only(headers, event) == Some(b"ping"));
        Ok(Self {
            function: Key::new(namespace, name),
            claims: signatures.chain(token).collect(),
            is_ping,
        })
    }
}

/// A field that is there once: nobody signs twice in the same way.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(path: &str, pairs: &[(&'static str, &str)]) -> Result<Delivery, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        Delivery::of(&Method::POST, path, &headers)
    }

    #[test]
    fn the_path_names_the_function() {
        let found = delivery("/hooks/git/shop/orders", &[]).unwrap();
        assert_eq!(found.function, Key::new("shop", "orders"));
        for path in [
            "/",
            "/hooks/git",
            "/hooks/git/",
            "/hooks/git/orders",
            "/hooks/gitx/shop/orders",
            "/hooks/git/shop/orders/",
            "/git/shop/orders",
        ] {
            let status = delivery(path, &[]).unwrap_err();
            assert_eq!(status, Refusal::NotHere, "{path}");
        }
        let get = Delivery::of(&Method::GET, "/hooks/git/a/b", &HeaderMap::new());
        assert_eq!(get.unwrap_err(), Refusal::NoPost);
    }

    #[test]
    fn each_service_signs_in_its_own_way() {
        let mac = "ab".repeat(32);
        let sha256 = format!("sha256={mac}");
        for (header, value) in [
            ("x-hub-signature-256", sha256.as_str()),
            ("x-gitea-signature", &mac),
            ("x-forgejo-signature", &mac),
            ("x-gogs-signature", &mac),
        ] {
            let claims = delivery("/hooks/git/a/b", &[(header, value)])
                .unwrap()
                .claims;
            assert_eq!(claims, [Claim::Mac([0xab; 32])], "{header}");
        }
        let token = delivery("/hooks/git/a/b", &[("x-gitlab-token", "word")]);
        assert_eq!(token.unwrap().claims, [Claim::Token(b"word"[..].into())]);
        for (header, value) in [
            ("x-hub-signature-256", mac.as_str()),
            ("x-hub-signature-256", "sha256=ab"),
            ("x-hub-signature", &sha256),
            ("x-gitea-signature", &sha256),
            ("x-gitea-signature", ""),
            ("authorization", &mac),
        ] {
            let claims = delivery("/hooks/git/a/b", &[(header, value)])
                .unwrap()
                .claims;
            assert!(claims.is_empty(), "{header}: {value}");
        }
        let twice = [("x-gitlab-token", "a"), ("x-gitlab-token", "b")];
        assert!(
            delivery("/hooks/git/a/b", &twice)
                .unwrap()
                .claims
                .is_empty()
        );
    }

    #[test]
    fn a_ping_is_known() {
        let event = |name, value| delivery("/hooks/git/a/b", &[(name, value)]).unwrap();
        assert!(event("x-github-event", "ping").is_ping);
        assert!(!event("x-github-event", "push").is_ping);
        assert!(!event("x-gitlab-event", "Push Hook").is_ping);
    }
}
