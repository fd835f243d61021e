//! One HTTP/1.1 connection.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use fermata_listen::Seat;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Server, line::Line, note, refusal::Refusal, timer::KeepingTimer, wire::Wire};
use crate::proxy::{failure::Failure, headers::Client, respond::refusal_text, service};

/// How long a client that is sent away gets to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What may happen to a connection from outside.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// It is to end after its running request.
    Stop,
    /// Its place was taken away, while it was idle.
    Lost,
}

impl Server {
    /// Serves the connection until it ends.
    pub(super) async fn serve_h1(&self, wire: Wire, address: SocketAddr, seat: Seat) {
        let line = Arc::new(Line::new(seat));
        let client = Arc::new(Client::new(address, self.entrance).watched(line.hang_up()));
        let gate = self.gate.clone();
        let wire = wire.on(line.clone(), Refusal::new(gate.limits.header_bytes));
        let taking = line.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let taken = taking.take();
            let (gate, client) = (gate.clone(), client.clone());
            async move {
                if !taken {
                    // The connection is dropped before anything comes of this.
                    return std::future::pending().await;
                }
                Ok::<_, Infallible>(service::serve(&gate, &client, request).await)
            }
        });
        let mut http1 = self.http1.clone();
        let mut connection = http1
            .timer(KeepingTimer::new(line.clone(), self.clocks.header))
            .serve_connection(TokioIo::new(wire), service)
            .with_upgrades();
        // The connection is polled several times for each request. These futures take locks each time;
        // this collection polls them only when they have something to say.
        let mut turns = self.turns(line.clone());
        let ended = loop {
            tokio::select! {
                biased;
                // First, so that a request that is there already is seen before the end.
                ended = &mut connection => break ended,
                Some(turn) = turns.next() => match turn {
                    Turn::Stop => std::pin::Pin::new(&mut connection).graceful_shutdown(),
                    Turn::Lost => return,
                },
            }
        };
        let timed_out = ended.as_ref().is_err_and(hyper::Error::is_timeout);
        if timed_out
            && line.is_mid_head()
            && let Some(parts) = connection.into_parts()
        {
            let failure =
                Failure::ClientTimeout("the head of the request did not come in time".into());
            say(parts.io.into_inner().into_stream(), &failure).await;
        }
        note(ended, address);
    }

    fn turns(&self, line: Arc<Line>) -> FuturesUnordered<BoxFuture<'static, Turn>> {
        let stop = self.ends.stop.clone();
        let stopped = async move {
            stop.cancelled().await;
            Turn::Stop
        };
        let lost = async move {
            line.lost().await;
            Turn::Lost
        };
        FuturesUnordered::from_iter([stopped.boxed(), lost.boxed()])
    }
}

/// Writes a refusal to a connection that hyper has done with.
async fn say(mut stream: TcpStream, failure: &Failure) {
    let text = refusal_text(failure);
    let said = async {
        stream.write_all(&text).await?;
        stream.shutdown().await
    };
    // Who does not read it does not hear it.
    let _ = tokio::time::timeout(LAST_WORDS, said).await;
}
