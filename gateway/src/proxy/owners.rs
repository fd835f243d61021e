//! Who may see and change the calls that a function has: whoever the cluster lets do that on `functions/invocations`,
//! which it is asked with the token that they show. The gateway has no right of its own to ask.

use std::{fmt, time::Duration};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use fermata_daemon::watch::Key;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Client, Config, config::AuthInfo};
use tokio::{sync::Semaphore, time};

use crate::{
    cluster::peers::Entrance,
    failure::{AccessRefused, Failure},
    proxy::client::Client as Peer,
};

/// The most questions to the API server at once, so that strangers cannot make it busy.
const MOST_ASKED: usize = 8;

/// How long an answer may take, a place to ask included.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest token, in bytes.
const LONGEST: usize = 16 * 1024;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// How it is known to whom a function belongs.
#[derive(Default)]
pub struct Owners(Kind);

#[derive(Default)]
enum Kind {
    /// Nobody is known.
    #[default]
    Nobody,
    /// By a token of the cluster.
    Reviewed {
        /// A way to the API server that shows nothing by itself.
        client: Client,
        asked: Semaphore,
    },
    /// By a secret: whoever has it owns everything.
    Secret(Box<str>),
}

// === impl Owners ===

impl Owners {
    /// Asks the cluster of this configuration, of which credentials and headers are left out: nobody asks as the
    /// gateway.
    ///
    /// # Errors
    ///
    /// When no client can be made of it.
    pub fn of_cluster(mut config: Config) -> Result<Self, kube::Error> {
        config.auth_info = AuthInfo::default();
        config.headers = Vec::new();
        config.default_retry = false;
        Ok(Self(Kind::Reviewed {
            client: Client::try_from(config)?,
            asked: Semaphore::new(MOST_ASKED),
        }))
    }

    /// Takes whoever shows this secret for the owner of all functions.
    #[must_use]
    pub fn with_secret(secret: &str) -> Self {
        Self(Kind::Secret(secret.into()))
    }

    /// Finds out whether a request with these headers may do this with the calls of a function.
    ///
    /// # Errors
    ///
    /// When it may not, or nobody says that it may.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn admit(
        &self,
        peer: &Peer,
        method: &Method,
        headers: &HeaderMap,
        function: &Key,
    ) -> Result<(), Failure> {
        if matches!(self.0, Kind::Nobody) {
            return Err(AccessRefused::Unknown.into());
        }
        if !is_private(peer, headers) {
            return Err(AccessRefused::Plain.into());
        }
        let token = token(headers).ok_or(AccessRefused::NoToken)?;
        let verb = match *method {
            Method::GET | Method::HEAD => "get",
            _ => "update",
        };
        match &self.0 {
            Kind::Nobody => Err(AccessRefused::Unknown.into()),
            Kind::Secret(secret) => verify_slices_are_equal(token.as_bytes(), secret.as_bytes())
                .map_err(|_| AccessRefused::Stranger.into()),
            Kind::Reviewed { client, asked } => {
                let review = async {
                    // The semaphore is never closed.
                    let _place = asked.acquire().await;
                    review(client, token, function, verb).await
                };
                let reviewed = time::timeout(PATIENCE, review).await;
                reviewed.unwrap_or_else(|_| Err(AccessRefused::Unanswered.into()))
            }
        }
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Kind::Nobody => "Nobody",
            Kind::Reviewed { .. } => "Reviewed",
            Kind::Secret(_) => "Secret",
        })
    }
}

/// Asks the API server whether the one whose token it is may do it.
async fn review(
    client: &Client,
    token: &str,
    function: &Key,
    verb: &'static str,
) -> Result<(), Failure> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(fermata_crds::GROUP.to_owned()),
                resource: Some("functions".to_owned()),
                subresource: Some("invocations".to_owned()),
                namespace: Some(function.namespace.to_string()),
                name: Some(function.name.to_string()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    // What was checked to be a token is a header, and a review is JSON.
    let Ok(mut shown) = HeaderValue::try_from(format!("Bearer {token}")) else {
        return Err(AccessRefused::NoToken.into());
    };
    shown.set_sensitive(true);
    let request = Request::post(REVIEWS)
        .header(header::AUTHORIZATION, shown)
        .header(header::CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&review).unwrap_or_default());
    let Ok(request) = request else {
        return Err(AccessRefused::NoToken.into());
    };
    let answered = client.request::<SelfSubjectAccessReview>(request).await;
    let answered = answered.map_err(|error| unanswered(&error))?;
    if answered.status.is_some_and(|status| status.allowed) {
        return Ok(());
    }
    let function = format!("{}/{}", function.namespace, function.name);
    Err(AccessRefused::NotAllowed { verb, function }.into())
}

/// Why the API server has not said it.
fn unanswered(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 401 => AccessRefused::Stranger.into(),
        error => {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the API server does not say who may see calls"
            );
            AccessRefused::Unanswered.into()
        }
    }
}

/// Whether nobody on the way can read what the client shows: it speaks TLS to a proxy that is trusted, is on this
/// machine, or asks from inside the cluster.
fn is_private(peer: &Peer, headers: &HeaderMap) -> bool {
    // Proxies that are trusted may stand in the cluster's own network, where pods ask by themselves.
    if peer.entrance() == Entrance::Internal {
        return true;
    }
    if peer.is_trusted() {
        let mut said = headers.get_all("x-forwarded-proto").iter();
        let (Some(said), None) = (said.next(), said.next()) else {
            return false;
        };
        return said.as_bytes().eq_ignore_ascii_case(b"https");
    }
    peer.is_on_this_machine()
}

/// The token that a request shows (RFC 6750, section 2.1).
fn token(headers: &HeaderMap) -> Option<&str> {
    let said = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = said.split_once(' ')?;
    let token = token.trim();
    let is_whole = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    let is_plain = token.len() <= LONGEST && token.bytes().all(|byte| byte.is_ascii_graphic());
    (is_whole && is_plain).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn peer(address: &str, entrance: Entrance, trusted: &[&str]) -> Peer {
        let address = format!("{address}:1234").parse().unwrap();
        let trusted: Vec<_> = trusted.iter().map(|one| one.parse().unwrap()).collect();
        Peer::new(address, address, entrance, &trusted)
    }

    #[test]
    fn a_token_does_not_come_in_the_open() {
        let https = headers(&[("x-forwarded-proto", "https")]);
        let twice = headers(&[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "http"),
        ]);
        let (none, public) = (HeaderMap::new(), Entrance::Public);
        let stranger = peer("192.0.2.7", public, &[]);
        assert!(!is_private(&stranger, &none));
        assert!(!is_private(&stranger, &https), "anybody may say that");
        assert!(is_private(&peer("127.0.0.1", public, &[]), &none));
        assert!(is_private(
            &peer("192.0.2.7", Entrance::Internal, &[]),
            &none
        ));
        let inside = peer("192.0.2.7", Entrance::Internal, &["192.0.2.0/24"]);
        assert!(is_private(&inside, &none));
        let proxy = peer("192.0.2.7", public, &["192.0.2.0/24"]);
        assert!(is_private(&proxy, &https));
        assert!(!is_private(&proxy, &none));
        assert!(!is_private(&proxy, &twice));
        // A proxy on this machine speaks for others.
        let near = peer("127.0.0.1", public, &["127.0.0.1/32"]);
        assert!(!is_private(&near, &none));
        assert!(is_private(&near, &https));
    }

    #[test]
    fn a_token_is_one_word_behind_bearer() {
        let of = |said: &str| token(&headers(&[("authorization", said)])).map(ToOwned::to_owned);
        assert_eq!(of("bearer a.b-c").as_deref(), Some("a.b-c"));
        for none in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "abc",
            "Bearer a b",
            "Bearer a\tb",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of(&format!("Bearer {}", "x".repeat(LONGEST + 1))), None);
    }

    #[tokio::test]
    async fn whoever_has_the_secret_owns_everything_and_nobody_else_does() {
        let (near, function) = (
            peer("127.0.0.1", Entrance::Public, &[]),
            Key::new("shop", "orders"),
        );
        let admit = async |owners: &Owners, shown: &str| {
            let headers = headers(&[("authorization", shown)]);
            let admitted = owners.admit(&near, &Method::GET, &headers, &function).await;
            admitted.map_err(|failure| failure.status().as_u16())
        };
        let owners = Owners::with_secret("s3cret");
        assert_eq!(admit(&owners, "Bearer s3cret").await, Ok(()));
        assert_eq!(admit(&owners, "Bearer s3cre").await, Err(401));
        assert_eq!(admit(&owners, "s3cret").await, Err(401));
        assert_eq!(admit(&Owners::default(), "Bearer ").await, Err(501));
        assert!(!format!("{owners:?}").contains("s3cret"));
    }
}
