//! What controllers and nodes do: replicas become pods, and pods become servers of this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Api, functions::Body};

type Handler =
    Arc<dyn Fn(Request<Incoming>, String) -> BoxFuture<'static, Response<Body>> + Send + Sync>;
type RawHandler = Arc<dyn Fn(TcpStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the pods of a function do.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Serve HTTP, either version.
    Http(Handler),
    /// Get connections as they are.
    Raw(RawHandler),
    /// Never listen.
    Deaf,
    /// Never start: the status of the pods.
    Stuck(Value),
}

impl Behaviour {
    pub(crate) fn http(
        handler: impl Fn(Request<Incoming>, String) -> BoxFuture<'static, Response<Body>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self::Http(Arc::new(handler))
    }

    pub(crate) fn raw(
        handler: impl Fn(TcpStream) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self::Raw(Arc::new(handler))
    }
}

/// A function of a test.
#[derive(Clone)]
pub(crate) struct FunctionSpec {
    pub(crate) name: &'static str,
    pub(crate) template: Value,
    pub(crate) scale: Value,
    pub(crate) expose: Value,
    pub(crate) replicas: u32,
    pub(crate) start_delay: Duration,
    pub(crate) behaviour: Behaviour,
}

impl FunctionSpec {
    /// A function that rests at zero.
    pub(crate) fn cold(name: &'static str, behaviour: Behaviour) -> Self {
        Self {
            name,
            template: json!({}),
            scale: json!({}),
            expose: json!({}),
            replicas: 0,
            start_delay: Duration::from_millis(20),
            behaviour,
        }
    }

    /// A function with one replica.
    pub(crate) fn warm(name: &'static str, behaviour: Behaviour) -> Self {
        Self {
            replicas: 1,
            start_delay: Duration::ZERO,
            ..Self::cold(name, behaviour)
        }
    }

    pub(crate) fn template(mut self, template: Value) -> Self {
        self.template = template;
        self
    }

    pub(crate) fn scale(mut self, scale: Value) -> Self {
        self.scale = scale;
        self
    }

    pub(crate) fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }
}

/// A cluster in memory.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) api: Api,
    behaviours: Arc<Mutex<HashMap<String, (Behaviour, Duration)>>>,
    running: Arc<Mutex<HashMap<String, CancellationToken>>>,
    counter: Arc<Mutex<u64>>,
}

impl Cluster {
    /// A cluster whose controllers run until the token is cancelled.
    pub(crate) fn start(stop: CancellationToken) -> Self {
        let cluster = Self::default();
        let controller = cluster.clone();
        tokio::spawn(async move {
            let mut changes = controller.api.changes();
            loop {
                controller.reconcile();
                tokio::select! {
                    changed = changes.changed() => changed.unwrap(),
                    () = stop.cancelled() => return,
                }
            }
        });
        cluster
    }

    /// What operator and user do: a Function whose first Revision serves.
    pub(crate) fn add(&self, spec: &FunctionSpec) {
        let revision = format!("{}-00001", spec.name);
        self.add_revision(spec, &revision, true);
        self.put_function(spec, &revision, Some(&revision));
    }

    pub(crate) fn put_function(&self, spec: &FunctionSpec, latest: &str, serving: Option<&str>) {
        let mut template = json!({ "image": "test", "scale": spec.scale, "expose": spec.expose });
        merge(&mut template, &spec.template);
        let traffic: Vec<Value> = serving
            .map(|revision| json!({ "revision": revision, "percent": 100 }))
            .into_iter()
            .collect();
        self.api.put(
            "functions",
            json!({
                "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
                "metadata": {
                    "name": spec.name, "namespace": "default", "uid": spec.name, "generation": 1,
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                },
                "spec": template,
                "status": { "latestCreatedRevision": latest, "traffic": traffic },
            }),
        );
    }

    pub(crate) fn add_revision(&self, spec: &FunctionSpec, name: &str, been_ready: bool) {
        let behaviour = (spec.behaviour.clone(), spec.start_delay);
        self.behaviours
            .lock()
            .unwrap()
            .insert(name.to_owned(), behaviour);
        let mut template = json!({ "image": "test" });
        merge(&mut template, &spec.template);
        let labels = json!({ "fermata.dev/function": spec.name, "fermata.dev/revision": name });
        self.api.put(
            "revisions",
            json!({
                "apiVersion": "fermata.dev/v1alpha1", "kind": "Revision",
                "metadata": { "name": name, "namespace": "default", "labels": labels },
                "spec": { "functionName": spec.name, "template": template, "scale": spec.scale },
                "status": { "hasBeenReady": been_ready },
            }),
        );
        self.api.put(
            "deployments",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": name, "namespace": "default", "labels": labels },
                "spec": { "replicas": spec.replicas, "selector": {}, "template": {} },
            }),
        );
    }

    /// Lets new pods of a Revision behave in another way.
    pub(crate) fn set_behaviour(&self, revision: &str, behaviour: Behaviour) {
        let mut behaviours = self.behaviours.lock().unwrap();
        behaviours.get_mut(revision).unwrap().0 = behaviour;
    }

    /// Names of the pods of a Revision.
    pub(crate) fn pods(&self, revision: &str) -> Vec<String> {
        let mut pods: Vec<(String, i64)> = self
            .api
            .all("pods")
            .iter()
            .filter(|pod| pod["metadata"]["labels"]["fermata.dev/revision"] == revision)
            .map(|pod| {
                let cost =
                    &pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
                let cost = cost
                    .as_str()
                    .and_then(|cost| cost.parse().ok())
                    .unwrap_or(0);
                (pod["metadata"]["name"].as_str().unwrap().to_owned(), cost)
            })
            .collect();
        pods.sort_by_key(|(_, cost)| *cost);
        pods.into_iter().map(|(name, _)| name).collect()
    }

    /// Ends a pod at once, without grace.
    pub(crate) fn kill(&self, pod: &str) {
        if let Some(stop) = self.running.lock().unwrap().remove(pod) {
            stop.cancel();
        }
        self.api.remove("pods", pod);
    }

    fn reconcile(&self) {
        for deployment in self.api.all("deployments") {
            let name = deployment["metadata"]["name"].as_str().unwrap();
            let replicas =
                usize::try_from(deployment["spec"]["replicas"].as_u64().unwrap()).unwrap();
            let pods = self.pods(name);
            for pod in pods.iter().take(pods.len().saturating_sub(replicas)) {
                self.kill(pod);
            }
            for _ in pods.len()..replicas {
                self.create_pod(name, &deployment["metadata"]["labels"]);
            }
        }
    }

    fn create_pod(&self, revision: &str, labels: &Value) {
        let (behaviour, delay) = self.behaviours.lock().unwrap()[revision].clone();
        let number = {
            let mut counter = self.counter.lock().unwrap();
            *counter += 1;
            *counter
        };
        let name = format!("{revision}-pod{number}");
        // The port is taken now, so that nobody else gets it, and listened on later.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut labels = labels.clone();
        labels["pod-template-hash"] = json!("hash");
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{revision}-hash"),
            "uid": "replica-set", "controller": true,
        });
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "default", "labels": labels, "ownerReferences": [owner],
            },
            "spec": { "containers": [{
                "name": "function",
                "ports": [{ "name": "http", "containerPort": port }],
                "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
            }]},
            "status": { "phase": "Pending" },
        });
        if let Behaviour::Stuck(status) = &behaviour {
            pod["status"] = status.clone();
            self.api.put("pods", pod);
            return;
        }
        pod["status"] = json!({ "phase": "Running", "podIP": "127.0.0.1" });
        let stop = CancellationToken::new();
        self.running
            .lock()
            .unwrap()
            .insert(name.clone(), stop.clone());
        self.api.put("pods", pod);
        let api = self.api.clone();
        tokio::spawn(async move {
            let served = async {
                tokio::time::sleep(delay).await;
                serve(behaviour, &api, &name, socket).await;
            };
            stop.run_until_cancelled(served).await;
        });
    }
}

async fn serve(behaviour: Behaviour, api: &Api, pod: &str, socket: TcpSocket) {
    if matches!(behaviour, Behaviour::Deaf) {
        return std::future::pending().await;
    }
    let listener = socket.listen(1024).unwrap();
    api.change("pods", pod, |pod| {
        pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
    });
    // Connections end with the pod.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        match behaviour.clone() {
            Behaviour::Http(handler) => {
                let pod = pod.to_owned();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let response = handler(request, pod.clone());
                        async move { Ok::<_, std::convert::Infallible>(response.await) }
                    });
                    let mut server =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    server.http1().max_headers(2000);
                    let _ = server
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await;
                });
            }
            Behaviour::Raw(handler) => {
                connections.spawn(handler(stream));
            }
            Behaviour::Deaf | Behaviour::Stuck(_) => {}
        }
    }
}

fn merge(object: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
}
