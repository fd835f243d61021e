//! One HTTP/2 connection.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use fermata_listen::{Attended, Seat};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use super::{Far, Server, note, wire::Wire};
use crate::proxy::{client::Client, response_body::Streams, service};

/// How long a connection without requests has to end after it was asked to.
const GOODBYE: Duration = Duration::from_secs(1);

/// What may happen to a connection from outside.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The gateway is about to stop.
    Leave,
    /// Nobody has asked anything for long, or the place was taken away while that was so.
    Idle,
}

impl Server {
    /// Serves the connection until it shutdown.
    pub(super) async fn serve_h2(&self, wire: Wire, far: Far, seat: Seat) {
        let streams = Arc::<Streams>::default();
        let client = Client::new(
            far.peer,
            far.client,
            self.entrance,
            &self.context.limits.trusted,
        );
        let client = Arc::new(client.over(streams.clone()));
        let (context, write_timeout) = (self.context.clone(), self.context.limits.patience.write);
        let seat = Arc::new(seat);
        // Who connects only now may make one request before being sent away.
        let late = self.shutdown.leave.is_cancelled();
        let late = late.then(|| Arc::new(Notify::new()));
        let (asked, place) = (late.clone(), seat.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            if let Some(asked) = &asked {
                asked.notify_one();
            }
            let busy = place.busy();
            let (context, client) = (context.clone(), client.clone());
            async move {
                let response = service::serve(&context, &client, request).await;
                Ok::<_, Infallible>(response.map(|body| Attended::new(body, busy)))
            }
        });
        let connection = self.http2.serve_connection(TokioIo::new(wire), service);
        let mut connection = pin!(connection);
        let mut turns = self.turns_h2(&seat, late);
        let watch = async move { streams.watch(write_timeout).await };
        let mut watch = FuturesUnordered::from_iter([watch]);
        let ended = loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                // It never ends, and is polled only when it is time to look.
                Some(()) = watch.next() => {}
                Some(turn) = turns.next() => {
                    connection.as_mut().graceful_shutdown();
                    if matches!(turn, Turn::Idle) {
                        // Who asks at the very last moment is answered.
                        break loop {
                            match tokio::time::timeout(GOODBYE, connection.as_mut()).await {
                                Ok(ended) => break ended,
                                Err(_) if seat.is_busy() => {}
                                Err(_) => return,
                            }
                        };
                    }
                }
            }
        };
        note(ended, far);
    }

    fn turns_h2(
        &self,
        seat: &Arc<Seat>,
        late: Option<Arc<Notify>>,
    ) -> FuturesUnordered<BoxFuture<'static, Turn>> {
        let (shutdown, idle_timeout) = (self.shutdown.clone(), self.clocks.idle);
        let leave = async move {
            shutdown.leave.cancelled().await;
            if let Some(asked) = late {
                tokio::select! {
                    () = asked.notified() => {}
                    () = shutdown.stop.cancelled() => {}
                }
            }
            Turn::Leave
        };
        let (place, other) = (seat.clone(), seat.clone());
        let lost = async move {
            place.lost().await;
            Turn::Idle
        };
        let idle = async move {
            idle(&other, idle_timeout).await;
            Turn::Idle
        };
        FuturesUnordered::from_iter([leave.boxed(), lost.boxed(), idle.boxed()])
    }
}

/// Returns when there has been no request for as long as the timeout.
async fn idle(seat: &Seat, timeout: Duration) {
    loop {
        let passed = seat.idle_for().unwrap_or_default();
        match timeout.checked_sub(passed) {
            None | Some(Duration::ZERO) => return,
            Some(rest) => tokio::time::sleep(rest).await,
        }
    }
}
