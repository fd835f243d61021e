//! `kubectl exec`: a command beside those of a container, over a WebSocket.
//!
//! Kubernetes' own protocol, see <https://kubernetes.io/docs/reference/using-api/api-concepts/> and KEP-4006: each
//! message is a byte that names a channel, and data. SPDY, which kubectl before 1.31 speaks, is not served.

mod bridge;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use self::bridge::{Bridge, Protocol};
use super::{logs, read};
use crate::{
    api::Api,
    exec::ExecRequest,
    request::{Query, Target},
    response::Body,
    status::Failure,
};

/// The longest message of a client. kubectl sends pieces of 32 KiB.
const MAX_MESSAGE: usize = 1 << 20;

/// Commands at once. Each holds a connection that counts no longer as one of the listener's.
pub(crate) const MAX_EXECUTIONS: usize = 64;

/// What a request asks for, beside the command.
struct Asked {
    request: ExecRequest,
    stdout: bool,
    stderr: bool,
}

/// Starts the command and answers with the switch of protocols; a task goes on with the connection.
pub(crate) fn exec(
    api: &Arc<Api>,
    parts: &Parts,
    upgrade: OnUpgrade,
    target: &Target,
    query: &Query,
) -> Result<Response<Body>, Failure> {
    let Some(start) = &api.exec else {
        return Err(Failure::no_such_path());
    };
    let asked = asked(api, target, query)?;
    let (key, protocol) = handshake(&parts.headers)?;
    let permit = Arc::clone(&api.executions)
        .try_acquire_owned()
        .map_err(|_| {
            let why =
                format!("{MAX_EXECUTIONS} commands run in containers already; end one of them");
            Failure::too_many_requests(why, 10)
        })?;
    let execution = start(&asked.request);
    let bridge = Bridge {
        protocol,
        stdout: asked.stdout,
        stderr: asked.stderr,
    };
    let shutdown = api.shutdown.clone();
    api.sessions.spawn(async move {
        // It is given back when the command has ended.
        let _permit = permit;
        let upgraded = tokio::select! {
            upgraded = upgrade => upgraded,
            () = shutdown.cancelled() => return,
        };
        let stream = match upgraded {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => {
                tracing::debug!(error = %error, "the connection of a command was not switched");
                return;
            }
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        tokio::select! {
            () = bridge.run(socket, execution) => {}
            () = shutdown.cancelled() => {}
        }
    });
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(protocol.name()),
    );
    Ok(response)
}

fn asked(api: &Api, target: &Target, query: &Query) -> Result<Asked, Failure> {
    let object = read::find(api, target)?;
    let pod = object.value();
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let container = logs::container(&pod, query.get("container"))?;
    let command: Vec<String> = query.all("command").map(ToOwned::to_owned).collect();
    if command.is_empty() {
        return Err(Failure::bad_request("you must specify at least 1 command"));
    }
    let (stdin, stdout, stderr, tty) = (
        query.flag("stdin"),
        query.flag("stdout"),
        query.flag("stderr"),
        query.flag("tty"),
    );
    if !(stdin || stdout || stderr) {
        return Err(Failure::bad_request(
            "you must specify at least one of stdin, stdout, stderr",
        ));
    }
    if tty && stderr {
        return Err(Failure::bad_request("tty and stderr cannot both be true"));
    }
    if !logs::is_running(&pod, &container) {
        return Err(Failure::bad_request(format!(
            "container {container} of pod {name} is not running; see: kubectl describe pod {name}"
        )));
    }
    Ok(Asked {
        request: ExecRequest {
            pod: pod["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            container,
            command,
            stdin,
            tty,
        },
        stdout,
        stderr,
    })
}

/// The answer to the client's key, and the protocol that both know (RFC 6455, section 4.2).
fn handshake(headers: &HeaderMap) -> Result<(HeaderValue, Protocol), Failure> {
    let has = |name: header::HeaderName, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|given| given.trim().eq_ignore_ascii_case(token))
    };
    let is_websocket = has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade");
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let (true, Some(key)) = (is_websocket, key) else {
        return Err(Failure::bad_request(
            "commands run over WebSockets here, as kubectl 1.31 and newer speak them",
        ));
    };
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Failure::bad_request("Sec-WebSocket-Version must be 13"));
    }
    let known = [Protocol::V5, Protocol::V4];
    let protocol = known
        .into_iter()
        .find(|protocol| has(header::SEC_WEBSOCKET_PROTOCOL, protocol.name()))
        .ok_or_else(|| {
            let names = known.map(Protocol::name).join(" and ");
            Failure::bad_request(format!("Sec-WebSocket-Protocol: {names} are known"))
        })?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| Failure::bad_request("Sec-WebSocket-Key is none"))?;
    Ok((accept, protocol))
}
