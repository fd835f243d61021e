use fermata_daemon::watch::WatchEvent;
use futures::{FutureExt as _, StreamExt as _};

use super::*;
use crate::fixtures;

fn function(name: &str, age: i64, spec: &str) -> Function {
    let mut function = fixtures::function(spec);
    function.metadata.name = Some(name.into());
    function.metadata.uid = Some(name.into());
    function.metadata.resource_version = Some("1".into());
    let created = jiff::Timestamp::from_second(age).expect("a time");
    function.metadata.creation_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created),
    );
    function
}

/// What is waiting to be reconciled.
fn due<K: Resource<DynamicType = ()> + 'static>(queue: &Arc<Queue<K>>) -> Vec<String> {
    let mut stream = Box::pin(queue.clone().stream());
    let mut names = Vec::new();
    while let Some(Some(Ok(reference))) = stream.next().now_or_never() {
        names.push(reference.name);
    }
    names.sort();
    names
}

fn see(cluster: &Cluster, function: Function) {
    if let Some(change) = cluster.functions.remember(function) {
        cluster.function_changed(&change, Origin::Watch);
    }
}

fn lose(cluster: &Cluster, function: Function) {
    let gone = WatchEvent::Gone {
        key: Key::of(&function),
        uid: function.uid().unwrap_or_default(),
    };
    for change in cluster.functions.observe(gone) {
        cluster.function_changed(&change, Origin::Watch);
    }
}

const HOST: &str = "{ image: a, expose: { hosts: [x.example] } }";

#[test]
fn losers_are_looked_at_when_the_winner_goes_and_only_then() {
    let cluster = Cluster::new(ClaimPolicy::default());
    see(&cluster, function("old", 1, HOST));
    see(&cluster, function("young", 2, HOST));
    see(&cluster, function("younger", 3, HOST));
    due(&cluster.function_queue);

    lose(&cluster, function("younger", 3, HOST));
    assert!(due(&cluster.function_queue).is_empty());
    lose(&cluster, function("old", 1, HOST));
    assert_eq!(due(&cluster.function_queue), ["young"]);
    let owner = cluster.owner(&Claim::Host("x.example".into()));
    assert_eq!(owner.expect("an owner").name, "young");
}

#[test]
fn an_older_function_that_asks_later_takes_the_host_over() {
    let cluster = Cluster::new(ClaimPolicy::default());
    see(&cluster, function("young", 2, HOST));
    see(&cluster, function("old", 1, "{ image: a }"));
    due(&cluster.function_queue);
    let mut asks = function("old", 1, HOST);
    asks.metadata.resource_version = Some("2".into());
    asks.metadata.generation = Some(4);
    see(&cluster, asks);
    assert_eq!(due(&cluster.function_queue), ["old", "young"]);
}

#[test]
fn a_cold_start_told_by_the_gateway_is_no_reason_to_reconcile() {
    let cluster = Cluster::new(ClaimPolicy::default());
    see(&cluster, function("a", 1, "{ image: a }"));
    due(&cluster.function_queue);
    let mut told = function("a", 1, "{ image: a }");
    told.metadata.resource_version = Some("2".into());
    let status = serde_json::json!({"lastColdStart": {"time": "2026-01-01T00:00:00Z",
        "duration": "20ms", "revision": "a-00001"},
        "triggers": [{"name": "t", "schedule": "* * * * * UTC", "since": "2026-01-01T00:00:00Z"}]});
    told.status = Some(serde_json::from_value(status.clone()).expect("a status"));
    // The status as such is new, which is the operator's business once.
    see(&cluster, told.clone());
    due(&cluster.function_queue);
    told.metadata.resource_version = Some("3".into());
    if let Some(status) = &mut told.status {
        status.last_cold_start = None;
        status.triggers.clear();
    }
    see(&cluster, told);
    assert!(due(&cluster.function_queue).is_empty());
}

#[test]
fn a_runtime_or_config_map_leads_to_the_functions_that_name_it() {
    let cluster = Cluster::new(ClaimPolicy::default());
    let inline = "{ source: { runtime: python, files: { a: b } } }";
    let mapped = "{ source: { runtime: node, configMap: { name: code } } }";
    see(&cluster, function("inline", 1, inline));
    see(&cluster, function("mapped", 1, mapped));
    see(&cluster, function("image", 1, "{ image: a }"));
    due(&cluster.function_queue);

    let change = Change {
        old: None,
        new: Some(Arc::new(fixtures::python())),
    };
    cluster.runtime_changed(&change);
    assert_eq!(due(&cluster.function_queue), ["inline"]);

    let config_map = fixtures::object("{ metadata: { name: code, namespace: default } }");
    let new = Some(Arc::new(crate::observed::config_map::observe(config_map)));
    cluster.config_map_changed(&Change { old: None, new });
    assert_eq!(due(&cluster.function_queue), ["mapped"]);
}

#[test]
fn a_pod_leads_to_its_revision_when_something_that_counts_changed() {
    let cluster = Cluster::new(ClaimPolicy::default());
    let revision = fixtures::revision("{ functionName: hello, template: { image: a } }");
    cluster.revisions.remember(revision);
    let pod = |version: &str, reason: &str| {
        let yaml = format!(
            "{{ metadata: {{ name: p, namespace: default, uid: p, resourceVersion: '{version}', labels: {{ fermata.dev/revision: hello-00001, pod-template-hash: h }}, ownerReferences: [{{ apiVersion: apps/v1, kind: ReplicaSet, name: hello-00001-h, uid: u, controller: true }}] }}, spec: {{ containers: [] }}, status: {{ containerStatuses: [{{ name: function, image: '', imageID: '', ready: false, restartCount: 0, state: {{ waiting: {{ reason: {reason} }} }} }}] }} }}"
        );
        crate::observed::pod::observe(fixtures::object(&yaml))
    };
    let see = |pod| {
        if let Some(change) = cluster.pods.remember(pod) {
            cluster.pod_changed(&change);
        }
        due(&cluster.revision_queue)
    };
    assert_eq!(see(pod("1", "ContainerCreating")), ["hello-00001"]);
    assert!(see(pod("2", "PodInitializing")).is_empty());
    assert_eq!(see(pod("3", "ErrImagePull")), ["hello-00001"]);
}
