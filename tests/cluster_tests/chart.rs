//! The chart, with the real helm on a real cluster: lint, install, use, upgrade, uninstall.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use fermata_tests::{Cluster, Container, Load, SYSTEM, eventually, repository};
use serde_json::{Value, json};

const RELEASE: &str = "fermata";
/// How long a call may take while what answers it is replaced.
const PATIENCE: Duration = Duration::from_secs(20);

fn chart() -> String {
    repository().join("charts/fermata").display().to_string()
}

fn values(name: &str) -> String {
    let file: PathBuf = repository().join("tests/cluster").join(name);
    file.display().to_string()
}

/// Installs or upgrades as the lane does, with further arguments.
fn upgrade(cluster: &Cluster, more: &[&str]) -> String {
    let (chart, values) = (chart(), values("values.yaml"));
    let mut arguments = vec!["upgrade", "--install", RELEASE, &chart, "--values", &values];
    arguments.extend(["--namespace", SYSTEM, "--wait", "--timeout=3m"]);
    arguments.extend(more);
    cluster.helm(&arguments)
}

#[tokio::test]
async fn lint_and_template_take_every_value() {
    let cluster = Cluster::new().await;
    let (chart, all) = (chart(), values("all-values.yaml"));
    for values in [&[][..], &["--values", &all]] {
        let linted = cluster.helm(&[&["lint", "--strict", &chart], values].concat());
        assert!(linted.contains("0 chart(s) failed"), "{linted}");
        let rendered = cluster.helm(&[&["template", RELEASE, &chart], values].concat());
        assert!(rendered.contains("kind: Deployment"), "{rendered}");
    }
    for (wrong, word) in [
        ("gateway.replicas=3", "replicas"),
        ("gateway.replicaCount=many", "gateway/replicaCount"),
        ("gateway.service.type=Loadbalancer", "gateway/service/type"),
        (
            "operator.image.pullPolicy=Sometimes",
            "operator/image/pullPolicy",
        ),
        ("urlScheme=ftp", "urlScheme"),
        ("watchNamespaces={Shop}", "watchNamespaces/0"),
        ("security.runAsUser=0", "security/runAsUser"),
        ("imageDigests.gateway=latest", "imageDigests/gateway"),
        ("gateway.service.ipFamilyPolicy=Both", "ipFamilyPolicy"),
    ] {
        let refused = cluster
            .try_helm(&["template", RELEASE, &chart, "--set", wrong])
            .expect_err(wrong);
        assert!(refused.contains(word), "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn what_every_value_renders_is_taken_by_the_cluster() {
    let cluster = Cluster::new().await;
    let (chart, all) = (chart(), values("all-values.yaml"));
    let rendered = cluster.helm(&["template", "all", &chart, "--values", &all]);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).expect("helm renders YAML");
    // The kinds that others bring: the Prometheus operator and the Gateway API.
    let foreign = [
        "PodMonitor",
        "PrometheusRule",
        "ServiceMonitor",
        "HTTPRoute",
    ];
    let mut taken = 0;
    for mut object in objects.into_iter().filter(Value::is_object) {
        // The namespaces that the values name are not there.
        if let Some(namespace) = object["metadata"].get_mut("namespace") {
            *namespace = json!(cluster.space.name);
        }
        let kind = object["kind"].as_str().expect("an object has a kind");
        if foreign.contains(&kind) {
            continue;
        }
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let path = file.path().to_str().unwrap();
        let mut arguments = vec!["apply", "--server-side", "--force-conflicts"];
        arguments.extend(["--dry-run=server", "--validate=strict", "--filename", path]);
        arguments.push("--warnings-as-errors");
        let answer = cluster.try_kubectl(&arguments);
        assert!(answer.is_ok(), "{answer:?}\n{object:#}");
        taken += 1;
    }
    assert!(taken > 15, "only {taken} objects were rendered");
}

/// The first object of a kind among what is rendered.
fn rendered(cluster: &Cluster, more: &[&str], kind: &str, name: &str) -> Value {
    let chart = chart();
    let arguments = [&["template", RELEASE, &chart][..], more].concat();
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(&cluster.helm(&arguments)).expect("helm renders YAML");
    let is = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    let found = objects.iter().find(is);
    found.unwrap_or_else(|| panic!("no {kind} {name}")).clone()
}

#[tokio::test]
async fn what_is_left_open_or_named_elsewhere_is_rendered_so() {
    let cluster = Cluster::new().await;
    let digest = format!("sha256:{}", "1".repeat(64));
    let digests = format!("imageDigests.gateway={digest}");
    let more = [
        "--set",
        "security.runAsUser=null",
        "--set",
        "functions.runAsUser=null",
        "--set",
        &digests,
    ];
    let gateway = rendered(&cluster, &more, "Deployment", "fermata-gateway");
    let pod = &gateway["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsUser"], Value::Null);
    let image = pod["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image, format!("ghcr.io/fermata-dev/gateway@{digest}"));
    let operator = rendered(&cluster, &more, "Deployment", "fermata-operator");
    let arguments = operator["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(arguments.contains("--source-user=none"), "{arguments}");

    let more = ["--set", "dashboard.enabled=true"];
    let dashboard = rendered(&cluster, &more, "ConfigMap", "fermata-dashboard");
    let dashboard = dashboard["data"]["fermata.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).expect("it is JSON");
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    let more = ["--set", "dashboard.enabled=true,events.store=embedded"];
    let dashboard = rendered(&cluster, &more, "ConfigMap", "fermata-dashboard");
    let dashboard = dashboard["data"]["fermata-events.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).expect("it is JSON");
    assert_eq!(dashboard["uid"], "fermata-events");
}

#[tokio::test]
async fn definitions_are_taken_without_a_warning() {
    let cluster = Cluster::new().await;
    let definitions = format!("{}/crds", chart());
    let mut arguments = vec!["apply", "--server-side", "--force-conflicts"];
    arguments.extend(["--warnings-as-errors", "--filename", &definitions]);
    let applied = cluster.kubectl(&arguments);
    assert_eq!(applied.lines().count(), 3, "{applied}");
}

#[tokio::test]
async fn the_notes_can_be_followed() {
    let cluster = Cluster::new().await;
    let notes = cluster.helm(&["get", "notes", RELEASE, "--namespace", SYSTEM]);
    let wait = notes
        .lines()
        .find_map(|line| line.trim().strip_prefix("kubectl "))
        .expect("the notes begin with a kubectl line");
    cluster.kubectl(&wait.split(' ').collect::<Vec<_>>());

    let manifest = notes
        .split("<<'END'\n")
        .nth(1)
        .and_then(|rest| rest.split("\nEND").next())
        .expect("the notes have a manifest");
    let mut function: Value = serde_saphyr::from_str(manifest).expect("it is YAML");
    function["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("namespace");
    cluster.space.apply(&function).await;
    cluster.space.ready("hello").await;
    let answer = cluster.space.call("hello", "you").await.ok();
    assert_eq!(answer.text(), "Hello, you!\n");
}

#[tokio::test]
async fn pods_call_functions_by_their_names() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let source = |code: &str| json!({"source": {"runtime": "python", "files": {"main.py": code}}});
    space
        .function(
            "hello",
            source("def handle(request):\n    return 'Hello'\n"),
        )
        .await;
    let caller = "import urllib.request\n\ndef handle(request):\n    \
        return urllib.request.urlopen(request.text()).read()\n";
    space.function("caller", source(caller)).await;
    space.ready("hello").await;
    space.ready("caller").await;
    let name = &space.name;
    for host in [
        format!("hello.{name}"),
        format!("hello.{name}.svc"),
        format!("hello.{name}.svc.cluster.local"),
    ] {
        let answer = space.call("caller", &format!("http://{host}/")).await.ok();
        assert_eq!(answer.text(), "Hello", "{host}");
    }
}

#[tokio::test]
async fn the_command_line_finds_the_gateway() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    space.test_function("echo", &["serve"], json!({})).await;
    space.ready("echo").await;
    let invoke = ["invoke", "echo", "-d", "hi", "-n", &space.name];
    let output = fermata_tests::fermata(&space.platform.kubeconfig, &invoke);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hi");
}

#[tokio::test]
async fn pods_of_the_chart_are_restricted_and_spread() {
    let cluster = Cluster::new().await;
    // The namespace lets no other pods in; the label is what the lane set.
    let label = "jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}";
    let level = cluster.kubectl(&["get", "namespace", SYSTEM, "-o", label]);
    assert_eq!(level, "restricted");
    cluster.settled().await;
    let budgets = cluster.kubectl(&["-n", SYSTEM, "get", "poddisruptionbudget", "-o", "json"]);
    let budgets: Value = serde_json::from_str(&budgets).unwrap();
    let budgets = budgets["items"].as_array().unwrap();
    assert_eq!(budgets.len(), 2, "{budgets:#?}");
    for budget in budgets {
        assert_eq!(budget["status"]["currentHealthy"], 2, "{budget:#}");
        assert_eq!(budget["status"]["disruptionsAllowed"], 1, "{budget:#}");
    }
}

/// The names of the objects that a label selector of a NetworkPolicy chooses.
fn chosen(cluster: &Cluster, kind: &str, namespace: &str, selector: &Value) -> BTreeSet<String> {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut terms: Vec<String> = labels
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
        .collect();
    for expression in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        assert_eq!(expression["operator"], "Exists");
        terms.push(expression["key"].as_str().unwrap().to_owned());
    }
    assert!(!terms.is_empty(), "{selector} chooses everything");
    let selector = terms.join(",");
    let printed = cluster.kubectl(&["-n", namespace, "get", kind, "-o", "name", "-l", &selector]);
    let names = printed.lines().filter_map(|line| line.split('/').nth(1));
    names.map(str::to_owned).collect()
}

fn pods(containers: Vec<Container>) -> BTreeSet<String> {
    containers
        .into_iter()
        .map(|container| container.pod)
        .collect()
}

#[tokio::test]
async fn network_policies_choose_the_pods_they_are_about() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    cluster.settled().await;
    for component in ["operator", "gateway"] {
        let policy = format!("fermata-{component}");
        let policy =
            cluster.kubectl(&["-n", SYSTEM, "get", "networkpolicy", &policy, "-o", "json"]);
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let replicas = pods(cluster.replicas(component).await);
        let selector = &policy["spec"]["podSelector"];
        assert_eq!(chosen(&cluster, "pods", SYSTEM, selector), replicas);
    }

    // That of functions: to their pods, from the gateway's.
    let spec = json!({"scale": {"min": 1}});
    space.test_function("guarded", &["serve"], spec).await;
    space.ready("guarded").await;
    let namespaces = format!("networkPolicy.functionNamespaces={{{}}}", space.name);
    let template = "templates/gateway/functions-networkpolicy.yaml";
    let chart = chart();
    let mut arguments = vec!["template", RELEASE, &chart, "--namespace", SYSTEM];
    arguments.extend(["--show-only", template, "--set", &namespaces]);
    let policy: Value = serde_saphyr::from_str(&cluster.helm(&arguments)).unwrap();
    space.apply(&policy).await;
    let guarded = chosen(
        &cluster,
        "pods",
        &space.name,
        &policy["spec"]["podSelector"],
    );
    assert_eq!(guarded, pods(cluster.function_containers("guarded").await));
    let from = &policy["spec"]["ingress"][0]["from"][0];
    let system = chosen(&cluster, "namespaces", SYSTEM, &from["namespaceSelector"]);
    assert_eq!(system, BTreeSet::from([SYSTEM.to_owned()]));
    let gateways = chosen(&cluster, "pods", SYSTEM, &from["podSelector"]);
    assert_eq!(gateways, pods(cluster.replicas("gateway").await));
}

// helm holds up the thread that it is run on, and the load goes on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_every_pod_fails_no_request() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let spec = json!({"scale": {"min": 1}});
    space.test_function("steady", &["serve"], spec).await;
    space.ready("steady").await;
    cluster.settled().await;
    let before = cluster.replicas("gateway").await;
    let path = space.path("steady");
    let gateway = space.platform.gateway;
    let load = Load::start(gateway, &path, 250, PATIENCE);
    // A name that no earlier run has used.
    let restart = |component: &str| format!("{component}.podAnnotations.upgraded={}", space.name);
    let (operator, gateways) = (restart("operator"), restart("gateway"));
    upgrade(&cluster, &["--set", &operator, "--set", &gateways]);
    cluster.settled().await;
    let report = load.stop().await;
    report.all_good(500);
    let after = cluster.replicas("gateway").await;
    assert!(
        after.iter().all(|gateway| !before.contains(gateway)),
        "a gateway was not replaced"
    );
}

#[tokio::test]
async fn uninstall_leaves_definitions_and_functions_alone() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let spec = json!({"scale": {"min": 1}});
    space.test_function("stays", &["serve"], spec).await;
    space.ready("stays").await;
    let before = cluster.function_containers("stays").await;
    cluster.helm(&["uninstall", RELEASE, "--namespace", SYSTEM, "--wait"]);
    eventually("operator and gateway are gone", async || {
        let left = cluster.kubectl(&["-n", SYSTEM, "get", "pods", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    for definition in ["functions", "revisions", "runtimes"] {
        cluster.kubectl(&["get", "crd", &format!("{definition}.fermata.dev")]);
    }
    assert!(
        !cluster
            .kubectl(&["get", "runtimes", "-o", "name"])
            .is_empty()
    );
    let left = cluster.kubectl(&["-n", &space.name, "get", "fn,rev,deploy", "-o", "name"]);
    assert_eq!(left.lines().count(), 3, "{left}");
    assert_eq!(cluster.function_containers("stays").await, before);

    upgrade(&cluster, &[]);
    // The Service, and with it the address, is a new one.
    let mut gateway = space.gateway();
    let service = ["-n", SYSTEM, "get", "service", "fermata-gateway"];
    let address = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
    let address = cluster.kubectl(&[&service[..], &["-o", address]].concat());
    gateway.address = address.parse().unwrap();
    let answer = gateway.post(&space.path("stays"), "still here").await.ok();
    assert_eq!(answer.text(), "still here");
    assert_eq!(cluster.function_containers("stays").await, before);
}
