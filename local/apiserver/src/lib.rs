//! A Kubernetes API endpoint for one machine.
//!
//! It speaks the API of Kubernetes well enough for kubectl, kube-rs and controllers that do not know
//! that there is no cluster behind it: discovery, OpenAPI, tables, list and watch, all patches with
//! server-side apply, custom resources with their schemas and rules, status and scale, quotas and pod
//! logs, and commands in containers, their output and their ports where a node runs them. It runs no controllers and
//! no pods; those are clients like all others.
//!
//! # Guarantees
//!
//! * An answered write is on disk (unless the server is ephemeral), and survives a kill.
//! * Only who holds the credentials of [`ApiServer::kubeconfig`], or a token that they were given, gets in.
//!
//! # Differences from a real API server
//!
//! * There is no RBAC: the holder of the credentials may do everything, and a ServiceAccount's token shows who its
//!   holder is and opens what needs no role.
//! * Bodies may be JSON, YAML or protobuf; answers are JSON.
//! * A Service gets no virtual address; it is headless unless it says otherwise.
//! * Quotas bound what pods ask for and how many there are, not the number of other objects.
//! * Disruption budgets are weighed when a pod is evicted; their status is not kept.
//! * Rules of custom resources have no cost limit; a transition rule inside a list compares items
//!   by their position.
//! * `exec` and `attach` speak WebSockets, as kubectl 1.31 and newer do, and no SPDY; `attach` has no standard input.
//!   `port-forward` speaks both, and reaches the ports that a pod declares; what programs do not take of it waits
//!   within 8 MiB a client, and a connection that holds up the others for 30 s is reset.
//! * There is no `proxy`, no admission webhook and no conversion webhook.
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use fermata_apiserver::{ApiServer, Options};
//!
//! let server = ApiServer::start(Options::default()).await?;
//! let client = server.client("default");
//! std::fs::write("kubeconfig", server.kubeconfig())?;
//! # drop(client);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod api;
mod apply;
mod auth;
mod background;
mod clock;
mod convert;
mod decode;
mod discovery;
mod handlers;
mod kinds;
mod media;
mod merge;
mod names;
mod openapi;
mod protobuf;
mod random;
mod request;
mod resource;
mod response;
mod router;
#[cfg(test)]
mod sample;
mod schema;
mod security;
mod selector;
mod server;
mod spdy;
mod start;
mod status;
mod store;
mod streaming;
mod table;
mod typed;
mod write;

pub use self::{
    api::Mutator,
    server::pki::PkiError,
    start::{ApiServer, Error, Options},
    store::OpenError,
    streaming::{
        AttachRequest, Connect, Duplex, ExecRequest, Execution, Forwarding, StreamingRuntime,
    },
};
