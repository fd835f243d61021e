//! Which handler answers which request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;

use crate::{
    api::Api,
    auth::{self, User},
    discovery,
    handlers::{
        create, delete, exec, forward, logs, patch, read, review, scale, token, update, watch,
    },
    openapi,
    request::{Call, Form, Query, Target},
    response::{self, Body},
    status::Failure,
};

/// The largest request body, as in Kubernetes.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// For the whole of a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers a request. Failures are answers too.
pub(crate) async fn handle<B>(api: &Arc<Api>, request: Request<B>, user: &User) -> Response<Body>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut request = request;
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let result = route(api, &parts, body, upgrade, user).await;
    result.unwrap_or_else(|failure| {
        if failure.code >= 500 {
            tracing::warn!(
                method = %parts.method,
                path = parts.uri.path(),
                code = failure.code,
                message = failure.message,
                "request failed"
            );
        }
        response::failure(&failure)
    })
}

async fn route<B>(
    api: &Arc<Api>,
    parts: &Parts,
    body: B,
    upgrade: OnUpgrade,
    user: &User,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = parts.uri.path();
    if let Some(answer) = discovery::open(path) {
        return Ok(answer);
    }
    let user = auth::authenticate(api, &parts.headers, user)?;
    let query = Query::parse(parts.uri.query());
    if parts.method == Method::GET {
        let registry = api.registry.load();
        if let Some(answer) = discovery::answer(path, &parts.headers, &registry) {
            return answer;
        }
        if let Some(answer) = openapi::answer(path, &parts.headers, &registry) {
            return answer;
        }
    }
    if let Some(review) = review::Review::at(path) {
        let body = collect(body).await?;
        return review.answer(api, &user, parts, &body);
    }
    let target = Target::parse(path, &api.registry.load())?;
    user.check_role(verb(&parts.method, &target, &query), &target)?;
    let connects = parts.method == Method::GET || parts.method == Method::POST;
    if target.resource.subresources.streams && connects {
        match target.subresource.as_deref() {
            Some("exec") => return exec::exec(api, parts, upgrade, &target, &query),
            Some("attach") => return exec::attach(api, parts, upgrade, &target, &query),
            Some("portforward") => {
                return forward::forward(api, parts, upgrade, &target, &query);
            }
            _ => {}
        }
    }
    let form = Form::negotiate(&parts.headers, &query)?;
    let body = collect(body).await?;
    let call = Call {
        method: parts.method.clone(),
        target,
        query,
        headers: parts.headers.clone(),
        form,
        body,
    };
    dispatch(api, call).await
}

async fn dispatch(api: &Arc<Api>, call: Call) -> Result<Response<Body>, Failure> {
    let subresource = call.target.subresource.clone();
    let named = call.target.name.is_some();
    let has = &call.target.resource.subresources;
    match (subresource.as_deref(), call.method.as_str(), named) {
        (None, "GET", false) if call.query.flag("watch") => watch::watch(api, &call),
        (None, "GET", false) => read::list(api, &call),
        (None, "GET", true) if call.query.flag("watch") => watch::watch(api, &call),
        (None, "GET", true) => read::get(api, &call),
        (None, "POST", false) => create::create(api, &call).await,
        (None, "PUT", true) => update::replace(api, &call).await,
        (None, "PATCH", true) => patch::patch(api, &call).await,
        (None, "DELETE", true) => delete::delete(api, &call).await,
        (None, "DELETE", false) => delete::collection(api, &call).await,
        (None, ..) => Err(Failure::method_not_allowed()),
        (Some("status"), method, _) if has.status => match method {
            "GET" => read::get(api, &call),
            "PUT" => update::replace(api, &call).await,
            "PATCH" => patch::patch(api, &call).await,
            _ => Err(Failure::method_not_allowed()),
        },
        (Some("finalize"), "PUT", _) if has.finalize => update::replace(api, &call).await,
        (Some("scale"), method, _) if has.scale.is_some() => match method {
            "GET" => scale::get(api, &call),
            "PUT" | "PATCH" => scale::write(api, &call).await,
            _ => Err(Failure::method_not_allowed()),
        },
        (Some("token"), "POST", true) if has.token => token::create(api, &call),
        (Some("log"), "GET", _) if has.log => logs::logs(api, &call),
        (Some("eviction"), "POST", _) if has.eviction => delete::evict(api, &call).await,
        _ => Err(Failure::no_such_path()),
    }
}

/// What a request does, in the words of authorization.
fn verb(method: &Method, target: &Target, query: &Query) -> &'static str {
    match (method.as_str(), target.name.is_some()) {
        ("GET" | "HEAD", _) if query.flag("watch") => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "create",
    }
}

async fn collect<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collecting = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collecting).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::too_large(MAX_BODY)),
        Ok(Err(error)) => Err(Failure::bad_request(format!(
            "the request body could not be read: {error}"
        ))),
        Err(_) => Err(Failure::new(
            408,
            "Timeout",
            "the request body did not come in time",
        )),
    }
}
