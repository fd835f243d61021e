//! Who sends a request, and what they may do.
//!
//! There are no roles: the holder of the cluster's credentials may do everything, and a ServiceAccount what
//! everybody may who is known (`system:basic-user` and `system:discovery` of
//! <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles>).

pub(crate) mod token;

use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use self::token::AUDIENCE;
use self::token::{Claims, Refused};
use crate::{api::Api, request::Target, status::Failure, store::Key};

/// The one user with a certificate.
pub(crate) const USER: &str = "fermata-admin";

/// The group that may do everything.
pub(crate) const GROUP: &str = "system:masters";

/// Who sends a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum User {
    /// Nobody known: the client showed neither certificate nor token.
    Anonymous,
    /// The holder of the cluster's credentials.
    Admin,
    /// The holder of a token.
    Account(Box<Account>),
}

/// A ServiceAccount, as whoever holds one of its tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Account {
    namespace: String,
    name: String,
    uid: String,
    /// The token's id.
    token: String,
    /// Name and uid of the pod that the token is bound to.
    pod: Option<(String, String)>,
}

/// Who sends a request, from the token in it if the connection does not tell.
///
/// # Errors
///
/// 401 when there is no token, or one that is not good (any more).
pub(crate) fn authenticate(api: &Api, headers: &HeaderMap, user: &User) -> Result<User, Failure> {
    if *user != User::Anonymous {
        return Ok(user.clone());
    }
    let given = headers.get(header::AUTHORIZATION);
    let token = given
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let token = token.ok_or_else(Failure::unauthorized)?;
    let claims = check(api, token, &[AUDIENCE.to_owned()]).map_err(|why| {
        tracing::debug!(error = %why, "a token is refused");
        Failure::unauthorized()
    })?;
    Ok(User::Account(Box::new(Account::of(claims))))
}

/// What a token says, if it is good for one of these audiences and all that it is bound to is still there.
pub(crate) fn check(api: &Api, token: &str, audiences: &[String]) -> Result<Claims, Refused> {
    let claims = api.tokens.verify(token, Timestamp::now().as_second())?;
    if !claims.aud.iter().any(|one| audiences.contains(one)) {
        return Err(Refused::Audience);
    }
    let bound = &claims.kubernetes;
    let lives = |storage: &str, object: &token::Reference| {
        let key = Key::new(bound.namespace.clone(), &*object.name);
        let found = api.store.get(storage, &key);
        found.is_some_and(|found| {
            let found = found.value();
            let metadata = &found["metadata"];
            metadata["uid"].as_str() == Some(&object.uid) && metadata["deletionTimestamp"].is_null()
        })
    };
    let all = [
        ("serviceaccounts", Some(&bound.serviceaccount)),
        ("pods", bound.pod.as_ref()),
        ("secrets", bound.secret.as_ref()),
    ];
    for (storage, object) in all {
        if object.is_some_and(|object| !lives(storage, object)) {
            return Err(Refused::Gone(storage));
        }
    }
    Ok(claims)
}

// === impl User ===

impl User {
    /// As reviews show it.
    pub(crate) fn info(&self) -> Value {
        match self {
            Self::Anonymous => {
                json!({"username": "system:anonymous", "groups": ["system:unauthenticated"]})
            }
            Self::Admin => json!({"username": USER, "groups": [GROUP, "system:authenticated"]}),
            Self::Account(account) => account.info(),
        }
    }

    /// Refuses whatever needs a role.
    ///
    /// # Errors
    ///
    /// 403, in the words of a real server.
    pub(crate) fn check_role(&self, verb: &str, target: &Target) -> Result<(), Failure> {
        let Self::Account(account) = self else {
            return Ok(());
        };
        let resource = &target.resource;
        let name = target.name.as_deref().unwrap_or_default();
        let below = target.subresource.as_deref();
        Err(account.refusal(
            verb,
            &resource.group,
            &resource.plural,
            below,
            target.namespace.as_deref(),
            name,
        ))
    }
}

// === impl Account ===

impl Account {
    pub(crate) fn of(claims: Claims) -> Self {
        let bound = claims.kubernetes;
        Self {
            namespace: bound.namespace,
            name: bound.serviceaccount.name,
            uid: bound.serviceaccount.uid,
            token: claims.jti,
            pod: bound.pod.map(|pod| (pod.name, pod.uid)),
        }
    }

    fn username(&self) -> String {
        username(&self.namespace, &self.name)
    }

    pub(crate) fn info(&self) -> Value {
        let mut extra = json!({
            "authentication.kubernetes.io/credential-id": [format!("JTI={}", self.token)],
        });
        if let Some((name, uid)) = &self.pod {
            extra["authentication.kubernetes.io/pod-name"] = json!([name]);
            extra["authentication.kubernetes.io/pod-uid"] = json!([uid]);
        }
        json!({
            "username": self.username(),
            "uid": self.uid,
            "groups": [
                "system:serviceaccounts",
                format!("system:serviceaccounts:{}", self.namespace),
                "system:authenticated",
            ],
            "extra": extra,
        })
    }

    /// What needs a role that nobody has.
    pub(crate) fn refusal(
        &self,
        verb: &str,
        group: &str,
        plural: &str,
        below: Option<&str>,
        namespace: Option<&str>,
        name: &str,
    ) -> Failure {
        let resource = match below {
            Some(below) => format!("{plural}/{below}"),
            None => plural.to_owned(),
        };
        let place = match namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let what = crate::status::qualified(plural, group);
        let what = if name.is_empty() {
            what
        } else {
            format!("{what} {name:?}")
        };
        let user = self.username();
        let mut failure = Failure::new(
            403,
            "Forbidden",
            format!(
                "{what} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}"
            ),
        );
        failure.details = Some(json!({"name": name, "group": group, "kind": plural}));
        failure.tidy()
    }
}

/// The name of a ServiceAccount as a user.
pub(crate) fn username(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}
