//! Watches as they come over the wire.

use futures::{AsyncBufRead, AsyncBufReadExt as _};
use http::Request;
use kube::Client;
use serde_json::Value;

use crate::requests::{PATIENCE, placed};

/// The events of a watch, line by line.
pub(crate) struct Lines {
    reader: std::pin::Pin<Box<dyn AsyncBufRead + Send>>,
}

impl Lines {
    pub(crate) async fn open(client: &Client, path: &str) -> Self {
        Self::accept(client, path, "application/json").await
    }

    pub(crate) async fn accept(client: &Client, path: &str, accept: &str) -> Self {
        let request = Request::get(placed(client, path))
            .header("accept", accept)
            .body(Vec::new())
            .unwrap();
        let reader = client.request_stream(request).await.unwrap();
        Self {
            reader: Box::pin(reader),
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.reader.read_line(&mut line));
        if read.await.expect("an event").unwrap() == 0 {
            return None;
        }
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Type and name of the next event.
    pub(crate) async fn event(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}
