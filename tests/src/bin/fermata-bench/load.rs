//! A steady load of keep-alive connections, each with one request at a time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

/// What came of a load.
pub(crate) struct Outcome {
    pub(crate) requests: usize,
    pub(crate) failures: usize,
    pub(crate) elapsed: Duration,
    /// Sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// Posts a body over and over, on so many connections, for so long.
pub(crate) async fn run(
    address: SocketAddr,
    path: &str,
    body: Bytes,
    connections: usize,
    time: Duration,
) -> Outcome {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(caller(
            address,
            path.to_owned(),
            body.clone(),
            started + time,
        ));
    }
    let mut outcome = Outcome {
        requests: 0,
        failures: 0,
        elapsed: Duration::ZERO,
        latencies: Vec::new(),
    };
    while let Some(ended) = tasks.join_next().await {
        let (latencies, failures) = ended.expect("a caller does not panic");
        outcome.requests += latencies.len();
        outcome.failures += failures;
        outcome.latencies.extend(latencies);
    }
    outcome.elapsed = started.elapsed();
    outcome.latencies.sort();
    outcome
}

async fn caller(
    address: SocketAddr,
    path: String,
    body: Bytes,
    until: Instant,
) -> (Vec<Duration>, usize) {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server takes connections");
    stream.set_nodelay(true).expect("the connection is open");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a fresh connection");
    tokio::spawn(connection);
    let (mut latencies, mut failures) = (Vec::new(), 0);
    while Instant::now() < until {
        let request = Request::post(&path)
            .header(header::HOST, "bench")
            .body(Full::new(body.clone()))
            .expect("the path is valid");
        let started = Instant::now();
        let whole = async {
            let response = sender.send_request(request).await.ok()?;
            let success = response.status().is_success();
            response.into_body().collect().await.ok()?;
            success.then_some(())
        };
        if whole.await.is_some() {
            latencies.push(started.elapsed());
        } else {
            failures += 1;
            if sender.is_closed() {
                break;
            }
        }
    }
    (latencies, failures)
}
