//! Tokens for ServiceAccounts
//! (<https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>).

use http::Response;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::read;
use crate::{
    api::Api,
    auth::{
        AUDIENCE,
        token::{Bound, Claims, MAX_TOKEN, Reference},
        username,
    },
    kinds::TOKEN_REQUEST,
    random,
    request::Call,
    response::{self, Body},
    status::{Failure, FieldError},
    store::Key,
};

const GROUP: &str = "authentication.k8s.io";

/// How long a token is good for if nothing else is said, in seconds.
const LIFETIME: i64 = 3600;

/// The bounds of that.
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

/// What audiences and names may come to, so that a token is short enough to be used.
const MAX_CLAIMS: usize = MAX_TOKEN / 2;

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    audiences: Option<Vec<String>>,
    expiration_seconds: Option<i64>,
    bound_object_ref: Option<ObjectRef>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    #[serde(deserialize_with = "text")]
    kind: String,
    #[serde(deserialize_with = "text")]
    api_version: String,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    uid: String,
}

/// A text, which null leaves empty.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

// === impl Spec ===

impl Default for Spec {
    fn default() -> Self {
        Self {
            audiences: None,
            expiration_seconds: Some(LIFETIME),
            bound_object_ref: None,
        }
    }
}

pub(crate) fn create(api: &Api, call: &Call) -> Result<Response<Body>, Failure> {
    let target = &call.target;
    let mut request = TOKEN_REQUEST.decode(&call.body, call.content_type())?;
    let name = target.name.clone().unwrap_or_default();
    let namespace = target.namespace.clone().unwrap_or_default();
    for (field, own) in [("name", &name), ("namespace", &namespace)] {
        let given = request["metadata"][field].as_str().unwrap_or_default();
        if !given.is_empty() && given != own {
            let why = format!("must match the service account {field} if specified");
            let error = FieldError::invalid(format!("metadata.{field}"), &json!(given), why);
            return Err(Failure::invalid(GROUP, "TokenRequest", &name, &[error]));
        }
    }
    let account = read::find(api, target)?.value();
    let spec = match request["spec"].take() {
        Value::Null => Spec::default(),
        spec => serde_json::from_value(spec)
            .map_err(|error| Failure::bad_request(format!("spec: {error}")))?,
    };
    let seconds = spec.expiration_seconds.unwrap_or(LIFETIME);
    lifetime(seconds)?;
    let audiences = spec
        .audiences
        .filter(|audiences| !audiences.is_empty())
        .unwrap_or_else(|| vec![AUDIENCE.to_owned()]);
    let mut bound = Bound {
        namespace: namespace.clone(),
        pod: None,
        secret: None,
        serviceaccount: reference(&account),
    };
    if let Some(object) = &spec.bound_object_ref {
        bind(api, &mut bound, object)?;
    }
    let now = Timestamp::now();
    let end = now
        .checked_add(SignedDuration::from_secs(seconds))
        .map_err(Failure::internal)?;
    let claims = Claims {
        aud: audiences.clone(),
        exp: end.as_second(),
        iat: now.as_second(),
        iss: AUDIENCE.to_owned(),
        jti: random::uid(),
        sub: username(&namespace, &name),
        kubernetes: bound,
        nbf: now.as_second(),
    };
    let long = serde_json::to_vec(&claims).map_or(usize::MAX, |claims| claims.len());
    if long > MAX_CLAIMS {
        let why =
            format!("too long for a token: {long} bytes with the names, at most {MAX_CLAIMS}");
        let error = FieldError::invalid("spec.audiences", &json!(audiences.len()), why);
        return Err(Failure::invalid(GROUP, "TokenRequest", "", &[error]));
    }
    let token = api.tokens.sign(&claims).map_err(Failure::internal)?;
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut answer = json!({
        "kind": "TokenRequest",
        "apiVersion": format!("{GROUP}/v1"),
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": time(now)},
        "spec": {"audiences": audiences, "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": time(end)},
    });
    if let Some(object) = spec.bound_object_ref {
        answer["spec"]["boundObjectRef"] = json!({
            "kind": object.kind, "apiVersion": object.api_version, "name": object.name, "uid": object.uid,
        });
    }
    Ok(response::value(201, &answer))
}

fn lifetime(seconds: i64) -> Result<(), Failure> {
    let why = match seconds {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid("spec.expirationSeconds", &json!(seconds), why);
    Err(Failure::invalid(GROUP, "TokenRequest", "", &[error]))
}

/// The token ends with this object.
fn bind(api: &Api, bound: &mut Bound, object: &ObjectRef) -> Result<(), Failure> {
    let ObjectRef {
        kind,
        api_version,
        name,
        uid,
    } = object;
    let (plural, place) = match (api_version.as_str(), kind.as_str()) {
        ("v1", "Pod") => ("pods", &mut bound.pod),
        ("v1", "Secret") => ("secrets", &mut bound.secret),
        _ => {
            let kind = match api_version.contains('/') {
                true => format!("{api_version}, Kind={kind}"),
                false => format!("/{api_version}, Kind={kind}"),
            };
            return Err(Failure::bad_request(format!(
                "cannot bind token to object of type {kind}"
            )));
        }
    };
    let key = Key::new(bound.namespace.clone(), &**name);
    let found = api
        .store
        .get(plural, &key)
        .ok_or_else(|| Failure::not_found("", plural, name))?;
    let account = &bound.serviceaccount.name;
    if plural == "pods" && account_of(&found.read()?) != account {
        return Err(Failure::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let found = reference(&found.value());
    if !uid.is_empty() && *uid != found.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Failure::conflict("", kind, name, why));
    }
    *place = Some(found);
    Ok(())
}

/// The account of a pod; one that names none has this one.
fn account_of(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.service_account_name.as_deref());
    name.unwrap_or("default")
}

fn reference(object: &Value) -> Reference {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Reference {
        name: text(&object["metadata"]["name"]),
        uid: text(&object["metadata"]["uid"]),
    }
}
