//! A cluster with an operator, and what tests do to it.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use fermata_apiserver::ApiServer;
use fermata_crds::{Function, Revision, Runtime, conditions};
use fermata_operator::{Operator, Options};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::Pod},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    client::Body,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster that an operator works on.
pub(crate) struct World {
    server: ApiServer,
    pub(crate) client: Client,
    operators: Vec<Running>,
    sent: Arc<Mutex<Vec<String>>>,
    read: Arc<Mutex<Vec<String>>>,
    refusal: Arc<Mutex<Option<Refusal>>>,
}

/// What changes the cluster refuses to the operators, and how.
#[derive(Clone)]
struct Refusal {
    path: &'static str,
    code: u16,
    reason: &'static str,
    message: &'static str,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), fermata_operator::Error>>,
}

// === impl World ===

impl World {
    /// A cluster with Fermata's kinds and one operator.
    pub(crate) async fn start() -> Self {
        let mut world = Self::without_operator().await;
        world.start_operator(Options::default());
        world
    }

    /// A cluster with Fermata's kinds.
    pub(crate) async fn without_operator() -> Self {
        Self::with_kinds(fermata_crds::crd::all()).await
    }

    /// A cluster with these kinds.
    pub(crate) async fn with_kinds(
        crds: Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>,
    ) -> Self {
        let options = fermata_apiserver::Options {
            listen: ([127, 0, 0, 1], 0).into(),
            crds,
            ..Default::default()
        };
        let server = ApiServer::start(options).await.expect("an API server");
        Self {
            client: server.client("default"),
            server,
            operators: Vec::new(),
            sent: Arc::default(),
            read: Arc::default(),
            refusal: Arc::default(),
        }
    }

    pub(crate) fn start_operator(&mut self, options: Options) {
        let stop = CancellationToken::new();
        let operator = Operator::new(self.counting_client(), options);
        let task = tokio::spawn(operator.run(stop.clone()));
        self.operators.push(Running { stop, task });
    }

    /// Stops the operator that was started first, and waits for its end.
    pub(crate) async fn stop_operator(&mut self) {
        let running = self.operators.remove(0);
        running.stop.cancel();
        running.task.await.expect("no panic").expect("a clean end");
    }

    /// A client whose requests are taken down.
    fn counting_client(&self) -> Client {
        let (inner, sent) = (self.client.clone(), self.sent.clone());
        let read = self.read.clone();
        let refusal = self.refusal.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let inner = inner.clone();
            let mut refused = None;
            if matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
                read.lock().unwrap().push(request.uri().path().to_owned());
            } else {
                let line = format!("{} {}", request.method(), request.uri().path());
                let refusal = refusal.lock().unwrap().clone();
                refused = refusal.filter(|refusal| line.contains(refusal.path));
                sent.lock().unwrap().push(line);
            }
            async move {
                match refused {
                    Some(refusal) => Ok(refusal.response()),
                    None => inner.send(request).await,
                }
            }
        });
        Client::new(service, "default")
    }

    /// What the operators sent to change something, events and leases left out.
    pub(crate) fn writes(&self) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        let counted = sent
            .iter()
            .filter(|line| !line.contains("/events") && !line.contains("/leases"));
        counted.cloned().collect()
    }

    /// How often the operators read what is under this path.
    pub(crate) fn reads(&self, path: &str) -> usize {
        let read = self.read.lock().unwrap();
        read.iter().filter(|read| read.as_str() == path).count()
    }

    /// From now on changes under this path are refused to the operators.
    pub(crate) fn refuse(
        &self,
        path: &'static str,
        code: u16,
        reason: &'static str,
        message: &'static str,
    ) {
        *self.refusal.lock().unwrap() = Some(Refusal {
            path,
            code,
            reason,
            message,
        });
    }

    /// Nothing is refused any more.
    pub(crate) fn allow(&self) {
        *self.refusal.lock().unwrap() = None;
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::default_namespaced(self.client.clone())
    }

    /// Applies a Function as a user would.
    pub(crate) async fn apply(&self, name: &str, spec: &str) -> Function {
        let spec: Value = serde_saphyr::from_str(spec).expect("a spec");
        let function = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": name}, "spec": spec,
        });
        let parameters = PatchParams::apply("user").force();
        self.api::<Function>()
            .patch(name, &parameters, &Patch::Apply(function))
            .await
            .expect("an applied function")
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let object: K = serde_json::from_value(object).expect("an object");
        let api = self.api::<K>();
        let created = api.create(&PostParams::default(), &object).await;
        created.expect("a created object")
    }

    pub(crate) async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let parameters = DeleteParams::default().grace_period(0);
        let api = self.api::<K>();
        api.delete(name, &parameters)
            .await
            .expect("a deleted object");
    }

    pub(crate) async fn create_runtime(&self) {
        let runtime: Runtime = serde_json::from_value(json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Runtime",
            "metadata": {"name": "python"},
            "spec": {"image": "example.com/python:1", "command": ["fermata-invoker", "python"],
                "handler": "main.handle"},
        }))
        .expect("a runtime");
        Api::all(self.client.clone())
            .create(&PostParams::default(), &runtime)
            .await
            .expect("a created runtime");
    }

    /// Waits until the object is there and as it should be.
    pub(crate) async fn until<K>(&self, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = self.api::<K>();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = api.get_opt(name).await.expect("an answer");
            if let Some(object) = found.as_ref().filter(|object| holds(object)) {
                return object.clone();
            }
            assert!(
                Instant::now() < deadline,
                "{name} is not {what}: {found:#?}\nwrites: {:#?}",
                self.writes()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the object is gone.
    pub(crate) async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = self.api::<K>();
        let deadline = Instant::now() + PATIENCE;
        while api.get_opt(name).await.expect("an answer").is_some() {
            assert!(Instant::now() < deadline, "{name} is still there");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a condition of a Function is as given, with its reason.
    pub(crate) async fn condition(&self, name: &str, kind: &str, wanted: (&str, &str)) -> String {
        let what = format!("{kind}={wanted:?}");
        let function = self
            .until::<Function>(name, &what, |function| {
                let (status, generation) = (function.status.as_ref(), function.metadata.generation);
                status.is_some_and(|status| {
                    status.observed_generation == generation
                        && conditions::find(&status.conditions, kind).is_some_and(|condition| {
                            (&*condition.status, &*condition.reason) == wanted
                        })
                })
            })
            .await;
        let status = function.status.unwrap();
        conditions::find(&status.conditions, kind)
            .unwrap()
            .message
            .clone()
    }

    /// Waits until a Function is ready.
    pub(crate) async fn ready(&self, name: &str) {
        self.condition(name, conditions::READY, ("True", "Ready"))
            .await;
    }

    /// Waits until all requests go to the Revision.
    pub(crate) async fn serves(&self, function: &str, revision: &str) -> Function {
        self.until(
            function,
            &format!("served by {revision}"),
            |function: &Function| {
                let status = function.status.as_ref();
                let target = status.and_then(|status| status.traffic.first());
                target.is_some_and(|target| target.revision == revision && target.percent == 100)
            },
        )
        .await
    }

    /// Plays the Deployment controller: waits for the Deployment and says what became of it.
    pub(crate) async fn replicas(&self, revision: &str, existing: i32, ready: i32) {
        self.deployment_status(
            revision,
            json!({"replicas": existing, "readyReplicas": ready, "conditions": []}),
        )
        .await;
    }

    pub(crate) async fn deployment_status(&self, revision: &str, status: Value) {
        self.until::<Deployment>(revision, "there", |_| true).await;
        let patch = Patch::Merge(json!({"status": status}));
        let parameters = PatchParams::default();
        let api = self.api::<Deployment>();
        let patched = api.patch_status(revision, &parameters, &patch).await;
        patched.expect("a patched status");
    }

    /// Plays the gateway: sets the scale.
    pub(crate) async fn scale(&self, revision: &str, replicas: i32) {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let parameters = PatchParams {
            field_manager: Some("fermata-gateway".into()),
            ..PatchParams::default()
        };
        let api = self.api::<Deployment>();
        let patched = api.patch_scale(revision, &parameters, &patch).await;
        patched.expect("a patched scale");
    }

    /// Plays the node: a pod of the Revision in this state.
    pub(crate) async fn pod(&self, revision: &str, status: Value) {
        let name = format!("{revision}-pod");
        if self
            .api::<Pod>()
            .get_opt(&name)
            .await
            .expect("an answer")
            .is_none()
        {
            let (function, _) = revision.rsplit_once('-').unwrap();
            self.create::<Pod>(json!({
                "metadata": {
                    "name": name,
                    "labels": {
                        "fermata.dev/function": function, "fermata.dev/revision": revision,
                        "pod-template-hash": "h",
                    },
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{revision}-h"),
                        "uid": "replica-set", "controller": true,
                    }],
                },
                "spec": {"nodeName": "here",
                    "containers": [{"name": "function", "image": "example.com/a:1"}]},
            }))
            .await;
        }
        let patch = Patch::Merge(json!({"status": status}));
        let api = self.api::<Pod>();
        let patched = api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await;
        patched.expect("a patched pod");
    }

    /// Waits until the operator has worked off everything that was there when this was called: it
    /// handles things in the order they come, so that a Function which is made now is last.
    pub(crate) async fn settled(&self) {
        let name = format!("sentinel-{}", self.sent.lock().unwrap().len());
        self.apply(&name, "{ image: example.com/a:1, scale: { initial: 0 } }")
            .await;
        self.ready(&name).await;
        self.delete::<Function>(&name).await;
    }

    pub(crate) async fn end(mut self) {
        while !self.operators.is_empty() {
            self.stop_operator().await;
        }
        self.server.shutdown().await;
    }
}

// === impl Refusal ===

impl Refusal {
    fn response(&self) -> http::Response<Body> {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": self.code, "reason": self.reason, "message": self.message});
        let response = http::Response::builder()
            .status(self.code)
            .header("content-type", "application/json");
        response
            .body(Body::from(status.to_string().into_bytes()))
            .unwrap()
    }
}

/// The state of a container that waits.
pub(crate) fn waiting(reason: &str, message: &str) -> Value {
    container(
        json!({"waiting": {"reason": reason, "message": message}}),
        json!({}),
        0,
    )
}

/// The status of a pod with one container.
pub(crate) fn container(state: Value, last_state: Value, restarts: i32) -> Value {
    json!({"phase": "Pending", "containerStatuses": [{
        "name": "function", "image": "example.com/a:1", "imageID": "", "ready": false,
        "restartCount": restarts, "state": state, "lastState": last_state,
    }]})
}

/// Names of the Revisions of a Function.
pub(crate) async fn revisions(world: &World, function: &str) -> Vec<String> {
    let all = world
        .api::<Revision>()
        .list(&Default::default())
        .await
        .expect("a list");
    let mut names: Vec<String> = all
        .into_iter()
        .filter(|revision| revision.spec.function_name == function)
        .filter_map(|revision| revision.metadata.name)
        .collect();
    names.sort();
    names
}
