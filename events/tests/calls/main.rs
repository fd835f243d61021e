//! Calls that are kept and made, by a gateway that does as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bad;
mod batching;
mod callbacks;
mod dead_letters;
mod gateway;
mod keeping;
mod making;
mod ordering;
mod owner;
mod publishing;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use fermata_events::{Error, Events, Options};
use gateway::Gateway;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, and what to ask it with.
struct Kept {
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

/// An answer with all of its body.
struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Kept {
    async fn start(gateway: &Gateway, store: Option<&Path>) -> Self {
        Self::with(gateway, store, |_| {}).await
    }

    async fn with(gateway: &Gateway, store: Option<&Path>, set: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            gateway: gateway.authority(),
            store: store.map(ToOwned::to_owned).unwrap_or_default(),
            ephemeral: store.is_none(),
            ..Options::default()
        };
        set(&mut options);
        // The one before may just be letting go of its file.
        let bind = async || {
            Events::bind(options.clone())
                .await
                .map_err(|error| error.to_string())
        };
        let events = eventually(bind).await;
        let stop = CancellationToken::new();
        Self {
            address: events.address().to_string(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            task: tokio::spawn(events.run(stop.clone())),
            stop,
        }
    }

    async fn ask(&self, request: http::request::Builder, body: &str) -> Answer {
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let asked = self.client.request(request.unwrap());
        let response = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap()
            .unwrap();
        let (head, body) = Response::into_parts(response);
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// A request as the gateway makes it.
    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("x-fermata-entrance", "public")
    }

    fn call(&self, function: &str, delivery: &Value) -> http::request::Builder {
        self.request(
            "POST",
            &format!("/functions/shop/{function}/orders?from=web"),
        )
        .header("x-fermata-function-uid", format!("uid-of-{function}"))
        .header("x-fermata-delivery", delivery.to_string())
    }

    /// The id of a call that is kept.
    async fn keep(&self, function: &str, delivery: &Value, body: &str) -> String {
        let answer = self.ask(self.call(function, delivery), body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn state(&self, id: &str) -> Value {
        let answer = self
            .ask(self.request("GET", &format!("/invocations/{id}")), "")
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// How the call stands once the condition holds.
    async fn until(&self, id: &str, condition: impl Fn(&Value) -> bool) -> Value {
        eventually(async || {
            let state = self.state(id).await;
            if condition(&state) {
                Ok(state)
            } else {
                Err(state.to_string())
            }
        })
        .await
    }

    async fn over(&self, id: &str) -> Value {
        self.until(id, |state| state["finishedAt"].is_string())
            .await
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it as a crash does, for what is in its store.
    async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(formatter, "{} {:?} {body}", self.status, self.headers)
    }
}

/// Tries until there is a result.
async fn eventually<T>(mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = std::time::Instant::now();
    loop {
        match check().await {
            Ok(found) => return found,
            Err(why) => assert!(begun.elapsed() < PATIENCE, "{why}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Tries again at once.
fn at_once(attempts: u32) -> Value {
    json!({"attempts": attempts, "backoff": {"first": "10ms", "max": "10ms"}})
}
