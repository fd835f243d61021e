//! `kubectl exec` and `kubectl attach`: the streams of a command beside those of a container, or of the container
//! itself, over a WebSocket.
//!
//! Kubernetes' own protocol, see <https://kubernetes.io/docs/reference/using-api/api-concepts/> and KEP-4006: each
//! message is a byte that names a channel, and data. SPDY, which kubectl before 1.31 speaks, is not served.

mod bridge;

use std::sync::Arc;

use fermata_listen::files;
use http::{HeaderMap, Response, request::Parts};
use hyper::upgrade::OnUpgrade;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::bridge::{Bridge, Protocol};
use super::{
    logs, read,
    upgrade::{self, Handshake},
};
use crate::{
    AttachRequest, ExecRequest,
    api::Api,
    request::{Query, Target},
    response::Body,
    status::Failure,
    streaming::Execution,
};

/// Commands and attachments at once. Each holds a connection that counts no longer as one of the listener's.
const MAX_EXECUTIONS: usize = 64;

/// How many the limit of open files lets there be. Each has some six: a connection, pipes or a terminal.
pub(crate) fn most() -> usize {
    files::share(files::limit(), 64, MAX_EXECUTIONS)
}

/// Which streams a request asks for, and of which container.
struct StreamOptions {
    pod: String,
    container: String,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

/// Starts the command and answers with the switch of protocols; a task goes on with the connection.
pub(crate) fn exec(
    api: &Arc<Api>,
    parts: &Parts,
    upgrade: OnUpgrade,
    target: &Target,
    query: &Query,
) -> Result<Response<Body>, Failure> {
    let Some(runtime) = api.streaming.clone() else {
        return Err(Failure::no_such_path());
    };
    let command: Vec<String> = query.all("command").map(ToOwned::to_owned).collect();
    if command.is_empty() {
        return Err(Failure::bad_request("you must specify at least 1 command"));
    }
    let options = StreamOptions::new(&read::find(api, target)?.read()?, query)?;
    converse(api, parts, upgrade, &options, |options| {
        runtime.exec(&ExecRequest {
            pod: options.pod.clone(),
            container: options.container.clone(),
            command,
            stdin: options.stdin,
            tty: options.tty,
        })
    })
}

/// Answers with the switch of protocols; a task carries what the container says from now on.
pub(crate) fn attach(
    api: &Arc<Api>,
    parts: &Parts,
    upgrade: OnUpgrade,
    target: &Target,
    query: &Query,
) -> Result<Response<Body>, Failure> {
    let Some(runtime) = api.streaming.clone() else {
        return Err(Failure::no_such_path());
    };
    let options = StreamOptions::new(&read::find(api, target)?.read()?, query)?;
    converse(api, parts, upgrade, &options, |options| {
        runtime.attach(&AttachRequest {
            pod: options.pod.clone(),
            container: options.container.clone(),
            stdin: options.stdin,
        })
    })
}

fn converse(
    api: &Arc<Api>,
    parts: &Parts,
    upgrade: OnUpgrade,
    options: &StreamOptions,
    start: impl FnOnce(&StreamOptions) -> Result<Execution, String>,
) -> Result<Response<Body>, Failure> {
    let (permit, handshake) = admit(&api.executions, &parts.headers)?;
    let execution = start(options);
    let bridge = Bridge {
        protocol: Protocol::of(handshake.protocol),
        stdout: options.stdout,
        stderr: options.stderr,
    };
    upgrade::go_on(api, upgrade, permit, async move |connection| {
        bridge
            .run(upgrade::websocket(connection).await, execution)
            .await;
    });
    Ok(handshake.response())
}

/// One of the places that there are, and the handshake. The place comes first: kubectl asks once more, for SPDY, when
/// it is refused, and tells its user what is said to that.
fn admit(
    executions: &Arc<Semaphore>,
    headers: &HeaderMap,
) -> Result<(OwnedSemaphorePermit, Handshake), Failure> {
    let permit = Arc::clone(executions).try_acquire_owned().map_err(|_| {
        let most = most();
        let why = format!("{most} commands run in containers already; end one of them");
        Failure::too_many_requests(why, 10)
    })?;
    if !Handshake::is_asked_for(headers) {
        return Err(Failure::bad_request(
            "commands run over WebSockets here, as kubectl 1.31 and newer speak them",
        ));
    }
    Ok((permit, Handshake::new(headers, &Protocol::NAMES)?))
}

// === impl StreamOptions ===

impl StreamOptions {
    fn new(pod: &Pod, query: &Query) -> Result<Self, Failure> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let container = logs::container(pod, query.get("container"))?;
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
        if !logs::is_running(pod, &container) {
            return Err(Failure::bad_request(format!(
                "container {container} of pod {name} is not running; see: kubectl describe pod {name}"
            )));
        }
        Ok(Self {
            pod: pod.metadata.uid.clone().unwrap_or_default(),
            container,
            stdin,
            stdout,
            stderr,
            tty,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let all = all.iter().copied();
        all.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_client_that_asks_for_spdy_hears_of_the_limit() {
        let spdy = headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]);
        let socket = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ]);
        let executions = Arc::new(Semaphore::new(1));
        let refused = admit(&executions, &spdy).err().unwrap();
        assert_eq!(refused.code, 400);
        assert!(refused.message.contains("WebSockets"), "{refused:?}");
        // Who is refused holds no place.
        let held = admit(&executions, &socket).unwrap();
        for headers in [&spdy, &socket] {
            let refused = admit(&executions, headers).err().unwrap();
            assert_eq!(refused.code, 429);
            assert!(refused.message.contains("end one of them"), "{refused:?}");
        }
        drop(held);
        assert!(admit(&executions, &socket).is_ok());
    }
}
