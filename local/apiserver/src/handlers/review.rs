//! Reviews: questions that store nothing.

use http::{Method, Response, request::Parts};
use serde_json::{Value, json};

use crate::{
    api::Api,
    auth::{self, AUDIENCE, Account, User},
    kinds::{ACCESS_REVIEW, RULES_REVIEW, Request, SUBJECT_REVIEW, TOKEN_REVIEW},
    media::content_type,
    response::{self, Body},
    status::Failure,
};

/// A kind of question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Review {
    Access,
    Rules,
    Subject,
    Token,
}

/// What everybody may read who is known.
const DISCOVERY: &[&str] = &[
    "/healthz",
    "/livez",
    "/readyz",
    "/version",
    "/version/",
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/openapi",
    "/openapi/*",
];

/// What everybody may ask.
const SELF_REVIEWS: &[(&str, &str)] = &[
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
];

// === impl Review ===

impl Review {
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => Some(Self::Access),
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews" => Some(Self::Rules),
            "/apis/authentication.k8s.io/v1/selfsubjectreviews" => Some(Self::Subject),
            "/apis/authentication.k8s.io/v1/tokenreviews" => Some(Self::Token),
            _ => None,
        }
    }

    fn kind(self) -> &'static Request {
        match self {
            Self::Access => &ACCESS_REVIEW,
            Self::Rules => &RULES_REVIEW,
            Self::Subject => &SUBJECT_REVIEW,
            Self::Token => &TOKEN_REVIEW,
        }
    }

    pub(crate) fn answer(
        self,
        api: &Api,
        user: &User,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Response<Body>, Failure> {
        if let (Self::Token, User::Account(account)) = (self, user) {
            let group = "authentication.k8s.io";
            return Err(account.refusal("create", group, "tokenreviews", None, None, ""));
        }
        if parts.method != Method::POST {
            return Err(Failure::method_not_allowed());
        }
        let mut review = self.kind().decode(body, content_type(&parts.headers))?;
        let all = *user == User::Admin;
        review["status"] = match self {
            Self::Access => json!({"allowed": all || may_everybody(&review["spec"])}),
            Self::Rules if all => json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            }),
            Self::Rules => rules(),
            Self::Subject => json!({"userInfo": user.info()}),
            Self::Token => token(api, &review["spec"])?,
        };
        Ok(response::value(201, &review))
    }
}

fn may_everybody(spec: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = &spec["resourceAttributes"];
    if resource.is_object() {
        let asked = (text(&resource["group"]), text(&resource["resource"]));
        return resource["verb"] == "create"
            && text(&resource["subresource"]).is_empty()
            && SELF_REVIEWS
                .iter()
                .any(|(group, plural)| asked.0 == *group && asked.1 == *plural);
    }
    let path = text(&spec["nonResourceAttributes"]["path"]);
    spec["nonResourceAttributes"]["verb"] == "get"
        && DISCOVERY.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == *known,
        })
}

fn rules() -> Value {
    let may = SELF_REVIEWS.iter().map(
        |(group, plural)| json!({"verbs": ["create"], "apiGroups": [group], "resources": [plural]}),
    );
    json!({
        "resourceRules": may.collect::<Vec<_>>(),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": DISCOVERY}],
        "incomplete": false,
    })
}

/// Whose token it is.
fn token(api: &Api, spec: &Value) -> Result<Value, Failure> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let mut audiences: Vec<String> = Vec::new();
    for one in spec["audiences"].as_array().into_iter().flatten() {
        let one = one.as_str().unwrap_or_default();
        if !audiences.iter().any(|had| had == one) {
            audiences.push(one.to_owned());
        }
    }
    if audiences.is_empty() {
        audiences.push(AUDIENCE.to_owned());
    }
    Ok(match auth::check(api, token, &audiences) {
        Ok(claims) => {
            audiences.retain(|one| claims.aud.contains(one));
            json!({
                "authenticated": true,
                "user": Account::of(claims).info(),
                "audiences": audiences,
            })
        }
        Err(why) => json!({"user": {}, "error": format!("invalid bearer token: {why}")}),
    })
}
