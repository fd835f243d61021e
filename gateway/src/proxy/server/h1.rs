//! One HTTP/1.1 connection.

use std::{convert::Infallible, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use fermata_listen::Seat;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::Request;
use hyper::{body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    Far, Server,
    framing::{Finding, MOST_FIELDS},
    line::Line,
    note,
    refusal_rewriter::RefusalRewriter,
    timer::ReusableTimer,
    wire::Wire,
};
use crate::{
    failure::{BadRequest, Failure, SlowClient},
    proxy::{client::Client, respond::refusal_text, service},
};

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
    pub(super) async fn serve_h1(&self, wire: Wire, far: Far, seat: Seat) {
        let line = Arc::new(Line::new(seat));
        let client = Client::new(
            far.peer,
            far.client,
            self.entrance,
            &self.context.limits.trusted,
        );
        let client = Arc::new(client.watched(line.hang_up()));
        let context = self.context.clone();
        let wire = wire.on(
            line.clone(),
            RefusalRewriter::new(context.limits.header_bytes),
        );
        let taking = line.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let switches = request.extensions().get::<OnUpgrade>().is_some();
            let taken = taking.take(switches);
            let (context, client, line) = (context.clone(), client.clone(), taking.clone());
            async move {
                if !taken {
                    // The connection is dropped before anything comes of this.
                    return std::future::pending().await;
                }
                let mut response = service::serve(&context, &client, request).await;
                if line.is_last() {
                    service::close(&mut response);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut http1 = self.http1.clone();
        http1.timer(ReusableTimer::new(line.clone(), self.clocks.header));
        let mut connection = http1
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
                finding = poll_fn(|_| line.due().map_or(Poll::Pending, Poll::Ready)) => {
                    if finding == Finding::Lost {
                        std::pin::Pin::new(&mut connection).graceful_shutdown();
                        continue;
                    }
                    let Some(parts) = connection.into_parts() else { return };
                    let wire = parts.io.into_inner();
                    if let Some(failure) = refused(finding) {
                        say(wire.into_stream(), &failure).await;
                        return;
                    }
                    connection = http1
                        .max_headers(MOST_FIELDS)
                        .serve_connection(TokioIo::new(wire.widened(&parts.read_buf)), parts.service)
                        .with_upgrades();
                }
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
            let failure = Failure::from(SlowClient::Head);
            say(parts.io.into_inner().into_stream(), &failure).await;
        }
        note(ended, far);
    }

    fn turns(&self, line: Arc<Line>) -> FuturesUnordered<BoxFuture<'static, Turn>> {
        let stop = self.shutdown.stop.clone();
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

/// Why a head is not read, if it is not.
fn refused(finding: Finding) -> Option<Failure> {
    match finding {
        Finding::TooManyFields => Some(Failure::TooManyHeaders { limit: MOST_FIELDS }),
        Finding::BareLineFeed => Some(BadRequest::BareLineFeed.into()),
        Finding::ManyFields | Finding::Lost => None,
    }
}

/// Writes a refusal to a connection that hyper has done with.
async fn say(mut stream: TcpStream, failure: &Failure) {
    let text = refusal_text(failure);
    let said = async {
        stream.write_all(&text).await?;
        stream.shutdown().await?;
        // To close while there is something unread would take back what was said.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Who does not read it does not hear it.
    let _ = tokio::time::timeout(LAST_WORDS, said).await;
}
