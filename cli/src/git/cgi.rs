//! `git http-backend`, a CGI program, for one request: the request's body is its input, and what it prints is the
//! answer, both as they come.

mod head;

use std::{io, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{
    BodyExt as _,
    channel::{Channel, Sender},
};
use hyper::body::Incoming;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    repository::Root,
    request::{Asked, Service},
};

/// The longest head of an answer.
const LONGEST_HEAD: usize = 16 * 1024;

/// How much is read at once.
const PIECE: usize = 32 * 1024;

/// Pieces of an answer that wait to be sent.
const PIECES: usize = 4;

/// The most of a request that git is given, in bytes: as much as a push may hold, and what it says of it.
const MOST_GIVEN: usize = 112 * 1024 * 1024;

/// The most of a request that is read after git takes no more of it, in bytes.
const MOST_UNREAD: usize = 1024 * 1024 * 1024;

/// The longest that a client may be silent in the middle of what it sends.
const SILENCE: Duration = Duration::from_secs(60);

/// The longest that anything takes: a push waits for a build and for a start.
const LONGEST: Duration = Duration::from_secs(45 * 60);

/// The body of an answer, as it comes.
pub(super) type Answer = Channel<Bytes, io::Error>;

/// A program that runs in a group of its own, with all that it has started. Dropping it kills them.
pub(super) struct Running {
    pub(super) child: Child,
    group: Option<Pid>,
}

/// Answers a request.
///
/// A push goes on when nobody waits for its answer any more: what it has begun to deploy is deployed, or taken
/// back. One that does not come whole is ended, with all that git has started. Those that go on are among `tasks`. `ended` follows when git has ended; what it holds on to is given back
/// with it, whatever happens.
///
/// # Errors
///
/// When git cannot be run, or does not answer.
///
/// # Cancel safety
///
/// Dropping the future before it has ended kills git.
pub(super) async fn answer(
    root: &Root,
    asked: &Asked,
    request: Request<Incoming>,
    told: Vec<(&'static str, String)>,
    ended: impl Future<Output = ()> + Send + 'static,
    tasks: &TaskTracker,
) -> anyhow::Result<Response<Answer>> {
    let (parts, body) = request.into_parts();
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .envs(root.variables(asked.bundles))
        .envs(variables(asked, &parts.headers))
        .envs(told)
        .env("GIT_PROJECT_ROOT", root.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(std::env::var_os("HOME").map(|home| ("HOME", home)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().context("git cannot be started")?;
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("git has no pipes");
    };
    let running = Running::of(child);
    let broken = CancellationToken::new();
    tasks.spawn(feed(body, stdin, broken.clone()));
    let head = tokio::select! {
        head = time::timeout(LONGEST, read_head(&mut stdout)) => head,
        () = broken.cancelled() => bail!("the request ends before it is whole"),
    };
    let (status, headers, first) = head.context("git does not answer")??;
    let (sender, channel) = Channel::new(PIECES);
    let goes_on = asked.service == Service::Push;
    tasks.spawn(async move {
        let mut running = running;
        let rest = pass_on(&mut running, stdout, first, sender, goes_on);
        let is_late = tokio::select! {
            rest = time::timeout(LONGEST, rest) => rest.is_err(),
            () = broken.cancelled() => false,
        };
        if is_late {
            tracing::warn!("git took too long and was ended");
        }
        running.end().await;
        ended.await;
    });
    let mut response = Response::new(channel);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The request as CGI tells it (RFC 3875, section 4.1), as far as git wants to know. Not its length: git would wait for
/// as many bytes for ever, without a rest, where fewer come.
fn variables(asked: &Asked, headers: &HeaderMap) -> Vec<(&'static str, String)> {
    let (method, query) = if asked.begins {
        ("GET", format!("service={}", asked.service.name()))
    } else {
        ("POST", String::new())
    };
    let mut variables = vec![
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
        ("SERVER_PROTOCOL", "HTTP/1.1".to_owned()),
        ("REQUEST_METHOD", method.to_owned()),
        ("QUERY_STRING", query),
        ("PATH_INFO", asked.path()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
    ];
    let fields = [
        ("CONTENT_TYPE", header::CONTENT_TYPE.as_str()),
        ("HTTP_CONTENT_ENCODING", header::CONTENT_ENCODING.as_str()),
        ("HTTP_GIT_PROTOCOL", "git-protocol"),
        ("GIT_PROTOCOL", "git-protocol"),
    ];
    for (variable, field) in fields {
        let value = headers.get(field).and_then(|value| value.to_str().ok());
        variables.extend(value.map(|value| (variable, value.to_owned())));
    }
    variables
}

/// Writes the body to git as it comes. If it breaks off, or the client is silent for too long, `broken` is cancelled.
/// What git takes no more of is read to its end, within a bound: a client that sends hears no answer, such as that it
/// sends too much.
async fn feed(mut body: Incoming, stdin: ChildStdin, broken: CancellationToken) {
    let (mut stdin, mut given, mut unread) = (Some(stdin), 0, 0);
    while unread <= MOST_UNREAD {
        let data = match time::timeout(SILENCE, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(Some(Err(_))) | Err(_) => break,
        };
        match &mut stdin {
            Some(open) => {
                given += data.len();
                if given > MOST_GIVEN || open.write_all(&data).await.is_err() {
                    stdin = None;
                }
            }
            None => unread += data.len(),
        }
    }
    // Git's end of it is closed after this: it is not to take what is not whole.
    if stdin.is_some() {
        broken.cancel();
    }
}

async fn read_head(stdout: &mut ChildStdout) -> anyhow::Result<(StatusCode, HeaderMap, Bytes)> {
    let mut bytes = BytesMut::with_capacity(PIECE);
    loop {
        if let Some((status, headers, length)) = head::read(&bytes)? {
            let rest = bytes.split_off(length).freeze();
            return Ok((status, headers, rest));
        }
        if bytes.len() > LONGEST_HEAD {
            bail!("git's answer has a head of more than {LONGEST_HEAD} bytes");
        }
        if stdout.read_buf(&mut bytes).await? == 0 {
            bail!("git has ended without an answer");
        }
    }
}

async fn pass_on(
    running: &mut Running,
    mut stdout: ChildStdout,
    first: Bytes,
    sender: Sender<Bytes, io::Error>,
    goes_on: bool,
) {
    let mut sender = Some(sender);
    let mut piece = first;
    loop {
        if let Some(open) = sender.as_mut().filter(|_| !piece.is_empty())
            && open.send_data(piece).await.is_err()
        {
            if !goes_on {
                return;
            }
            sender = None;
        }
        let mut bytes = BytesMut::with_capacity(PIECE);
        match stdout.read_buf(&mut bytes).await {
            Ok(1..) => piece = bytes.freeze(),
            Ok(0) | Err(_) => break,
        }
    }
    // Where it has failed it has said so in what it has sent.
    let _ = running.child.wait().await;
    running.leave();
}

// === impl Running ===

impl Running {
    /// A child that was started in a group of its own.
    pub(super) fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            child,
            group: id.and_then(Pid::from_raw),
        }
    }

    /// It has ended by itself: what it has left running goes on.
    pub(super) fn leave(&mut self) {
        self.group = None;
    }

    /// Kills what still runs, and waits until git is gone.
    async fn end(mut self) {
        self.kill();
        // It was waited for before, or is killed.
        let _ = self.child.wait().await;
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // Mostly there is nobody left to tell.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
