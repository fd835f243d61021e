use fermata_daemon::watch::Place;
use serde_json::{Value, json};

use super::*;

struct Fixture {
    registry: Arc<Registry>,
    index: ClusterIndex,
}

fn fixture() -> Fixture {
    let registry = Arc::new(Registry::new(Router::new("localhost", "cluster.local")));
    let policy = ClaimPolicy::new("localhost", "cluster.local", &[], &[]);
    let index = ClusterIndex::new(registry.clone(), policy);
    Fixture { registry, index }
}

fn function(name: &str, age: i64, latest: Option<&str>, serving: Option<&str>) -> crds::Function {
    let traffic: Vec<Value> = serving
        .map(|revision| json!({ "revision": revision, "percent": 100 }))
        .into_iter()
        .collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("{name}-{age}"),
            "creationTimestamp": jiff::Timestamp::from_second(age).unwrap().to_string(),
        },
        "spec": { "image": "x", "expose": { "hosts": ["shared.example"] } },
        "status": { "latestCreatedRevision": latest, "traffic": traffic },
    }))
    .unwrap()
}

fn revision(name: &str, function: &str) -> crds::Revision {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "uid": name },
        "spec": { "functionName": function, "template": {
            "image": "x", "readinessProbe": { "exec": { "command": ["true"] } },
        }},
    }))
    .unwrap()
}

fn deployment(name: &str, replicas: u32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "default", "resourceVersion": "5" },
        "spec": { "replicas": replicas, "selector": {}, "template": {} },
    }))
    .unwrap()
}

fn pod(name: &str, revision: &str, more: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": name,
            "labels": { "fermata.dev/revision": revision, "pod-template-hash": "abc" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{revision}-abc"),
                "uid": "u", "controller": true,
            }],
        },
        "spec": { "containers": [
            { "name": "function", "ports": [{ "name": "http", "containerPort": 8080 }] },
        ]},
        "status": { "podIP": "127.0.0.1", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    for (field, value) in more.as_object().unwrap() {
        pod["metadata"][field] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

impl Fixture {
    /// Does what the watch does after a batch: probes succeed at once here.
    fn settle(&mut self) {
        for Unprobed { revision, endpoint } in self.index.take_unprobed() {
            Revision::set_usable(&revision, &endpoint);
        }
        self.index.publish_routes();
    }

    fn routed(&self, host: &str) -> Option<String> {
        let routes = self.registry.routes();
        let found = routes.find(host, "/")?;
        Some(found.function.key().name.to_string())
    }

    fn traffic(&self, function: &str) -> Vec<String> {
        match &*self.registry.function(&key(function)).unwrap().traffic() {
            Traffic::To(shares) => shares
                .iter()
                .map(|share| share.revision.key().name.to_string())
                .collect(),
            Traffic::Unknown { .. } => vec!["unknown".to_owned()],
            Traffic::Failed(detail) => vec![detail.to_string()],
        }
    }
}

#[test]
fn the_order_of_events_does_not_matter() {
    type Event = fn(&mut ClusterIndex);
    let events: [Event; 4] = [
        |index| index.apply_function(&function("f", 0, Some("f-00001"), Some("f-00001"))),
        |index| index.apply_revision(&revision("f-00001", "f")),
        |index| index.apply_deployment(&deployment("f-00001", 1)),
        |index| index.apply_pod(&pod("p", "f-00001", &json!({}))),
    ];
    for first in 0..4 {
        for step in [1, 3] {
            let mut fixture = fixture();
            for index in 0..4 {
                events[(first + index * step) % 4](&mut fixture.index);
            }
            fixture.settle();
            assert_eq!(fixture.traffic("f"), ["f-00001"]);
            let revision = fixture.registry.revision(&key("f-00001")).unwrap();
            assert_eq!(revision.role(), Role::Active);
            assert_eq!(revision.observe(|observed| observed.replicas()), Some(1));
            assert!(revision.has_endpoints());
        }
    }
}

#[test]
fn the_oldest_has_a_shared_host_until_it_leaves() {
    let mut fixture = fixture();
    fixture
        .index
        .apply_function(&function("young", 9, None, None));
    fixture
        .index
        .apply_function(&function("old", 1, None, None));
    fixture.settle();
    assert_eq!(fixture.routed("shared.example").as_deref(), Some("old"));
    fixture.index.delete_function(&key("old"));
    fixture.settle();
    assert_eq!(fixture.routed("shared.example").as_deref(), Some("young"));
    // One of the same name, made anew, is a young one.
    fixture
        .index
        .apply_function(&function("old", 99, None, None));
    fixture.settle();
    assert_eq!(fixture.routed("shared.example").as_deref(), Some("young"));
    assert_eq!(
        fixture.routed("old.default.localhost").as_deref(),
        Some("old")
    );
}

#[test]
fn a_status_update_does_not_touch_the_routes() {
    let mut fixture = fixture();
    fixture.index.apply_function(&function("f", 0, None, None));
    fixture.index.publish_routes();
    fixture
        .index
        .apply_function(&function("f", 0, Some("f-00001"), None));
    fixture.index.apply_revision(&revision("f-00001", "f"));
    fixture.index.apply_pod(&pod("p", "f-00001", &json!({})));
    assert!(!fixture.index.routes_changed());
    assert_eq!(fixture.traffic("f"), ["f-00001"]);
}

#[test]
fn traffic_to_a_revision_that_is_not_seen_yet_waits() {
    let mut fixture = fixture();
    fixture
        .index
        .apply_function(&function("f", 0, Some("f-00002"), Some("f-00002")));
    assert_eq!(fixture.traffic("f"), ["unknown"]);
    fixture.index.apply_revision(&revision("f-00002", "f"));
    assert_eq!(fixture.traffic("f"), ["f-00002"]);
    fixture.index.delete_revision(&key("f-00002"));
    assert_eq!(fixture.traffic("f"), ["unknown"]);
}

#[test]
fn a_marked_or_leaving_pod_comes_last() {
    let mut fixture = fixture();
    fixture.index.apply_revision(&revision("f-00001", "f"));
    fixture.index.apply_pod(&pod("a", "f-00001", &json!({})));
    fixture.index.apply_pod(&pod("b", "f-00001", &json!({})));
    fixture.settle();
    let revision = fixture.registry.revision(&key("f-00001")).unwrap();
    let picked = |revision: &Arc<Revision>| {
        let permit = Revision::acquire(revision).unwrap();
        permit.endpoint().pod().to_owned()
    };
    let marked = json!({ "annotations": { "fermata.dev/draining": "now" } });
    fixture.index.apply_pod(&pod("a", "f-00001", &marked));
    assert!((0..20).all(|_| picked(&revision) == "b"));
    fixture.index.delete_pod(&key("b"));
    assert_eq!(picked(&revision), "a");
    // Without a preStop sleep a pod that is deleted may stop at any moment.
    let deleted = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
    fixture.index.apply_pod(&pod("a", "f-00001", &deleted));
    assert!(Revision::acquire(&revision).is_none());
}

#[test]
fn a_pod_that_merely_carries_the_labels_gets_nothing() {
    let mut fixture = fixture();
    fixture.index.apply_revision(&revision("f-00001", "f"));
    let stranger = json!({ "ownerReferences": [] });
    fixture.index.apply_pod(&pod("thief", "f-00001", &stranger));
    fixture.settle();
    let revision = fixture.registry.revision(&key("f-00001")).unwrap();
    assert!(!revision.has_endpoints());
    // A pod that loses its controller is nobody's any more.
    fixture.index.apply_pod(&pod("a", "f-00001", &json!({})));
    fixture.settle();
    assert!(revision.has_endpoints());
    fixture.index.apply_pod(&pod("a", "f-00001", &stranger));
    assert!(!revision.has_endpoints());
}

#[test]
fn a_pod_that_is_no_longer_ready_has_to_show_itself_again() {
    let mut fixture = fixture();
    fixture.index.apply_revision(&revision("f-00001", "f"));
    let ready = pod("a", "f-00001", &json!({}));
    fixture.index.apply_pod(&ready);
    fixture.settle();
    let revision = fixture.registry.revision(&key("f-00001")).unwrap();
    assert!(revision.has_endpoints());
    let mut unready = ready.clone();
    unready.status.as_mut().unwrap().conditions = None;
    fixture.index.apply_pod(&unready);
    assert!(!revision.has_endpoints());
    assert!(
        fixture.index.take_unprobed().is_empty(),
        "only the cluster can probe it"
    );
    fixture.index.apply_pod(&ready);
    fixture.settle();
    assert!(revision.has_endpoints());
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let mut fixture = fixture();
    for name in ["f", "g"] {
        fixture.index.apply_function(&function(name, 0, None, None));
        let revision_name = format!("{name}-00001");
        fixture
            .index
            .apply_revision(&revision(&revision_name, name));
        fixture
            .index
            .apply_deployment(&deployment(&revision_name, 1));
        fixture
            .index
            .apply_pod(&pod(name, &revision_name, &json!({})));
    }
    fixture.settle();
    let listed = |name: &str| Names::new(Place::cluster(), [key(name)].into());
    fixture.index.keep_functions(&listed("f"));
    fixture.index.keep_pods(&listed("f"));
    fixture.index.keep_deployments(&listed("f-00001"));
    fixture.settle();
    assert_eq!(fixture.routed("g.default.localhost"), None);
    let rest = fixture.registry.revision(&key("g-00001")).unwrap();
    assert!(!rest.has_endpoints());
    assert_eq!(rest.observe(|observed| observed.replicas()), None);
    assert!(
        fixture
            .registry
            .revision(&key("f-00001"))
            .unwrap()
            .has_endpoints()
    );
    fixture.index.keep_revisions(&listed("f-00001"));
    assert!(fixture.registry.revision(&key("g-00001")).is_none());
}

#[test]
fn a_reason_to_fail_ends_with_what_caused_it() {
    let mut fixture = fixture();
    fixture.index.apply_revision(&revision("f-00001", "f"));
    fixture.index.apply_deployment(&deployment("f-00001", 1));
    let mut failed = pod("a", "f-00001", &json!({}));
    failed.status = serde_json::from_value(json!({ "phase": "Failed" })).unwrap();
    fixture.index.apply_pod(&failed);
    let revision = fixture.registry.revision(&key("f-00001")).unwrap();
    revision.set_failure(Some("it failed".into()));
    fixture.index.apply_deployment(&deployment("f-00001", 1));
    assert!(revision.failure().is_some(), "nothing has changed");
    fixture.index.delete_pod(&key("a"));
    assert_eq!(revision.failure(), None);
}

/// Whatever the API may hold, reading it and acting on it does not panic: one object would stop all.
#[test]
fn fuzz_no_object_makes_the_gateway_panic() {
    use std::sync::atomic::{AtomicU32, Ordering};

    use fermata_crds::sample::{self, Sampler};

    use crate::backend::revision::fatal::fatal_reason;

    static ROUTED: AtomicU32 = AtomicU32::new(0);
    let functions = Sampler::of::<crds::Function>();
    let revisions = Sampler::of::<crds::Revision>();
    bolero::check!().with_type::<u64>().for_each(|seed| {
        let mut choose = sample::choices(*seed);
        let mut fixture = fixture();
        let function = functions.object("default", "f", &mut choose);
        let mut revision = revisions.object("default", "f-00001", &mut choose);
        revision["spec"]["functionName"] = json!("f");
        if let Ok(function) = serde_json::from_value::<crds::Function>(function) {
            fixture.index.apply_function(&function);
        }
        if let Ok(revision) = serde_json::from_value::<crds::Revision>(revision) {
            fixture.index.apply_revision(&revision);
        }
        fixture.index.apply_deployment(&deployment("f-00001", 1));
        fixture.index.apply_pod(&pod("p", "f-00001", &json!({})));
        fixture.settle();
        let _ = fixture.routed("api.example.com");
        let Some(revision) = fixture.registry.revision(&key("f-00001")) else {
            return;
        };
        ROUTED.fetch_add(1, Ordering::Relaxed);
        for time in [
            "2026-03-08T07:30:00Z",
            "2026-11-26T12:00:00Z",
            "9999-12-30T22:00:00Z",
        ] {
            let now = time.parse().unwrap();
            let (min, max) = revision.scale().bounds(now);
            assert!(min <= max);
            revision.observe(|observed| fatal_reason(observed, now));
        }
        let start = tokio::time::Instant::now();
        let _ = start + revision.settings().timeouts.start;
        let _ = start + revision.settings().timeouts.request;
    });
    assert!(ROUTED.load(Ordering::Relaxed) > 50, "few objects were read");
}
