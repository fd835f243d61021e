//! What the tests share.

mod api;
mod client;
mod cluster;
mod events;
mod functions;
mod harness;

pub(crate) use api::Api;
pub(crate) use client::{Answer, Connection, RawClient, get, request, text, until};
pub(crate) use cluster::{Behaviour, Cluster, FunctionSpec};
pub(crate) use events::{Waiting, events};
pub(crate) use functions::{Body, chat, echo, full, held, respond_with};
pub(crate) use harness::Harness;
