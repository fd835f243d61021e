//! Whoever has a token of the cluster, as far as the token goes: the server has no rights of its own.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::Semaphore, time};

use super::super::{
    credentials::Credentials,
    request::{self, Asked, Refusal, Service},
};

/// The most questions to the API server at once, so that strangers cannot make it busy.
const MOST_ASKED: usize = 8;

/// How long an answer may take, a place to ask included.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest token, in bytes.
const LONGEST: usize = 16 * 1024;

const NO_TOKEN: &str = "the password is a token of the cluster, such as `kubectl create token ACCOUNT` prints; the user may be any";

/// Looks at tokens.
pub(in super::super) struct Tokens {
    api: String,
    ca: PathBuf,
    plain_http: bool,
    asked: Semaphore,
}

// === impl Tokens ===

impl Tokens {
    /// Those of the cluster with this API server. `plain_http` says whether they may come without TLS.
    pub(in super::super) fn new(api: String, ca: PathBuf, plain_http: bool) -> Self {
        Self {
            api,
            ca,
            plain_http,
            asked: Semaphore::new(MOST_ASKED),
        }
    }

    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.plain_http || is_https(headers) {
            return Ok(());
        }
        Err(request::forbidden(
            "pushes are taken by https alone, since the password is a token of the cluster; git.push.plainHttp of the chart takes them by http",
        ))
    }

    pub(super) async fn grant(
        &self,
        asked: &Asked,
        headers: &HeaderMap,
    ) -> Result<Credentials, Refusal> {
        let token = token(headers)
            .ok_or_else(|| request::refused(StatusCode::UNAUTHORIZED, NO_TOKEN.to_owned()))?;
        let credentials = Credentials::Token {
            api: self.api.clone(),
            ca: self.ca.clone(),
            token,
        };
        let review = async {
            // The semaphore is never closed.
            let _place = self.asked.acquire().await;
            let client = credentials.client().await;
            let client = client.map_err(|error| request::failed(&error))?;
            for verb in verbs(asked.service) {
                review(&client, asked, verb).await?;
            }
            Ok(())
        };
        let reviewed = time::timeout(PATIENCE, review).await;
        reviewed.unwrap_or_else(|_| {
            let sentence = "the API server does not say whether you may; try again".to_owned();
            Err(request::refused(StatusCode::SERVICE_UNAVAILABLE, sentence))
        })?;
        Ok(credentials)
    }
}

/// What is needed on the function.
fn verbs(service: Service) -> &'static [&'static str] {
    match service {
        Service::Fetch => &["get"],
        Service::Push => &["get", "create", "patch"],
    }
}

/// Asks the API server whether the one whose token it is may do it.
async fn review(client: &Client, asked: &Asked, verb: &str) -> Result<(), Refusal> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(fermata_crds::GROUP.to_owned()),
                resource: Some("functions".to_owned()),
                namespace: Some(asked.namespace.clone()),
                name: Some(asked.name.clone()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let answered = reviews.create(&PostParams::default(), &review).await;
    let status = answered
        .map(|review| review.status)
        .map_err(|error| unanswered(&error))?;
    decide(asked, verb, status.is_some_and(|status| status.allowed))
}

fn decide(asked: &Asked, verb: &str, allowed: bool) -> Result<(), Refusal> {
    if allowed {
        return Ok(());
    }
    Err(request::forbidden(&format!(
        "your token does not allow to {verb} the function {} in the namespace {}",
        asked.name, asked.namespace
    )))
}

/// Why the API server has not said it.
fn unanswered(error: &kube::Error) -> Refusal {
    let (status, sentence) = match error {
        kube::Error::Api(status) if status.code == 401 => (
            StatusCode::UNAUTHORIZED,
            format!("the cluster does not know this token, or it has expired; {NO_TOKEN}"),
        ),
        kube::Error::Api(status) if status.code == 403 => {
            (StatusCode::FORBIDDEN, status.message.clone())
        }
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server does not say whether you may; try again".to_owned(),
        ),
    };
    request::refused(status, sentence)
}

/// Whether the client speaks TLS to the gateway, or to a proxy that the gateway trusts.
fn is_https(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all("x-forwarded-proto").iter();
    let (Some(said), None) = (said.next(), said.next()) else {
        return false;
    };
    said.as_bytes().eq_ignore_ascii_case(b"https")
}

/// The token that a request brings: as the password, or by itself.
pub(in super::super) fn token(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, said) = said.split_once(' ')?;
    let said = said.trim();
    let token = if scheme.eq_ignore_ascii_case("basic") {
        let login = String::from_utf8(STANDARD.decode(said).ok()?).ok()?;
        login.split_once(':')?.1.to_owned()
    } else if scheme.eq_ignore_ascii_case("bearer") {
        said.to_owned()
    } else {
        return None;
    };
    let is_whole = !token.is_empty() && token.len() <= LONGEST;
    (is_whole && token.bytes().all(|byte| byte.is_ascii_graphic())).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use kube::core::Status;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn asked() -> Asked {
        Asked {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            bundles: false,
            service: Service::Push,
            begins: true,
        }
    }

    #[test]
    fn the_password_is_the_token() {
        let of = |said: &str| token(&headers(&[("authorization", said)]));
        let basic = |login: &str| of(&format!("Basic {}", STANDARD.encode(login)));
        assert_eq!(basic("any:abc.def").as_deref(), Some("abc.def"));
        assert_eq!(basic(":abc:def").as_deref(), Some("abc:def"));
        assert_eq!(of("bearer abc").as_deref(), Some("abc"));
        for none in ["any", "any:", "any:a b", "any:a\nb", "any:é"] {
            assert_eq!(basic(none), None, "{none}");
        }
        for none in ["", "Basic", "Basic !", "Digest abc", "Bearer ", "abc"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(basic(&format!("a:{}", "x".repeat(LONGEST + 1))), None);
    }

    #[test]
    fn a_token_does_not_come_in_the_open() {
        let tokens = |plain| Tokens::new(String::new(), PathBuf::new(), plain);
        for (said, taken) in [
            (&[("x-forwarded-proto", "https")][..], true),
            (&[("x-forwarded-proto", "http")], false),
            (&[("x-forwarded-proto", "https, http")], false),
            (
                &[
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-proto", "http"),
                ],
                false,
            ),
            (&[("forwarded", "proto=https")], false),
            (&[], false),
        ] {
            let refused = tokens(false).admit(&headers(said));
            assert_eq!(refused.is_ok(), taken, "{said:?}");
            assert!(tokens(true).admit(&headers(said)).is_ok());
        }
    }

    #[test]
    fn a_refusal_names_what_is_not_allowed() {
        assert!(decide(&asked(), "create", true).is_ok());
        let refusal = decide(&asked(), "create", false).unwrap_err();
        assert_eq!(refusal.status, StatusCode::FORBIDDEN);
        for word in ["create", "orders", "shop"] {
            assert!(refusal.sentence.contains(word), "{}", refusal.sentence);
        }
        assert_eq!(verbs(Service::Fetch), ["get"]);
        assert!(verbs(Service::Push).contains(&"patch"));
    }

    #[test]
    fn what_the_cluster_does_not_know_may_be_tried_with_another_token() {
        let answered = |code, message: &str| {
            let status = Status {
                code,
                message: message.to_owned(),
                ..Status::default()
            };
            unanswered(&kube::Error::Api(Box::new(status)))
        };
        assert_eq!(answered(401, "").status, StatusCode::UNAUTHORIZED);
        assert_eq!(answered(403, "no").sentence, "no");
        let away = answered(500, "secret");
        assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!away.sentence.contains("secret"));
    }
}
