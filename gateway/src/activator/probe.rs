//! Finds out, within milliseconds, when an instance takes requests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, runtime::Handle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::{
        endpoint::{Endpoint, LastProbe},
        revision::Revision,
        settings::{Check, Get},
    },
    upstream::connect,
};

/// The shortest and the longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Which part of the time that a start has taken so far one pause may be, within those bounds: so
/// much, at most, is added to the start by not looking all the time.
const SHARE: u32 = 20;

/// How long one connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// An instance to be probed.
#[derive(Debug)]
pub(crate) struct Job {
    revision: Arc<Revision>,
    endpoint: Arc<Endpoint>,
}

/// Where probing runs: with the requests, because the connection that a probe opens carries some.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    /// Who owns the tasks.
    pub(crate) tasks: TaskTracker,
    /// The runtime that serves requests.
    pub(crate) runtime: Handle,
    /// Ends them.
    pub(crate) stop: CancellationToken,
}

// === impl Probes ===

impl Probes {
    /// Begins to probe, until told to stop.
    pub(crate) fn begin(&self, job: Job) {
        self.tasks
            .spawn_on(run(job, self.stop.clone()), &self.runtime);
    }
}

// === impl Job ===

impl Job {
    /// Probing of this instance of this Revision.
    #[must_use]
    pub(crate) fn new(revision: Arc<Revision>, endpoint: Arc<Endpoint>) -> Self {
        Self { revision, endpoint }
    }
}

/// Probes until the instance takes requests, is gone, or the gateway stops.
///
/// # Cancel safety
///
/// Dropping the future ends the probing; the instance stays unusable.
pub(crate) async fn run(job: Job, stop: CancellationToken) {
    let (revision, endpoint) = (&job.revision, &job.endpoint);
    let begun = Instant::now();
    while !endpoint.is_gone() && !stop.is_cancelled() {
        if passes(revision, endpoint).await {
            Revision::set_usable(revision, endpoint);
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause(begun.elapsed())) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// How long to wait until the next try.
fn pause(spent: Duration) -> Duration {
    let (shortest, longest) = PAUSES;
    (spent / SHARE).clamp(shortest, longest)
}

async fn passes(revision: &Revision, endpoint: &Endpoint) -> bool {
    for check in &revision.settings().checks {
        let passed = match check {
            Check::Cluster => true,
            Check::Connect { port: None } => {
                let connects = first_connection(revision, endpoint).await;
                if !connects {
                    endpoint.set_last_probe(LastProbe::NoConnection);
                }
                connects
            }
            Check::Connect { port: Some(port) } => {
                let address = SocketAddr::new(endpoint.address().ip(), *port);
                connect::open(address, CONNECT_TIMEOUT).await.is_ok()
            }
            Check::Get(get) => {
                let port = get.port.unwrap_or(endpoint.address().port());
                let address = SocketAddr::new(endpoint.address().ip(), port);
                let answer = tokio::time::timeout(get.timeout, answers(address, get));
                let (passes, last) = match answer.await {
                    Ok(Ok(status)) if (200..400).contains(&status) => (true, LastProbe::None),
                    Ok(Err(ProbeError::Connect(_))) => (false, LastProbe::NoConnection),
                    _ => (false, LastProbe::Refused),
                };
                endpoint.set_last_probe(last);
                passes
            }
        };
        if !passed {
            return false;
        }
    }
    true
}

/// The connection that proves the instance is there also carries its first request.
async fn first_connection(revision: &Revision, endpoint: &Endpoint) -> bool {
    let Ok(stream) = connect::open(endpoint.address(), CONNECT_TIMEOUT).await else {
        return false;
    };
    endpoint
        .pool
        .donate(stream, revision.settings().protocol)
        .await;
    true
}

/// Why a GET got no answer.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("nothing listens")]
    Connect(#[from] std::io::Error),
    #[error("the probe's path or headers are not valid")]
    Request(#[from] http::Error),
    #[error("the exchange broke off")]
    Exchange(#[from] hyper::Error),
}

/// The status that a GET gets; the kubelet asks for one from 200 to 399.
async fn answers(address: SocketAddr, get: &Get) -> Result<u16, ProbeError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(&*get.path)
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, "fermata-probe");
    let named_host = |(name, _): &(Box<str>, Box<str>)| name.eq_ignore_ascii_case("host");
    if !get.headers.iter().any(named_host) {
        request = request.header(header::HOST, address.to_string());
    }
    for (name, value) in &get.headers {
        request = request.header(&**name, &**value);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?);
    tokio::pin!(connection, response);
    tokio::select! {
        biased;
        answer = &mut response => Ok(answer?.status().as_u16()),
        ended = &mut connection => {
            ended?;
            // The answer may have come with the end of the connection.
            Ok(response.await?.status().as_u16())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_adds_little_to_a_start_and_a_long_start_costs_few_tries() {
        let milliseconds = |spent| pause(Duration::from_millis(spent)).as_millis();
        assert_eq!(
            [0, 100, 300, 2_000, 60_000].map(milliseconds),
            [5, 5, 15, 100, 1_000]
        );
        let (mut spent, mut tries) = (Duration::ZERO, 0);
        while spent < Duration::from_secs(30) {
            spent += pause(spent);
            tries += 1;
        }
        assert!(tries < 150, "{tries}");
    }
}
