//! The API: what it consists of, and which handler answers which request.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Mutator, StreamingRuntime,
    auth::{self, User, token::Signer},
    discovery,
    handlers::{
        create, delete, exec, forward, logs, patch, read, review, scale, token, update, watch,
    },
    openapi,
    request::{Form, Query, Target},
    resource::registry::Registry,
    response::{self, Body},
    status::Failure,
    store::Store,
};

/// The largest request body, as in Kubernetes.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// For the whole of a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that requests work on.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) registry: ArcSwap<Registry>,
    /// Held while a definition is written, so that what is served follows what is stored.
    pub(crate) definitions: Mutex<()>,
    pub(crate) mutators: Vec<Mutator>,
    pub(crate) logs_dir: PathBuf,
    /// What signs the tokens of ServiceAccounts.
    pub(crate) tokens: Signer,
    /// The way into containers, where there is a node that has one.
    pub(crate) streaming: Option<Arc<dyn StreamingRuntime>>,
    /// One for each command that may run.
    pub(crate) executions: Arc<Semaphore>,
    /// One for each client that may forward ports of a pod.
    pub(crate) forwards: Arc<Semaphore>,
    /// One for each connection to a port that there may be, of all clients together.
    pub(crate) forwarded: Arc<Semaphore>,
    /// The tasks that go on with connections which have switched protocols.
    pub(crate) sessions: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// A request with its body.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) form: Form,
    pub(crate) body: Bytes,
}

// === impl Api ===

impl Api {
    /// Answers a request. Failures are answers too.
    pub(crate) async fn handle<B>(
        self: &Arc<Self>,
        request: Request<B>,
        user: &User,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut request = request;
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let result = self.route(&parts, body, upgrade, user).await;
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
        self: &Arc<Self>,
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
        let user = auth::authenticate(self, &parts.headers, user)?;
        let query = Query::parse(parts.uri.query());
        if parts.method == Method::GET {
            let registry = self.registry.load();
            if let Some(answer) = discovery::answer(path, &parts.headers, &registry) {
                return answer;
            }
            if let Some(answer) = openapi::answer(path, &parts.headers, &registry) {
                return answer;
            }
        }
        if let Some(review) = review::Review::at(path) {
            let body = collect(body).await?;
            return review.answer(self, &user, parts, &body);
        }
        let target = Target::parse(path, &self.registry.load())?;
        user.check_role(verb(&parts.method, &target, &query), &target)?;
        let connects = parts.method == Method::GET || parts.method == Method::POST;
        if target.resource.subresources.streams && connects {
            match target.subresource.as_deref() {
                Some("exec") => return exec::exec(self, parts, upgrade, &target, &query),
                Some("attach") => return exec::attach(self, parts, upgrade, &target, &query),
                Some("portforward") => {
                    return forward::forward(self, parts, upgrade, &target, &query);
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
        self.dispatch(call).await
    }

    async fn dispatch(self: &Arc<Self>, call: Call) -> Result<Response<Body>, Failure> {
        let subresource = call.target.subresource.clone();
        let named = call.target.name.is_some();
        let has = &call.target.resource.subresources;
        match (subresource.as_deref(), call.method.as_str(), named) {
            (None, "GET", false) if call.query.flag("watch") => watch::watch(self, &call),
            (None, "GET", false) => read::list(self, &call),
            (None, "GET", true) if call.query.flag("watch") => watch::watch(self, &call),
            (None, "GET", true) => read::get(self, &call),
            (None, "POST", false) => create::create(self, &call).await,
            (None, "PUT", true) => update::replace(self, &call).await,
            (None, "PATCH", true) => patch::patch(self, &call).await,
            (None, "DELETE", true) => delete::delete(self, &call).await,
            (None, "DELETE", false) => delete::collection(self, &call).await,
            (None, ..) => Err(Failure::method_not_allowed()),
            (Some("status"), method, _) if has.status => match method {
                "GET" => read::get(self, &call),
                "PUT" => update::replace(self, &call).await,
                "PATCH" => patch::patch(self, &call).await,
                _ => Err(Failure::method_not_allowed()),
            },
            (Some("finalize"), "PUT", _) if has.finalize => update::replace(self, &call).await,
            (Some("scale"), method, _) if has.scale.is_some() => match method {
                "GET" => scale::get(self, &call),
                "PUT" | "PATCH" => scale::write(self, &call).await,
                _ => Err(Failure::method_not_allowed()),
            },
            (Some("token"), "POST", true) if has.token => token::create(self, &call),
            (Some("log"), "GET", _) if has.log => logs::logs(self, &call),
            (Some("eviction"), "POST", _) if has.eviction => delete::evict(self, &call).await,
            _ => Err(Failure::no_such_path()),
        }
    }
}

// === impl Call ===

impl Call {
    pub(crate) fn content_type(&self) -> &str {
        content_type(&self.headers)
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

/// The media type of a body, without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok());
    given.map_or("", |value| {
        value.split(';').next().unwrap_or_default().trim()
    })
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
