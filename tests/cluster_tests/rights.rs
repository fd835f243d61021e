//! What operator, gateway and functions may do on a real cluster, and that it is no more.

use std::collections::BTreeSet;

use fermata_crds::Function;
use fermata_tests::{Cluster, SYSTEM};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
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
        "pods [list watch]",
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
        "functions.fermata.dev [list watch]",
        "functions.fermata.dev/status [patch]",
        "pods [list watch patch]",
        "revisions.fermata.dev [list watch]",
    ]);
    assert_eq!(rights(&cluster, GATEWAY, &cluster.space.name), everywhere);
    let mut at_home = everywhere;
    at_home.extend(lines(&[
        "leases.coordination.k8s.io [create]",
        "leases.coordination.k8s.io [fermata-gateway] [get update]",
    ]));
    assert_eq!(rights(&cluster, GATEWAY, SYSTEM), at_home);
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
    assert!(
        message.contains("PodSecurity") || message.contains("hostNetwork"),
        "{message}"
    );
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
