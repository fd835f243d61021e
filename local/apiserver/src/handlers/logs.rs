//! The logs of a container, read from the files that the node writes.
//!
//! One file per run of a container, `<namespace>_<pod>_<uid>/<container>/<restarts>.log`, in the
//! CRI format: a time, a stream, `F` for a full line or `P` for a part of one, and the text.

use std::{io::SeekFrom, path::PathBuf, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Response;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};

use super::read;
use crate::{
    api::Api,
    request::Call,
    response::{self, Body},
    status::Failure,
    store::Key,
};

/// How often a file that is followed is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How much of a file is read at once.
const CHUNK: usize = 64 * 1024;

/// The longest line that is kept together.
const MAX_LINE: usize = 1024 * 1024;

struct Log {
    api: Arc<Api>,
    pod: Key,
    uid: String,
    container: String,
    restarts: i32,
    path: PathBuf,
    file: Option<File>,
    tail: Option<u64>,
    since: Option<Timestamp>,
    timestamps: bool,
    follow: bool,
    /// Bytes that may still be sent.
    left: Option<usize>,
    /// The beginning of a line whose end is not written yet.
    rest: BytesMut,
    /// The next text goes on with a line that was begun.
    continues: bool,
}

pub(crate) fn logs(api: &Arc<Api>, call: &Call) -> Result<Response<Body>, Failure> {
    let pod: Pod = read::find(api, &call.target)?.read()?;
    let query = &call.query;
    let container = container(&pod, query.get("container"))?;
    let previous = query.flag("previous");
    let restarts = run(&pod, &container, previous)?;
    let since = match (query.number::<i64>("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), None) => {
            let ago = SignedDuration::from_secs(seconds);
            Timestamp::now().checked_sub(ago).ok()
        }
        (None, Some(time)) => Some(time.parse().map_err(|_| {
            Failure::bad_request(format!("sinceTime must be an RFC 3339 time, not {time:?}"))
        })?),
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(Failure::bad_request(
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
    };
    let ObjectMeta {
        namespace,
        name,
        uid,
        ..
    } = pod.metadata;
    let key = Key::new(namespace.unwrap_or_default(), name.unwrap_or_default());
    let uid = uid.unwrap_or_default();
    let path = api
        .logs_dir
        .join(format!("{}_{}_{uid}", key.namespace, key.name))
        .join(&container)
        .join(format!("{restarts}.log"));
    let log = Log {
        api: Arc::clone(api),
        pod: key,
        uid,
        container,
        restarts,
        path,
        file: None,
        tail: query.number("tailLines")?,
        since,
        timestamps: query.flag("timestamps"),
        follow: query.flag("follow") && !previous,
        left: query.number("limitBytes")?,
        rest: BytesMut::new(),
        continues: false,
    };
    let stream = futures::stream::unfold(log, |mut log| async move {
        let bytes = log.next().await?;
        Some((bytes, log))
    });
    Ok(response::stream("text/plain", stream))
}

/// The container to read: the one that was named, or the only one.
pub(super) fn container(pod: &Pod, named: Option<&str>) -> Result<String, Failure> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let names: Vec<&str> = spec
        .into_iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| container.name.as_str())
        .collect();
    let is_init = |named: &str| {
        let mut init = spec
            .and_then(|spec| spec.init_containers.as_ref())
            .into_iter()
            .flatten();
        init.any(|container| container.name == named)
    };
    match (named, names.as_slice()) {
        (Some(named), all) if all.contains(&named) || is_init(named) => Ok(named.to_owned()),
        (Some(named), _) => Err(Failure::bad_request(format!(
            "container {named} is not valid for pod {name}"
        ))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, all) => Err(Failure::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            all.join(" ")
        ))),
    }
}

fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let running = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    running.chain(init).find(|status| status.name == container)
}

/// Whether the container runs now.
pub(super) fn is_running(pod: &Pod, container: &str) -> bool {
    let state = status(pod, container).and_then(|status| status.state.as_ref());
    state.is_some_and(|state| state.running.is_some())
}

/// Which run of the container to read, counted from 0.
fn run(pod: &Pod, container: &str, previous: bool) -> Result<i32, Failure> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = status(pod, container).cloned().unwrap_or_default();
    let restarts = status.restart_count;
    let last_state = status.last_state.unwrap_or_default();
    let is_known = status.state.is_some();
    let waiting = status.state.and_then(|state| state.waiting);
    let has_ended = restarts > 0 || last_state.terminated.is_some();
    // The count goes up when the next run starts: between two runs it is that of the last one.
    let last = if waiting.is_some() {
        restarts
    } else {
        restarts - 1
    };
    if previous {
        if !has_ended {
            return Err(Failure::bad_request(format!(
                "previous terminated container {container:?} in pod {name:?} not found"
            )));
        }
        return Ok(last);
    }
    if waiting.is_some() && has_ended {
        // What the last run said is what there is, as it is with a kubelet.
        return Ok(last);
    }
    if waiting.is_some() || !is_known {
        let reason = waiting.and_then(|waiting| waiting.reason);
        let reason = reason.as_deref().unwrap_or("ContainerCreating");
        return Err(Failure::bad_request(format!(
            "container {container:?} in pod {name:?} is waiting to start: {reason}"
        )));
    }
    Ok(restarts)
}

// === impl Log ===

impl Log {
    /// The next text, or `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.left == Some(0) {
            return None;
        }
        loop {
            // Looked at before the reading, so that what is written last is read too.
            let over = !self.follow || self.ended();
            let mut text = BytesMut::new();
            match self.read().await {
                Ok(0) => {
                    if over {
                        return None;
                    }
                }
                Ok(_) => self.lines(&mut text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    if over {
                        return None;
                    }
                }
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), error = %error, "cannot read a log");
                    return None;
                }
            }
            if let Some(left) = &mut self.left {
                text.truncate(*left);
                *left -= text.len();
            }
            if !text.is_empty() {
                return Some(text.freeze());
            }
            if self.left == Some(0) {
                return None;
            }
            if over {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.api.shutdown.cancelled() => return None,
            }
        }
    }

    /// Whether this run of the container writes no more.
    fn ended(&self) -> bool {
        let Some(pod) = self.api.store.get("pods", &self.pod) else {
            return true;
        };
        let Ok(pod) = pod.read::<Pod>() else {
            return true;
        };
        if pod.metadata.uid.as_deref() != Some(self.uid.as_str()) {
            return true;
        }
        let Some(status) = status(&pod, &self.container) else {
            return false;
        };
        let state = status.state.as_ref();
        status.restart_count != self.restarts
            || state.is_some_and(|state| state.terminated.is_some())
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = File::open(&self.path).await?;
                if let Some(lines) = self.tail {
                    seek_tail(&mut file, lines).await?;
                }
                none.insert(file)
            }
        };
        self.rest.reserve(CHUNK);
        file.read_buf(&mut self.rest).await
    }

    /// Takes the whole lines that have been read.
    fn lines(&mut self, text: &mut BytesMut) {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(end + 1);
            self.line(&line[..end], text);
        }
        if self.rest.len() > MAX_LINE {
            let line = self.rest.split();
            self.line(&line, text);
        }
    }

    fn line(&mut self, line: &[u8], text: &mut BytesMut) {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(_), Some(tag)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        if let Some(since) = self.since {
            let time = std::str::from_utf8(time)
                .ok()
                .and_then(|time| time.parse::<Timestamp>().ok());
            if time.is_none_or(|time| time < since) {
                return;
            }
        }
        if self.timestamps && !self.continues {
            text.put_slice(time);
            text.put_u8(b' ');
        }
        text.put_slice(parts.next().unwrap_or_default());
        self.continues = tag == b"P";
        if !self.continues {
            text.put_u8(b'\n');
        }
    }
}

/// Moves to where the last lines begin.
async fn seek_tail(file: &mut File, lines: u64) -> std::io::Result<()> {
    let mut position = file.seek(SeekFrom::End(0)).await?;
    if lines == 0 {
        return Ok(());
    }
    let mut found = 0;
    let mut chunk = vec![0; CHUNK];
    let mut last = true;
    while position > 0 {
        let size = position.min(CHUNK as u64);
        position -= size;
        let size = usize::try_from(size).unwrap_or(CHUNK);
        file.seek(SeekFrom::Start(position)).await?;
        file.read_exact(&mut chunk[..size]).await?;
        for index in (0..size).rev() {
            // The newline at the very end ends the last line and begins none.
            let ends = std::mem::take(&mut last);
            if chunk[index] != b'\n' || ends {
                continue;
            }
            found += 1;
            if found == lines {
                file.seek(SeekFrom::Start(position + index as u64 + 1))
                    .await?;
                return Ok(());
            }
        }
    }
    file.seek(SeekFrom::Start(0)).await?;
    Ok(())
}
