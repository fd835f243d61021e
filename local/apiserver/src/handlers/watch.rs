//! Watches: a stream of the changes of a resource.
//!
//! A watch holds a position in the history that all watches of a resource share, and no buffer of
//! its own beyond one batch: a client that reads slowly falls behind and, once what it has not seen
//! is forgotten, is told so (410) and ended. It disturbs nobody else.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Response;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::Api,
    handlers::read::{Filter, represent},
    request::Call,
    request::Form,
    resource::Resource,
    response::{self, Body},
    status::{Failure, FieldError},
    store::{Change, Event, Key, Object},
};

/// Events taken from the history at once.
const BATCH: usize = 256;

/// How long a watch lasts when the client does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The longest a client may ask for.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two bookmarks.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// Between two looks at whether the version is there that a streamed list has to reach.
const PROGRESS_PERIOD: Duration = Duration::from_millis(100);

/// The mark of the bookmark after the initial objects.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

struct Watch {
    api: Arc<Api>,
    resource: Arc<Resource>,
    filter: Filter,
    form: Form,
    bookmarks: bool,
    cursor: u64,
    /// Objects that were there at the start and are still to be sent.
    initial: VecDeque<(Key, Arc<Object>)>,
    /// The initial objects are to be followed by a bookmark that says so, once this version is there.
    announce: Option<u64>,
    changed: watch::Receiver<u64>,
    deadline: Instant,
    next_bookmark: Instant,
    /// A table names its columns once.
    header: bool,
    ended: bool,
}

pub(crate) fn watch(api: &Arc<Api>, call: &Call) -> Result<Response<Body>, Failure> {
    let resource = &call.target.resource;
    let filter = Filter::new(&call.target, &call.query)?;
    let timeout = call
        .query
        .number::<u64>("timeoutSeconds")?
        .filter(|seconds| *seconds > 0)
        .map_or(DEFAULT_TIMEOUT, Duration::from_secs)
        .min(MAX_TIMEOUT);
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let wanted = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
    let send_initial = call.query.get("sendInitialEvents");
    let send_initial = send_initial.map(|_| call.query.flag("sendInitialEvents"));
    let rule = call.query.get("resourceVersionMatch");
    if send_initial.is_some() != (rule == Some("NotOlderThan"))
        || rule.is_some_and(|rule| rule != "NotOlderThan")
    {
        let why = if send_initial.is_some() {
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        } else {
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        };
        let error = FieldError::forbidden("resourceVersionMatch", why);
        return Err(Failure::options("ListOptions", error));
    }
    // Subscribed before the first look, so that nothing falls between.
    let changed = api.store.subscribe(&resource.storage);
    let now = api.store.revision();
    let (cursor, initial) = if send_initial.unwrap_or(wanted == 0) {
        let listing = api
            .store
            .list(&resource.storage, filter.namespace.as_deref(), None)
            .map_err(|_| Failure::internal("a list of now cannot be too old"))?;
        (listing.revision, listing.items.into())
    } else {
        let cursor = if wanted == 0 { now } else { wanted };
        (cursor, VecDeque::new())
    };
    let now = Instant::now();
    let watch = Watch {
        api: Arc::clone(api),
        resource: Arc::clone(resource),
        filter,
        form: call.form,
        bookmarks,
        cursor,
        initial,
        announce: (send_initial == Some(true) && bookmarks).then_some(wanted),
        changed,
        deadline: now + timeout,
        next_bookmark: now + BOOKMARK_PERIOD,
        header: true,
        ended: false,
    };
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((bytes, watch))
    });
    Ok(response::stream("application/json", stream))
}

// === impl Watch ===

impl Watch {
    /// The next lines, or `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut lines = BytesMut::new();
        while !self.initial.is_empty() {
            for _ in 0..BATCH {
                let Some((key, object)) = self.initial.pop_front() else {
                    break;
                };
                if self.filter.matches(&key, &object) {
                    self.line(&mut lines, "ADDED", &object);
                }
            }
            if !lines.is_empty() {
                return Some(lines.freeze());
            }
        }
        loop {
            if self.has_listed() {
                self.announce = None;
                self.bookmark(&mut lines, true);
                return Some(lines.freeze());
            }
            self.changed.mark_unchanged();
            let taken = self
                .api
                .store
                .events(&self.resource.storage, self.cursor, BATCH);
            let Ok((events, known)) = taken else {
                self.ended = true;
                let failure = Failure::expired(format!(
                    "too old resource version: {} ({})",
                    self.cursor,
                    self.api.store.revision()
                ));
                put(
                    &mut lines,
                    "ERROR",
                    failure.to_value().to_string().as_bytes(),
                );
                return Some(lines.freeze());
            };
            let full = events.len() == BATCH;
            // A watch may begin at a version that is yet to come, and is told nothing before it.
            self.cursor = self.cursor.max(known);
            for event in &events {
                self.event(&mut lines, event);
            }
            if !lines.is_empty() {
                return Some(lines.freeze());
            }
            if full || self.has_listed() {
                continue;
            }
            tokio::select! {
                changed = self.changed.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep_until(self.deadline) => {
                    self.ended = true;
                    if !self.bookmarks || self.is_ahead() {
                        return None;
                    }
                    self.bookmark(&mut lines, false);
                    return Some(lines.freeze());
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    if self.is_ahead() {
                        self.next_bookmark += BOOKMARK_PERIOD;
                        continue;
                    }
                    self.bookmark(&mut lines, false);
                    return Some(lines.freeze());
                }
                // Other resources get there too, of which this watch hears nothing.
                () = tokio::time::sleep(PROGRESS_PERIOD), if self.announce.is_some() => {}
                () = self.resource.served.cancelled() => return None,
                () = self.api.shutdown.cancelled() => return None,
            }
        }
    }

    /// Whether the bookmark after the initial objects is due.
    fn has_listed(&self) -> bool {
        self.announce.is_some_and(|version| version <= self.cursor)
    }

    /// Whether it waits for a version to come. It has not seen what is up to there, which is what a
    /// bookmark would say.
    fn is_ahead(&self) -> bool {
        self.cursor > self.api.store.revision()
    }

    /// An event as the filter sees it: an object that comes to match is added, one that no longer
    /// does is deleted.
    fn event(&mut self, lines: &mut BytesMut, event: &Event) {
        let passes = |object: &Object| self.filter.matches(&event.key, object);
        let before = event.previous.as_deref().is_some_and(passes);
        match (event.change, before, passes(&event.object)) {
            (Change::Deleted, true, _) | (Change::Deleted, _, true) => {
                self.line(lines, "DELETED", &event.object);
            }
            (Change::Deleted, false, false) | (_, false, false) => {}
            (_, true, true) => self.line(lines, "MODIFIED", &event.object),
            (_, false, true) => self.line(lines, "ADDED", &event.object),
            (_, true, false) => {
                if let Some(previous) = &event.previous {
                    let last = Object::new(Value::clone(&previous.value()), event.revision);
                    self.line(lines, "DELETED", &last);
                }
            }
        }
    }

    fn line(&mut self, lines: &mut BytesMut, type_: &str, object: &Object) {
        let body = represent(&self.resource, object, self.form, self.header);
        self.header = false;
        put(lines, type_, &body);
    }

    fn bookmark(&mut self, lines: &mut BytesMut, initial_end: bool) {
        self.next_bookmark = Instant::now() + BOOKMARK_PERIOD;
        let mut metadata =
            json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": metadata,
        });
        let value: Value = match self.form {
            Form::Object => object,
            Form::Partial => crate::table::partial(&object),
            Form::Table(include) => crate::table::table(
                &self.resource.columns,
                std::iter::once(&object),
                &json!({"resourceVersion": self.cursor.to_string()}),
                include,
                std::mem::take(&mut self.header),
            ),
        };
        put(lines, "BOOKMARK", value.to_string().as_bytes());
    }
}

fn put(lines: &mut BytesMut, type_: &str, object: &[u8]) {
    lines.put_slice(b"{\"type\":\"");
    lines.put_slice(type_.as_bytes());
    lines.put_slice(b"\",\"object\":");
    lines.put_slice(object);
    lines.put_slice(b"}\n");
}
