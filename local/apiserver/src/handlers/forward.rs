//! `kubectl port-forward`: connections to the ports of a pod, many over one.
//!
//! Three forms lead there: SPDY over a WebSocket (what kubectl asks for first, KEP-4006), SPDY alone, and the
//! channels of a WebSocket, two for each port in the query.

mod buffer;
mod channels;
mod relay;
#[cfg(test)]
mod sample;
mod streams;

use std::sync::Arc;

use fermata_listen::files;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use k8s_openapi::api::core::v1 as core;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use self::relay::Pod;
use super::{
    read,
    upgrade::{self, Handshake, has},
};
use crate::{
    api::Api,
    request::{Query, Target},
    response::Body,
    status::Failure,
};

/// Connections of clients at once. Each counts no longer as one of the listener's.
const MAX_FORWARDS: usize = 64;

/// The ports that one WebSocket may have channels for.
const MAX_PORTS: usize = 64;

/// How streams carry ports, which is the one version that there is.
const VERSION: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
const BASE64_CHANNELS: &str = "v4.base64.channel.k8s.io";
const SPDY: &str = "SPDY/3.1";
const STREAM_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// How many clients the limit of open files lets there be.
pub(crate) fn most_clients() -> usize {
    files::share(files::limit(), 32, MAX_FORWARDS)
}

/// How many connections to ports it lets there be, of all clients together. The platform in this process needs most
/// of the files for requests and functions.
pub(crate) fn most_connections() -> usize {
    files::share(files::limit(), 8, MAX_FORWARDS * streams::MAX_CONNECTIONS)
}

/// Answers with the switch of protocols; a task goes on with the connection.
pub(crate) fn forward(
    api: &Arc<Api>,
    parts: &Parts,
    upgrade: OnUpgrade,
    target: &Target,
    query: &Query,
) -> Result<Response<Body>, Failure> {
    let Some(runtime) = &api.streaming else {
        return Err(Failure::no_such_path());
    };
    let headers = &parts.headers;
    let metadata = read::find(api, target)?.read::<core::Pod>()?.metadata;
    let name = metadata.name.unwrap_or_default();
    let uid = metadata.uid.unwrap_or_default();
    let handshake = if Handshake::is_asked_for(headers) {
        let known = [TUNNEL, CHANNELS, BASE64_CHANNELS];
        Some(Handshake::new(headers, &known)?)
    } else if is_spdy(headers) {
        None
    } else {
        return Err(Failure::bad_request(format!(
            "ports are forwarded over an upgraded connection: Upgrade: {SPDY} with X-Stream-Protocol-Version: {VERSION}, or a WebSocket with Sec-WebSocket-Protocol: {TUNNEL}"
        )));
    };
    let channels = handshake
        .as_ref()
        .is_some_and(|handshake| handshake.protocol != TUNNEL);
    let ports = if channels { ports(query)? } else { Vec::new() };
    let permit = Arc::clone(&api.forwards).try_acquire_owned().map_err(|_| {
        let clients = most_clients();
        let why = format!("{clients} clients forward ports already; end one of them");
        Failure::too_many_requests(why, 10)
    })?;
    let forwarding = runtime.port_forward(&uid).map_err(|why| {
        Failure::bad_request(format!(
            "cannot forward ports of pod {name}: {why}; see: kubectl describe pod {name}"
        ))
    })?;
    let pod = Pod {
        name,
        uid,
        connect: forwarding.connect,
        seats: Arc::clone(&api.forwarded),
    };
    let ended = forwarding.ended;
    let Some(handshake) = handshake else {
        upgrade::go_on(api, upgrade, permit, async move |connection| {
            let (from, to) = tokio::io::split(connection);
            streams::run(from, to, pod, ended).await;
        });
        let mut response = upgrade::switching(HeaderValue::from_static(SPDY));
        response
            .headers_mut()
            .insert(STREAM_VERSION, HeaderValue::from_static(VERSION));
        return Ok(response);
    };
    let protocol = handshake.protocol;
    upgrade::go_on(api, upgrade, permit, async move |connection| {
        let socket = upgrade::websocket(connection).await;
        if protocol != TUNNEL {
            let base64 = protocol == BASE64_CHANNELS;
            return channels::run(socket, &ports, base64, pod, ended).await;
        }
        let (sink, source) = socket.split();
        let source = source.filter_map(async |message| match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(_) => None,
            Err(error) => Some(Err(std::io::Error::other(error))),
        });
        let sink = sink
            .with(async |bytes| Ok(Message::Binary(bytes)))
            .sink_map_err(|error: tokio_tungstenite::tungstenite::Error| {
                std::io::Error::other(error)
            });
        let from = StreamReader::new(Box::pin(source));
        let to = SinkWriter::new(CopyToBytes::new(Box::pin(sink)));
        streams::run(from, to, pod, ended).await;
    });
    Ok(handshake.response())
}

fn is_spdy(headers: &HeaderMap) -> bool {
    has(headers, header::UPGRADE, SPDY)
        && has(headers, header::CONNECTION, "upgrade")
        && has(headers, STREAM_VERSION, VERSION)
}

/// The ports in the query, which a list may name too.
fn ports(query: &Query) -> Result<Vec<u16>, Failure> {
    let given = query.all("ports").flat_map(|list| list.split(','));
    let ports: Vec<u16> = given
        .map(|port| match port.trim().parse() {
            Ok(0) | Err(_) => Err(Failure::bad_request(format!(
                "ports: {port:?} is no port; it must be from 1 to 65535"
            ))),
            Ok(port) => Ok(port),
        })
        .collect::<Result<_, _>>()?;
    match ports.len() {
        0 => Err(Failure::bad_request(
            "query parameter \"ports\" is required",
        )),
        1..=MAX_PORTS => Ok(ports),
        many => Err(Failure::bad_request(format!(
            "ports: {many} of them are too many for one connection; at most {MAX_PORTS}"
        ))),
    }
}
