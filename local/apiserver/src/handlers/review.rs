//! Reviews: questions that store nothing. Whoever has the credentials of this cluster may do all.

use http::{Method, Response, request::Parts};
use serde_json::{Value, json};

use crate::{
    api::content_type,
    decode::decode,
    response::{self, Body},
    status::Failure,
};

/// A kind of question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Review {
    Access,
    Rules,
    Subject,
}

/// The one user that there is.
pub(crate) const USER: &str = "fermata-admin";

/// The group that may do everything.
pub(crate) const GROUP: &str = "system:masters";

// === impl Review ===

impl Review {
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => Some(Self::Access),
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews" => Some(Self::Rules),
            "/apis/authentication.k8s.io/v1/selfsubjectreviews" => Some(Self::Subject),
            _ => None,
        }
    }

    pub(crate) fn answer(self, parts: &Parts, body: &[u8]) -> Result<Response<Body>, Failure> {
        if parts.method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        let mut review = decode(body, content_type(&parts.headers))?.value;
        if !review.is_object() {
            return Err(Failure::bad_request("the body must be a review"));
        }
        review["status"] = match self {
            Self::Access => json!({"allowed": true}),
            Self::Rules => json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            }),
            Self::Subject => user(),
        };
        Ok(response::value(201, &review))
    }
}

fn user() -> Value {
    json!({"userInfo": {"username": USER, "groups": [GROUP, "system:authenticated"]}})
}
