//! One request, from its head to its response's.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, HOST},
    request::Parts,
};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    activate::wake::Waker,
    admin::metrics::Metrics,
    options::{AccessLog, ErrorDetails, Network, Options},
    proxy::{
        access::Record,
        body::ResponseBody,
        client::Client,
        deadlines::Patience,
        failure::Failure,
        forward,
        headers::{self, Entrance, PASSED_ON, read_mark},
        ids,
        respond::{Asker, REASON, refuse},
        survey::Survey,
    },
    state::{
        function::Function,
        ownership::Ownership,
        peers::{Peers, Sender},
        table::{Routes, Table},
    },
};

/// Header fields that a request may have.
pub const MOST_FIELDS: usize = 1000;

/// How much later than another gateway this one may hear of a function.
const LATE_NEWS: Duration = Duration::from_secs(5);

/// Between two looks for it.
const NEWS_PAUSE: Duration = Duration::from_millis(10);

/// What all connections share.
#[derive(Debug)]
pub struct Gate {
    /// Routes.
    pub table: Arc<Table>,
    /// The gateways.
    pub peers: Arc<Peers>,
    /// Whose the functions with a hard limit are.
    pub ownership: Arc<Ownership>,
    /// Wakes what rests.
    pub waker: Waker,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// Bounds.
    pub limits: Limits,
    /// Owns the tunnels of upgraded connections.
    pub tunnels: TaskTracker,
    /// Whether clients are asked to go elsewhere, because the gateway is about to stop.
    pub leaving: AtomicBool,
    /// Sends waiting requests away: the time to stop has come.
    pub dismiss: CancellationToken,
    /// Cuts everything: the time to stop is over.
    pub abort: CancellationToken,
}

/// Who sends a request.
#[derive(Debug)]
pub struct Caller {
    /// A client, or a gateway that passes it on.
    pub sender: Sender,
    /// Where it came in.
    pub entrance: Entrance,
    ip: IpAddr,
    /// The client's namespace, as the gateway says that passes the request on.
    told: Option<Box<str>>,
    /// How often gateways have passed it on.
    pub hops: u32,
}

/// Bounds and switches of the data path.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest head of a request.
    pub header_bytes: usize,
    /// The largest body of a request; 0 is no bound.
    pub body_bytes: u64,
    /// The networks of proxies that are believed.
    pub trusted: Arc<[Network]>,
    /// Whether their connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Whether each request is logged.
    pub access_log: bool,
    /// How much callers are told.
    pub error_details: ErrorDetails,
    /// How long peers may take.
    pub patience: Patience,
}

// === impl Limits ===

impl Limits {
    /// Whether a peer is a proxy that is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(peer))
    }

    /// The bounds of the options.
    #[must_use]
    pub fn of(options: &Options) -> Self {
        Self {
            header_bytes: options.max_header_bytes,
            body_bytes: options.max_body_bytes,
            trusted: options.trusted_proxies.clone().into(),
            proxy_protocol: options.proxy_protocol,
            access_log: options.access_log == AccessLog::Json,
            error_details: options.error_details,
            patience: Patience {
                body: options.body_timeout.into(),
                write: options.write_timeout.into(),
            },
        }
    }
}

// === impl Caller ===

impl Caller {
    /// The namespace of the pod that calls, if it is a function's.
    #[must_use]
    pub fn namespace(&self, gate: &Gate) -> Option<Box<str>> {
        match self.sender {
            Sender::Gateway => self.told.clone(),
            Sender::Client | Sender::Unknown => gate.table.namespace_of(self.ip),
        }
    }
}

/// Answers a request, by its function or in its place. When the gateway is about to stop, the answer
/// asks the client to close the connection: the only way of HTTP/1.1 that costs no request.
///
/// # Cancel safety
///
/// Dropping the future gives up everything the request holds: its place in the queue, its instance,
/// its connection to the function.
pub async fn serve(
    gate: &Gate,
    client: &Client,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let http1 = request.version() <= Version::HTTP_11;
    let mut response = answer(gate, client, request).await;
    let leaving = gate.leaving.load(Ordering::Relaxed);
    if http1 && (leaving || is_astray(&response)) {
        close(&mut response);
    }
    response
}

/// Says that the connection ends with this response, unless it becomes one of another protocol.
pub fn close(response: &mut Response<ResponseBody>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}

/// Whether the gateway answers because the request did not come in time or could not be understood: what
/// comes after it is not to be waited for, and may not be the next one.
fn is_astray(response: &Response<ResponseBody>) -> bool {
    let astray = matches!(
        response.status(),
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT | StatusCode::NOT_IMPLEMENTED
    );
    astray && response.headers().contains_key(REASON)
}

async fn answer(
    gate: &Gate,
    client: &Client,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let mut record = Record::begin(gate.metrics.clone());
    let (mut parts, body) = request.into_parts();
    // Looked at before the request's own name is added to it.
    let survey = Survey::of(&parts.headers);
    let checked = check(gate, &parts, &survey);
    // First of all, so that what a client says of its connection touches nothing that is added.
    let hop = headers::strip_hop(&mut parts.headers, parts.version, &survey);
    let mark = survey.passed_on.then(|| parts.headers.remove(PASSED_ON));
    let caller = caller(gate, client, mark.flatten().as_ref());
    let id = ids::identify(&mut parts.headers, &survey);
    let asker = Asker::of(&parts.method, &parts.headers, &survey, id)
        .with_details(gate.limits.error_details);
    let host = match checked {
        Ok(host) => host,
        Err(failure) => return refuse(&failure, &asker, record),
    };
    if gate.limits.access_log {
        record.log(&parts.method, &host, parts.uri.path(), &asker.id);
    }
    let mut routed = route(gate, &caller, &host, &parts);
    if routed.is_none() && caller.sender == Sender::Gateway {
        routed = route_later(gate, &caller, &host, &parts).await;
    }
    match routed {
        None => refuse(&Failure::NoSuchFunction, &asker, record),
        Some((function, strip)) => {
            record.routed(function.clone());
            let call = forward::Call {
                function,
                host,
                strip,
                survey,
                hop,
                parts,
                body,
                asker,
                caller,
            };
            forward::forward(gate, client, call, record).await
        }
    }
}

/// Who sends a request, given the mark of one that a gateway passes on.
fn caller(gate: &Gate, client: &Client, mark: Option<&HeaderValue>) -> Caller {
    let sender = match mark {
        None => Sender::Client,
        Some(_) if gate.peers.has_address(client.peer()) => Sender::Gateway,
        Some(_) => Sender::Unknown,
    };
    let mark = mark.filter(|_| sender == Sender::Gateway);
    let (told, hops) = mark.map_or((None, 0), read_mark);
    Caller {
        sender,
        entrance: client.entrance(),
        ip: client.peer(),
        told,
        hops,
    }
}

/// Refuses what makes no sense or is too large; returns the host that is asked for.
fn check(gate: &Gate, parts: &Parts, survey: &Survey) -> Result<HeaderValue, Failure> {
    let limits = &gate.limits;
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target + survey.bytes > limits.header_bytes {
        return Err(Failure::HeadersTooLarge {
            limit: limits.header_bytes,
        });
    }
    if survey.fields > MOST_FIELDS {
        return Err(Failure::TooManyHeaders { limit: MOST_FIELDS });
    }
    if headers::has_foreign_coding(&parts.headers, survey) {
        return Err(Failure::ForeignCoding);
    }
    if parts.method == Method::CONNECT {
        return Err(Failure::BadRequest(
            "CONNECT is for proxies, which this is not".into(),
        ));
    }
    if limits.body_bytes > 0 {
        let length = parts.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limits.body_bytes) {
            return Err(Failure::PayloadTooLarge {
                limit: limits.body_bytes,
            });
        }
    }
    host(parts)
}

/// The host that is asked for: of the target if it has one (RFC 9112, section 3.2.2), else of the
/// one `Host` header.
fn host(parts: &Parts) -> Result<HeaderValue, Failure> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Failure::BadRequest(
            "there is more than one Host header".into(),
        ));
    }
    let host = match (parts.uri.authority(), host) {
        // Whatever its target is (RFC 9112, section 3.2).
        (_, None) if parts.version == Version::HTTP_11 => {
            return Err(Failure::BadRequest("there is no Host header".into()));
        }
        (Some(authority), _) => HeaderValue::from_str(authority.as_str())
            .map_err(|_| Failure::BadRequest("the host is malformed".into()))?,
        (None, Some(host)) => host.clone(),
        // HTTP/1.0 knows no hosts; paths may still lead somewhere.
        (None, None) if parts.version == Version::HTTP_10 => HeaderValue::from_static(""),
        (None, None) => return Err(Failure::BadRequest("there is no Host header".into())),
    };
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]~%".contains(byte);
    if host.as_bytes().iter().all(fits) {
        Ok(host)
    } else {
        Err(Failure::BadRequest("the host is malformed".into()))
    }
}

/// The function that a request is for, and how many bytes of its path only lead there.
fn route(
    gate: &Gate,
    caller: &Caller,
    host: &HeaderValue,
    parts: &Parts,
) -> Option<(Arc<Function>, usize)> {
    let routes = gate.table.routes();
    let (host, path) = (host.to_str().unwrap_or_default(), parts.uri.path());
    let found = match caller.entrance {
        Entrance::Public => routes.find(host, path),
        Entrance::Internal => {
            let namespace = Routes::needs_namespace(host, path).then(|| caller.namespace(gate));
            routes.find_in_cluster(host, path, namespace.flatten().as_deref())
        }
    }?;
    Some((found.function.clone(), found.strip))
}

/// The same for a function that another gateway has heard of, and this one not yet.
async fn route_later(
    gate: &Gate,
    caller: &Caller,
    host: &HeaderValue,
    parts: &Parts,
) -> Option<(Arc<Function>, usize)> {
    let until = Instant::now() + LATE_NEWS;
    while Instant::now() < until {
        tokio::time::sleep(NEWS_PAUSE).await;
        let found = route(gate, caller, host, parts);
        if found.is_some() {
            return found;
        }
    }
    None
}
