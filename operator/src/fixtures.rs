//! Objects for tests, written as a user or the cluster would.

use std::{collections::HashMap, sync::Arc};

use fermata_crds::{Function, Revision, Runtime, routes::ClaimPolicy};
use fermata_daemon::{events, lease::Claim};
use kube::{Client, client::Body, runtime::events::Reporter};
use serde::de::DeserializeOwned;

use crate::{
    builds::Builds,
    cluster::Cluster,
    context::Context,
    drift::Accepted,
    function::dereference::{FoundSource, Inputs},
    looks::Looks,
    metrics::Metrics,
    options::Options,
    sources::Sources,
    unreadable::UnreadableObjects,
    writes::Writes,
};

/// Reads an object; a bad fixture is a bad test.
pub(crate) fn object<K: DeserializeOwned>(yaml: &str) -> K {
    serde_saphyr::from_str(yaml).expect("a fixture that parses")
}

/// A Function `hello` in `default` with this spec, as the API server would return it.
pub(crate) fn function(spec: &str) -> Function {
    let spec: serde_json::Value = object(spec);
    serde_json::from_value(serde_json::json!({
        "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
        "metadata": {"name": "hello", "namespace": "default", "uid": "function-uid",
            "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    }))
    .expect("a Function")
}

/// A Revision of [`function`], under its first name.
pub(crate) fn revision(spec: &str) -> Revision {
    let spec: serde_json::Value = object(spec);
    serde_json::from_value(serde_json::json!({
        "apiVersion": "fermata.dev/v1alpha1", "kind": "Revision",
        "metadata": {"name": "hello-00001", "namespace": "default", "uid": "revision-uid",
            "generation": 1, "ownerReferences": [{"apiVersion": "fermata.dev/v1alpha1",
                "kind": "Function", "name": "hello", "uid": "function-uid", "controller": true}]},
        "spec": spec,
    }))
    .expect("a Revision")
}

/// The Runtime python.
pub(crate) fn python() -> Runtime {
    object(
        "apiVersion: fermata.dev/v1alpha1
kind: Runtime
metadata: { name: python }
spec:
  image: example.com/python:1
  command: [fermata-invoker, python]
  handler: main.handle
  env: [{ name: PYTHONUNBUFFERED, value: '1' }, { name: LEVEL, value: low }]
",
    )
}

/// A Function that nothing is there for yet.
pub(crate) fn inputs(function: Function) -> Inputs {
    let source = if function.spec.template.source.is_some() {
        FoundSource::Inline
    } else {
        FoundSource::None
    };
    Inputs {
        function: Arc::new(function),
        runtime: Some(Arc::new(python())),
        source,
        revisions: Vec::new(),
        deployments: HashMap::new(),
        service: None,
        lost: Vec::new(),
        look: None,
        left: None,
    }
}

/// What reconciles work with, where nothing is known and every call of the API is not found.
pub(crate) fn context() -> Context {
    let service = tower::service_fn(|_: http::Request<Body>| async {
        let response = http::Response::builder().status(404).body(Body::empty());
        Ok::<_, std::convert::Infallible>(response.expect("a response"))
    });
    let client = Client::new(service, "default");
    let (claim, metrics) = (Claim::always(), Arc::new(Metrics::new().expect("metrics")));
    let (events, _) = events::channel(
        client.clone(),
        Reporter::from("test"),
        claim.clone(),
        metrics.events(),
    );
    Context {
        client: client.clone(),
        options: Options::default(),
        cluster: Arc::new(Cluster::new(ClaimPolicy::default())),
        writes: Writes::new(client, claim, metrics.clone()),
        events,
        metrics,
        sources: Sources::default(),
        looks: Looks::default(),
        builds: Builds::default(),
        accepted: Accepted::default(),
        unreadable: UnreadableObjects::default(),
    }
}
