//! What operator, gateway and functions may do on a real cluster, and that it is no more.

mod webhooks;

use std::collections::BTreeSet;

use fermata_crds::{Function, Revision};
use fermata_tests::{Cluster, SYSTEM};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, TypeMeta},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

const OPERATOR: &str = "system:serviceaccount:fermata-system:fermata-operator";
const GATEWAY: &str = "system:serviceaccount:fermata-system:fermata-gateway";

/// What `kubectl auth can-i --list` shows for a user in a namespace, without what everybody may:
/// one line for each resource, as `RESOURCE [NAMES] VERBS`.
fn rights(cluster: &Cluster, user: &str, namespace: &str) -> BTreeSet<String> {
    let list = |user: &str| {
        let groups = "--as-group=system:serviceaccounts";
        let printed = cluster.kubectl(&[
            "auth",
            "can-i",
            "--list",
            "--no-headers",
            "-n",
            namespace,
            "--as",
            user,
            groups,
            "--as-group=system:authenticated",
        ]);
        let lines = printed.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.join(" ").replace("[] ", "")
        });
        lines.collect::<BTreeSet<_>>()
    };
    let everybody = list("system:serviceaccount:default:nobody");
    list(user).difference(&everybody).cloned().collect()
}

fn lines(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(|&line| line.to_owned()).collect()
}

#[tokio::test]
async fn the_operator_may_do_its_work_and_nothing_else() {
    let cluster = Cluster::new().await;
    let everywhere = lines(&[
        "configmaps [get list watch create patch]",
        "deployments.apps [get list watch create patch]",
        "events.events.k8s.io [create patch]",
        "functions.fermata.dev [list watch]",
        "functions.fermata.dev/status [patch]",
        "pods [get list watch create delete]",
        "revisions.fermata.dev [list watch create patch delete]",
        "revisions.fermata.dev/status [patch]",
        "runtimes.fermata.dev [list watch]",
        "services [list watch create patch]",
    ]);
    assert_eq!(rights(&cluster, OPERATOR, &cluster.space.name), everywhere);
    let mut at_home = everywhere;
    at_home.extend(lines(&[
        "leases.coordination.k8s.io [create]",
        "leases.coordination.k8s.io [fermata-operator] [get update]",
    ]));
    assert_eq!(rights(&cluster, OPERATOR, SYSTEM), at_home);
}

#[tokio::test]
async fn the_gateway_may_do_its_work_and_nothing_else() {
    let cluster = Cluster::new().await;
    let everywhere = lines(&[
        "deployments.apps [list watch]",
        "deployments.apps/scale [get patch]",
        "functions.fermata.dev [get list watch]",
        "functions.fermata.dev/status [patch]",
        "pods [list watch patch]",
        "revisions.fermata.dev [list watch]",
    ]);
    assert_eq!(rights(&cluster, GATEWAY, &cluster.space.name), everywhere);
    let mut at_home = everywhere;
    at_home.extend(lines(&[
        "leases.coordination.k8s.io [create]",
        "leases.coordination.k8s.io [fermata-gateway] [get update]",
        "leases.coordination.k8s.io [fermata-gateway-triggers] [get update]",
    ]));
    assert_eq!(rights(&cluster, GATEWAY, SYSTEM), at_home);
}

#[tokio::test]
async fn with_named_namespaces_there_are_rights_in_these_alone() {
    let cluster = Cluster::new().await;
    let namespace = &cluster.space.name;
    let chart = fermata_tests::repository().join("charts/fermata");
    let name = format!("fullnameOverride={namespace}");
    let watched = format!("watchNamespaces={{{namespace}}}");
    let mut arguments = vec!["template", "some", chart.to_str().unwrap()];
    arguments.extend(["--namespace", namespace, "--set", &name, "--set", &watched]);
    for component in ["operator", "gateway"] {
        let only = format!("templates/{component}/rbac.yaml");
        let rendered = cluster.helm(&[&arguments[..], &["--show-only", &only]].concat());
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), rendered).unwrap();
        let file = file.path().to_str().unwrap();
        cluster.kubectl(&["apply", "--filename", file]);

        let user = format!("system:serviceaccount:{namespace}:{namespace}-{component}");
        let here = rights(&cluster, &user, namespace);
        let elsewhere = rights(&cluster, &user, "default");
        cluster.kubectl(&["delete", "--filename", file]);
        let lease = format!("leases.coordination.k8s.io [fermata-{component}] [get update]");
        assert!(here.contains(&lease), "{here:?}");
        let functions = match component {
            "operator" => "functions.fermata.dev [list watch]",
            _ => "functions.fermata.dev [get list watch]",
        };
        assert!(here.contains(functions), "{here:?}");
        assert!(
            here.contains("functions.fermata.dev/status [patch]"),
            "{here:?}"
        );
        let runtimes = "runtimes.fermata.dev [list watch]";
        let expected: &[&str] = if component == "operator" {
            &[runtimes]
        } else {
            &[]
        };
        assert_eq!(elsewhere, lines(expected), "{component}");
    }
}

/// A child as the operator would write it: a Deployment that says it is the Revision's of its name.
fn disguised(name: &str) -> Value {
    let labels = json!({"fermata.dev/revision": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "fermata", "fermata.dev/function": "own",
                "fermata.dev/revision": name,
            },
            "ownerReferences": [{
                "apiVersion": "fermata.dev/v1alpha1", "kind": "Revision", "name": name,
                "uid": "11111111-1111-1111-1111-111111111111", "controller": true,
            }],
        },
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "function", "image": "localhost/none:1"}]},
            },
        },
    })
}

/// What the operator is told when it applies an object, which is not kept in any case.
async fn applies_as_operator(
    client: &Client,
    namespace: &str,
    object: &Value,
) -> Result<(), String> {
    let (api_version, kind) = (
        object["apiVersion"].as_str().unwrap(),
        object["kind"].as_str().unwrap(),
    );
    let kind: GroupVersionKind = TypeMeta {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    }
    .try_into()
    .unwrap();
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let parameters = PatchParams::apply("fermata-operator").force().dry_run();
    let name = object["metadata"]["name"].as_str().unwrap();
    let applied = api.patch(name, &parameters, &Patch::Apply(object)).await;
    applied.map(|_| ()).map_err(|error| error.to_string())
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Object(fields) => _ = fields.insert(field.replace("~1", "/"), value),
        other => panic!("{pointer} is in no object: {other}"),
    }
    object
}

#[tokio::test]
async fn the_operator_writes_only_what_belongs_to_a_function() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let client = space.platform.client_as(Some(OPERATOR)).await;
    let own = disguised("own-00001");
    applies_as_operator(&client, &space.name, &own)
        .await
        .expect("it may write a Revision's Deployment");

    // So that a selector of others still is one that the API server itself takes.
    let labels = json!({"fermata.dev/revision": "own-00001", "app": "other"});
    let own = with(own, "/spec/template/metadata/labels", labels);
    let other_owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "own-00001",
        "uid": "11111111-1111-1111-1111-111111111111", "controller": true}]);
    let node = json!([{"name": "v", "hostPath": {"path": "/"}}]);
    let privileged = json!([{"name": "function", "image": "localhost/none:1",
        "securityContext": {"privileged": true}}]);
    let pod = "/spec/template/spec";
    for (pointer, value, policy) in [
        ("/metadata/labels".to_owned(), json!({}), "children"),
        (
            "/metadata/ownerReferences".to_owned(),
            json!([]),
            "children",
        ),
        (
            "/metadata/ownerReferences".to_owned(),
            other_owner,
            "children",
        ),
        // Two policies refuse it, and which of them is told is the cluster's choice.
        ("/metadata/name".to_owned(), json!("other-00001"), ""),
        (
            "/spec/selector/matchLabels".to_owned(),
            json!({"app": "other"}),
            "deployments",
        ),
        (format!("{pod}/nodeName"), json!("one"), "deployments"),
        (format!("{pod}/hostNetwork"), json!(true), "deployments"),
        (format!("{pod}/hostPID"), json!(true), "deployments"),
        (format!("{pod}/volumes"), node, "deployments"),
        (format!("{pod}/containers"), privileged, "deployments"),
    ] {
        let object = with(own.clone(), &pointer, value.clone());
        let refused = applies_as_operator(&client, &space.name, &object)
            .await
            .expect_err(&pointer);
        let policy = format!("fermata-operator-{policy}");
        assert!(refused.contains(&policy), "{pointer} {value}: {refused}");
    }
    for namespace in ["kube-system", SYSTEM] {
        let refused = applies_as_operator(&client, namespace, &own)
            .await
            .expect_err(namespace);
        assert!(
            refused.contains("fermata.dev/functions=allowed"),
            "{namespace}: {refused}"
        );
    }
}

#[tokio::test]
async fn the_operator_takes_over_nothing_of_others() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let client = space.platform.client_as(Some(OPERATOR)).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "theirs",
            "labels": {"app.kubernetes.io/managed-by": "fermata", "fermata.dev/function": "theirs"},
            "ownerReferences": [{
                "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "name": "theirs",
                "uid": "11111111-1111-1111-1111-111111111111", "controller": true,
            }],
        },
        "spec": {
            "type": "ExternalName",
            "externalName": format!("fermata-gateway.{SYSTEM}.svc.cluster.local"),
        },
    });
    applies_as_operator(&client, &space.name, &service)
        .await
        .expect("it may make a Function's Service");
    for (pointer, value) in [
        ("/spec/externalName", json!("elsewhere.example")),
        ("/spec/externalIPs", json!(["192.0.2.1"])),
        (
            "/spec",
            json!({"ports": [{"port": 80}], "selector": {"app": "other"}}),
        ),
    ] {
        let refused = applies_as_operator(
            &client,
            &space.name,
            &with(service.clone(), pointer, value.clone()),
        )
        .await
        .expect_err(pointer);
        assert!(
            refused.contains("fermata-operator-services"),
            "{value}: {refused}"
        );
    }

    // What is somebody else's stays, however the operator's own version of it looks.
    for foreign in [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "theirs"},
            "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs-00001"}}),
        json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Revision",
            "metadata": {"name": "theirs-00001"},
            "spec": {"functionName": "theirs", "template": {"image": "localhost/none:1"}}}),
    ] {
        space.apply(&foreign).await;
    }
    let owner = |kind: &str, name: &str| {
        json!({
            "labels": {"app.kubernetes.io/managed-by": "fermata", "fermata.dev/function": "theirs"},
            "ownerReferences": [{
                "apiVersion": "fermata.dev/v1alpha1", "kind": kind, "name": name,
                "uid": "11111111-1111-1111-1111-111111111111", "controller": true,
            }],
        })
    };
    let named = |mut metadata: Value, name: &str| {
        metadata["name"] = json!(name);
        metadata
    };
    for taken in [
        service,
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": named(owner("Revision", "theirs-00001"), "theirs-00001"),
            "data": {"main.py": ""}}),
        json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Revision",
            "metadata": named(owner("Function", "theirs"), "theirs-00001"),
            "spec": {"functionName": "theirs", "template": {"image": "localhost/none:1"}}}),
    ] {
        let refused = applies_as_operator(&client, &space.name, &taken)
            .await
            .expect_err("it took over what is not its own");
        assert!(refused.contains("fermata-operator-children"), "{refused}");
    }
    let revisions: Api<Revision> = Api::namespaced(client, &space.name);
    let refused = revisions
        .delete("theirs-00001", &DeleteParams::default())
        .await
        .expect_err("it deleted what is not its own");
    assert!(
        refused.to_string().contains("fermata-operator-children"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_operator_makes_pods_that_look_at_repositories_and_no_others() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let client = space.platform.client_as(Some(OPERATOR)).await;
    let pods: Api<Pod> = Api::namespaced(client, &space.name);
    // The image is the chart's, which the operator itself was given.
    let operators: Api<Deployment> = Api::namespaced(space.client.clone(), SYSTEM);
    let operator = operators
        .get("fermata-operator")
        .await
        .expect("the operator");
    let containers = operator
        .spec
        .and_then(|spec| spec.template.spec)
        .expect("a pod")
        .containers;
    let arguments = containers
        .into_iter()
        .flat_map(|container| container.args.unwrap_or_default());
    let mut images =
        arguments.filter_map(|given| given.strip_prefix("--git-image=").map(str::to_owned));
    let image = images.next().expect("an image");
    let looks = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "shop-look",
            "labels": {"app.kubernetes.io/managed-by": "fermata", "fermata.dev/look": "shop"},
            "ownerReferences": [{
                "apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "name": "shop",
                "uid": "11111111-1111-1111-1111-111111111111", "controller": true,
            }],
        },
        "spec": {
            "restartPolicy": "Never", "activeDeadlineSeconds": 60, "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "look", "image": image,
                "command": ["fermata-invoker", "fetch", "--look"],
                "env": [{"name": "FERMATA_GIT_URL", "value": "http://127.0.0.1/x"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    let create = async |pod: &Value| {
        let pod: Pod = serde_json::from_value(pod.clone()).expect("a Pod");
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let created = pods.create(&parameters, &pod).await;
        created.map(|_| ()).map_err(|error| error.to_string())
    };
    create(&looks).await.expect("it may look");
    for (pointer, value) in [
        ("/metadata/name", json!("other")),
        ("/metadata/labels", json!({})),
        ("/metadata/ownerReferences/0/kind", json!("Revision")),
        ("/spec/containers/0/image", json!("localhost/other:1")),
        ("/spec/containers/0/command", json!(["sh"])),
        ("/spec/automountServiceAccountToken", json!(true)),
        ("/spec/activeDeadlineSeconds", json!(600)),
        ("/spec/restartPolicy", json!("Always")),
    ] {
        let mut other = looks.clone();
        *other.pointer_mut(pointer).expect(pointer) = value;
        let refused = create(&other).await.expect_err(pointer);
        assert!(
            refused.contains("fermata-operator-pods"),
            "{pointer}: {refused}"
        );
    }
    let theirs: Api<Pod> = Api::namespaced(space.client.clone(), &space.name);
    let mut foreign = looks.clone();
    foreign["metadata"] = json!({"name": "theirs"});
    let foreign: Pod = serde_json::from_value(foreign).expect("a Pod");
    theirs
        .create(&PostParams::default(), &foreign)
        .await
        .expect("a pod");
    let refused = pods.delete("theirs", &DeleteParams::default()).await;
    let refused = refused
        .expect_err("it deleted what is not its own")
        .to_string();
    assert!(refused.contains("fermata-operator-pods"), "{refused}");
}

#[tokio::test]
async fn a_service_account_is_for_those_who_may_use_it() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let user = format!("system:serviceaccount:{}:writer", space.name);
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "orders"}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "writer"},
            "rules": [{"apiGroups": ["fermata.dev"], "resources": ["functions"],
                "verbs": ["get", "create", "patch", "update"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "writer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"},
            "subjects": [{"kind": "ServiceAccount", "name": "writer", "namespace": space.name}]}),
    ] {
        space.apply(&object).await;
    }
    let client = space.platform.client_as(Some(&user)).await;
    let functions: Api<Function> = Api::namespaced(client, &space.name);
    let apply = async |name: &str, spec: &Value| {
        let function = json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": name}, "spec": spec});
        let parameters = PatchParams::apply("writer").force();
        let applied = functions
            .patch(name, &parameters, &Patch::Apply(&function))
            .await;
        applied.map(|_| ()).map_err(|error| error.to_string())
    };
    let spec = |more: Value| {
        let mut spec = json!({"image": "localhost/none:1", "scale": {"initial": 0}});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    };
    apply("plain", &spec(json!({})))
        .await
        .expect("without an account everybody may");
    let token = json!([{"name": "t", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token"}}]}}]);
    for (more, account) in [
        (json!({"serviceAccountName": "orders"}), "orders"),
        (
            json!({"podTemplate": {"spec": {"serviceAccountName": "orders"}}}),
            "orders",
        ),
        (
            json!({"podTemplate": {"spec": {"automountServiceAccountToken": true}}}),
            "default",
        ),
        (json!({"volumes": token}), "default"),
        (
            json!({"podTemplate": {"spec": {"volumes": token}}}),
            "default",
        ),
    ] {
        let refused = apply("plain", &spec(more.clone()))
            .await
            .expect_err("it names an account");
        let way_out = format!("grant the verb use on serviceaccounts/{account}");
        assert!(refused.contains(&way_out), "{more}: {refused}");
    }

    // Somebody who may has made one. Others may scale it, and not change what runs.
    let named = spec(json!({"serviceAccountName": "orders"}));
    space.function("named", named.clone()).await;
    let scaled = with(named.clone(), "/scale", json!({"initial": 0, "max": 3}));
    apply("named", &scaled).await.expect("a scale is harmless");
    let other = with(scaled, "/image", json!("localhost/other:1"));
    let refused = apply("named", &other).await.expect_err("another image");
    assert!(refused.contains("serviceaccounts/orders"), "{refused}");

    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "use-orders"},
        "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"],
            "resourceNames": ["orders"], "verbs": ["use"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "use-orders"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "use-orders"},
        "subjects": [{"kind": "ServiceAccount", "name": "writer", "namespace": space.name}]});
    space.apply(&role).await;
    space.apply(&binding).await;
    // The authorizer learns of a Role by a watch.
    fermata_tests::eventually("the account may be used", async || {
        apply("named", &other).await
    })
    .await;
}

#[tokio::test]
async fn the_gateway_scales_no_deployment_but_fermatas() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    space.test_function("own", &["serve"], json!({})).await;
    space.ready("own").await;
    space
        .apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "foreign"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": "foreign"}},
                "template": {
                    "metadata": {"labels": {"app": "foreign"}},
                    "spec": {"containers": [{"name": "c", "image": "localhost/none:1"}]},
                },
            },
        }))
        .await;
    let scale = |name: &str| {
        let patch = r#"{"spec":{"replicas":2}}"#;
        cluster.try_kubectl(&[
            "-n",
            &space.name,
            "patch",
            "deployment",
            name,
            "--subresource=scale",
            "--type=merge",
            "-p",
            patch,
            "--as",
            GATEWAY,
        ])
    };
    let refused = scale("foreign").expect_err("it scaled a foreign Deployment");
    assert!(refused.contains("ValidatingAdmissionPolicy"), "{refused}");
    assert!(refused.contains("fermata-gateway-scale"), "{refused}");
    scale("own-00001").expect("it may scale Fermata's");
    // A label alone, which anybody can write, opens nothing else: only the gateway is judged.
    let admin = space.api::<Deployment>();
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    admin
        .patch_scale("foreign", &PatchParams::default(), &patch)
        .await
        .expect("others scale what they may");
}

#[tokio::test]
async fn the_gateway_marks_pods_of_functions_and_changes_nothing_else_of_them() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let spec = json!({"scale": {"min": 1}});
    space.test_function("own", &["serve"], spec).await;
    space.ready("own").await;
    let pod = cluster.function_containers("own").await[0].pod.clone();
    let gateway = cluster.replicas("gateway").await[0].pod.clone();
    let client = space.platform.client_as(Some(GATEWAY)).await;
    let patch = async |namespace: &str, pod: &str, patch: Value| {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let patched = pods
            .patch(pod, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.map_err(|error| error.to_string())
    };
    let cost =
        json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}});
    patch(&space.name, &pod, cost.clone())
        .await
        .expect("it may mark a pod of a function");
    for (namespace, pod, what) in [
        (SYSTEM, gateway.as_str(), cost),
        (
            &space.name,
            &pod,
            json!({"metadata": {"labels": {"fermata.dev/function": "other"}}}),
        ),
        (
            &space.name,
            &pod,
            json!({"metadata": {"annotations": {"container.seccomp": "x"}}}),
        ),
        (
            &space.name,
            &pod,
            json!({"metadata": {"finalizers": ["example.com/stay"]}}),
        ),
        (
            &space.name,
            &pod,
            json!({"spec": {"activeDeadlineSeconds": 1}}),
        ),
    ] {
        let refused = patch(namespace, pod, what.clone())
            .await
            .expect_err(&what.to_string());
        assert!(
            refused.contains("fermata-gateway-pods"),
            "{what}: {refused}"
        );
    }
}

#[tokio::test]
async fn the_gateway_writes_the_last_cold_start_and_nothing_else_of_a_status() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let spec = json!({"scale": {"initial": 0}});
    space.test_function("own", &["serve"], spec).await;
    space.ready("own").await;
    let client = space.platform.client_as(Some(GATEWAY)).await;
    let functions: Api<Function> = Api::namespaced(client, &space.name);
    let patch = async |status: Value| {
        let patch = Patch::Merge(json!({"status": status}));
        let patched = functions
            .patch_status("own", &PatchParams::default(), &patch)
            .await;
        patched.map_err(|error| error.to_string())
    };
    for status in [
        json!({"url": "http://elsewhere.example"}),
        json!({"conditions": []}),
        json!({"traffic": null}),
        json!({"latestReadyRevision": "other-00001"}),
        json!({"host": "elsewhere.example"}),
    ] {
        let refused = patch(status.clone()).await.expect_err(&status.to_string());
        assert!(
            refused.contains("fermata-gateway-functions"),
            "{status}: {refused}"
        );
    }
    // The gateway itself writes one, at the first call.
    space.call("own", "hi").await.ok();
    fermata_tests::eventually("the cold start is reported", async || {
        let status = space.get("own").await.status.unwrap_or_default();
        status.last_cold_start.map(|_| ()).ok_or("none".to_owned())
    })
    .await;
}

#[tokio::test]
async fn functions_have_no_token_and_are_restricted() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    space.test_function("plain", &["serve"], json!({})).await;
    space.ready("plain").await;
    let token = "/file?/var/run/secrets/kubernetes.io/serviceaccount/token";
    assert_eq!(space.fetch("plain", token).await.status, 404);
    let name = cluster.function_containers("plain").await[0].pod.clone();
    let pod = space.api::<Pod>().get(&name).await.unwrap();
    let spec = pod.spec.unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    let env: Vec<String> = spec.containers[0]
        .env
        .iter()
        .flatten()
        .map(|variable| variable.name.clone())
        .collect();
    assert!(env.contains(&"K_SERVICE".to_owned()), "{env:?}");
    // Services of the namespace do not show in the environment.
    assert_eq!(spec.enable_service_links, Some(false));
}

#[tokio::test]
async fn a_function_that_wants_too_much_is_refused_with_the_reason() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    let template = json!({"podTemplate": {"spec": {"hostNetwork": true}}});
    space.test_function("greedy", &["serve"], template).await;
    let message = fermata_tests::eventually("the Function says why", async || {
        let status = space.get("greedy").await.status.unwrap_or_default();
        let ready = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready");
        ready
            .filter(|ready| ready.status == "False" && !ready.message.is_empty())
            .map(|ready| ready.message)
            .ok_or("nothing is said yet".to_owned())
    })
    .await;
    assert!(message.contains("hostNetwork=true"), "{message}");
}

#[tokio::test]
async fn users_with_the_usual_roles_work_with_functions() {
    let cluster = Cluster::new().await;
    let space = &cluster.space;
    for (role, may_write) in [("edit", true), ("view", false)] {
        let account = format!("{role}or");
        let user = format!("system:serviceaccount:{}:{account}", space.name);
        cluster.kubectl(&["-n", &space.name, "create", "serviceaccount", &account]);
        cluster.kubectl(&[
            "-n",
            &space.name,
            "create",
            "rolebinding",
            role,
            &format!("--clusterrole={role}"),
            &format!("--serviceaccount={}:{account}", space.name),
        ]);
        let may = |verb: &str, what: &str| {
            cluster.try_kubectl(&[
                "-n",
                &space.name,
                "auth",
                "can-i",
                verb,
                what,
                "--as",
                &user,
            ])
        };
        for verb in ["get", "list", "watch"] {
            may(verb, "functions.fermata.dev").expect(verb);
            may(verb, "revisions.fermata.dev").expect(verb);
        }
        for verb in ["create", "update", "patch", "delete"] {
            assert_eq!(
                may(verb, "functions.fermata.dev").is_ok(),
                may_write,
                "{role} {verb}"
            );
        }
        let status = [
            "auth",
            "can-i",
            "patch",
            "functions.fermata.dev",
            "--subresource=status",
        ];
        cluster
            .try_kubectl(&[&status[..], &["-n", &space.name, "--as", &user]].concat())
            .expect_err("a status is the operator's");
    }
}

#[tokio::test]
async fn secrets_are_closed_to_both() {
    let cluster = Cluster::new().await;
    for user in [OPERATOR, GATEWAY] {
        for verb in ["get", "list", "watch", "create", "patch", "delete"] {
            for namespace in [cluster.space.name.as_str(), SYSTEM, "kube-system"] {
                let arguments = [
                    "-n", namespace, "auth", "can-i", verb, "secrets", "--as", user,
                ];
                assert!(
                    cluster.try_kubectl(&arguments).is_err(),
                    "{user} {verb} {namespace}"
                );
            }
        }
    }
}
