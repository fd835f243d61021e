//! A Kubernetes API in memory: list, watch, get, create, replace, merge patch and apply, status and
//! scale subresources, for whatever kinds are asked for. Optimistic locking as in the real one.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::sync::watch;

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;
type Id = (String, String, String);

/// The API server. Clones share one state.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    store: Mutex<Store>,
    version: watch::Sender<u64>,
    down: AtomicBool,
}

#[derive(Default)]
struct Store {
    version: u64,
    objects: BTreeMap<Id, Value>,
    log: Vec<(u64, &'static str, String, Value)>,
    scales: Vec<(String, u64)>,
}

/// What a path names.
#[derive(Debug)]
struct Target {
    plural: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl Default for Api {
    fn default() -> Self {
        Self(Arc::new(Shared {
            store: Mutex::default(),
            version: watch::Sender::new(0),
            down: AtomicBool::new(false),
        }))
    }
}

impl Api {
    /// A client of this server.
    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Makes the server unreachable, or reachable again. Open watches end.
    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
        self.0.version.send_modify(|_| {});
    }

    /// Creates or replaces an object, as its controller would.
    pub(crate) fn put(&self, plural: &str, mut object: Value) {
        let id = id(plural, &object);
        let mut store = self.0.store.lock().unwrap();
        let known = store.objects.contains_key(&id);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", store.version));
        }
        store.write(id, object, if known { "MODIFIED" } else { "ADDED" });
        self.announce(&store);
    }

    /// Changes an object, if it exists.
    pub(crate) fn change(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut store = self.0.store.lock().unwrap();
        let id = (plural.to_owned(), "default".to_owned(), name.to_owned());
        if let Some(mut object) = store.objects.get(&id).cloned() {
            change(&mut object);
            store.write(id, object, "MODIFIED");
        }
        self.announce(&store);
    }

    /// Removes an object, if it exists.
    pub(crate) fn remove(&self, plural: &str, name: &str) {
        let mut store = self.0.store.lock().unwrap();
        let id = (plural.to_owned(), "default".to_owned(), name.to_owned());
        if let Some(object) = store.objects.remove(&id) {
            store.record(&id, object, "DELETED");
        }
        self.announce(&store);
    }

    /// An object, if it exists.
    pub(crate) fn get(&self, plural: &str, name: &str) -> Option<Value> {
        self.get_in("default", plural, name)
    }

    /// An object in another namespace.
    pub(crate) fn get_in(&self, namespace: &str, plural: &str, name: &str) -> Option<Value> {
        let store = self.0.store.lock().unwrap();
        let id = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        store.objects.get(&id).cloned()
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, plural: &str) -> Vec<Value> {
        let store = self.0.store.lock().unwrap();
        let of_kind = store.objects.iter().filter(|(id, _)| id.0 == plural);
        of_kind.map(|(_, object)| object.clone()).collect()
    }

    /// Scales that were written, in order.
    pub(crate) fn scales(&self) -> Vec<(String, u64)> {
        self.0.store.lock().unwrap().scales.clone()
    }

    /// Says when anything has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    fn announce(&self, store: &Store) {
        self.0.version.send_replace(store.version);
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        if self.0.down.load(Ordering::SeqCst) {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "the server is down");
        }
        let (parts, body) = request.into_parts();
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| {
                (
                    key.to_owned(),
                    value.replace("%2F", "/").replace("%3D", "="),
                )
            })
            .collect();
        let target = target(parts.uri.path());
        if query.contains_key("watch") {
            return self.watch(&target, &query);
        }
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let mut store = self.0.store.lock().unwrap();
        let answer = match parts.method {
            Method::GET if target.name.is_empty() => Ok(store.list(&target, &query)),
            Method::GET => store.get(&target),
            Method::POST => store.create(&target, body),
            Method::PUT => store.replace(&target, body),
            Method::PATCH => store.patch(&target, &body),
            _ => Err((StatusCode::METHOD_NOT_ALLOWED, "not here".to_owned())),
        };
        self.announce(&store);
        match answer {
            Ok(object) => whole(StatusCode::OK, &object),
            Err((status, message)) => failure(status, &message),
        }
    }

    fn watch(&self, target: &Target, query: &BTreeMap<String, String>) -> Response<Body> {
        let since: u64 = query
            .get("resourceVersion")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let (shared, changes) = (self.0.clone(), self.0.version.subscribe());
        let (plural, namespace) = (target.plural.clone(), target.namespace.clone());
        let selector = query.get("labelSelector").cloned().unwrap_or_default();
        let events = stream::unfold((since, changes), move |(seen, mut changes)| {
            let (shared, plural) = (shared.clone(), plural.clone());
            let (namespace, selector) = (namespace.clone(), selector.clone());
            async move {
                loop {
                    if shared.down.load(Ordering::SeqCst) {
                        return None;
                    }
                    changes.borrow_and_update();
                    let next = shared
                        .store
                        .lock()
                        .unwrap()
                        .next_event(seen, &plural, &namespace, &selector);
                    if let Some((version, kind, object)) = next {
                        let mut line = json!({ "type": kind, "object": object }).to_string();
                        line.push('\n');
                        return Some((Ok(Frame::data(Bytes::from(line))), (version, changes)));
                    }
                    changes.changed().await.ok()?;
                }
            }
        });
        Response::new(StreamBody::new(events.boxed()))
    }
}

impl Store {
    fn write(&mut self, id: Id, mut object: Value, kind: &'static str) -> Value {
        object["metadata"]["resourceVersion"] = json!((self.version + 1).to_string());
        self.objects.insert(id.clone(), object.clone());
        self.record(&id, object.clone(), kind);
        object
    }

    fn record(&mut self, id: &Id, object: Value, kind: &'static str) {
        self.version += 1;
        self.log.push((self.version, kind, id.0.clone(), object));
    }

    fn next_event(
        &self,
        since: u64,
        plural: &str,
        namespace: &str,
        selector: &str,
    ) -> Option<(u64, &'static str, Value)> {
        self.log
            .iter()
            .find(|(version, _, kind, object)| {
                *version > since && kind == plural && selected(object, namespace, selector)
            })
            .map(|(version, kind, _, object)| (*version, *kind, object.clone()))
    }

    fn list(&self, target: &Target, query: &BTreeMap<String, String>) -> Value {
        let selector = query.get("labelSelector").map_or("", String::as_str);
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(id, object)| {
                id.0 == target.plural && selected(object, &target.namespace, selector)
            })
            .map(|(_, object)| object)
            .collect();
        json!({
            "apiVersion": "v1", "kind": "List", "items": items,
            "metadata": { "resourceVersion": self.version.to_string() },
        })
    }

    fn existing(&self, target: &Target) -> Result<Value, (StatusCode, String)> {
        let missing = || {
            (
                StatusCode::NOT_FOUND,
                format!("{} {} not found", target.plural, target.name),
            )
        };
        self.objects.get(&target.id()).cloned().ok_or_else(missing)
    }

    fn get(&self, target: &Target) -> Result<Value, (StatusCode, String)> {
        let object = self.existing(target)?;
        Ok(if target.subresource == "scale" {
            scale_of(&object)
        } else {
            object
        })
    }

    fn create(&mut self, target: &Target, object: Value) -> Result<Value, (StatusCode, String)> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let id = (target.plural.clone(), target.namespace.clone(), name);
        if self.objects.contains_key(&id) {
            return Err((StatusCode::CONFLICT, "exists".to_owned()));
        }
        Ok(self.write(id, object, "ADDED"))
    }

    fn replace(&mut self, target: &Target, object: Value) -> Result<Value, (StatusCode, String)> {
        let known = self.existing(target)?;
        locked(&known, &object)?;
        Ok(self.write(target.id(), object, "MODIFIED"))
    }

    fn patch(&mut self, target: &Target, patch: &Value) -> Result<Value, (StatusCode, String)> {
        let mut object = self.existing(target)?;
        locked(&object, patch)?;
        if target.subresource == "scale" {
            let replicas = patch["spec"]["replicas"].clone();
            self.scales
                .push((target.name.clone(), replicas.as_u64().unwrap()));
            object["spec"]["replicas"] = replicas;
            let object = self.write(target.id(), object, "MODIFIED");
            return Ok(scale_of(&object));
        }
        merge(&mut object, patch);
        Ok(self.write(target.id(), object, "MODIFIED"))
    }
}

impl Target {
    fn id(&self) -> Id {
        (
            self.plural.clone(),
            self.namespace.clone(),
            self.name.clone(),
        )
    }
}

/// `/api/v1/...` or `/apis/GROUP/VERSION/...`, then `[namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]`.
fn target(path: &str) -> Target {
    let mut parts = path.trim_matches('/').split('/').peekable();
    let core = parts.next() == Some("api");
    parts.nth(usize::from(!core));
    let mut namespace = String::new();
    if parts.peek() == Some(&"namespaces") {
        parts.next();
        namespace = parts.next().unwrap_or_default().to_owned();
    }
    let mut next = || parts.next().unwrap_or_default().to_owned();
    Target {
        plural: next(),
        namespace,
        name: next(),
        subresource: next(),
    }
}

fn id(plural: &str, object: &Value) -> Id {
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    (plural.to_owned(), text("namespace"), text("name"))
}

fn selected(object: &Value, namespace: &str, selector: &str) -> bool {
    let meta = &object["metadata"];
    let here = namespace.is_empty() || meta["namespace"] == namespace;
    here && selector
        .split(',')
        .filter(|term| !term.is_empty())
        .all(|term| match term.split_once('=') {
            Some((key, value)) => meta["labels"][key] == value,
            None => !meta["labels"][term].is_null(),
        })
}

fn locked(known: &Value, change: &Value) -> Result<(), (StatusCode, String)> {
    let wanted = &change["metadata"]["resourceVersion"];
    if wanted.is_null() || *wanted == known["metadata"]["resourceVersion"] {
        Ok(())
    } else {
        Err((
            StatusCode::CONFLICT,
            "the object has been modified".to_owned(),
        ))
    }
}

fn scale_of(deployment: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": deployment["metadata"]["name"],
            "resourceVersion": deployment["metadata"]["resourceVersion"],
        },
        "spec": { "replicas": deployment["spec"]["replicas"] },
    })
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], change);
        }
    }
}

fn whole(status: StatusCode, object: &Value) -> Response<Body> {
    let frame = Ok(Frame::data(Bytes::from(object.to_string())));
    let mut response = Response::new(StreamBody::new(stream::iter([frame]).boxed()));
    *response.status_mut() = status;
    response
}

fn failure(status: StatusCode, message: &str) -> Response<Body> {
    let reason = match status {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "ServiceUnavailable",
    };
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": status.as_u16(), "reason": reason, "message": message,
    });
    whole(status, &body)
}
