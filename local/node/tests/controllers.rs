//! Deployments, owners, quotas and namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "support/cluster.rs"]
mod cluster;

use fermata_node::Controllers;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Namespace, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use cluster::{Cluster, eventually, is_ready, node};

fn deployment(replicas: i32, version: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "a", "image": "x", "command": ["sleep", "1000"], "env": [{"name": "VERSION", "value": version}]}],
            }},
        },
    })
}

#[tokio::test]
async fn a_deployment_scales_rolls_and_goes_with_all_it_owns() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(2, "1")).await;
    let settled = async |replicas: i32, version: &str| {
        eventually("the Deployment has settled", async || {
            let pods = cluster.list::<Pod>().await;
            let status = cluster
                .api::<Deployment>()
                .get("web")
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            let right = pods.iter().filter(|pod| {
                let env = pod.spec.as_ref().unwrap().containers[0]
                    .env
                    .as_ref()
                    .unwrap();
                env.iter()
                    .any(|var| var.name == "VERSION" && var.value.as_deref() == Some(version))
            });
            let counts = (
                pods.len(),
                right.count(),
                status.ready_replicas.unwrap_or(0),
                status.updated_replicas.unwrap_or(0),
            );
            let wanted = usize::try_from(replicas).unwrap();
            if counts == (wanted, wanted, replicas, replicas) {
                Ok(())
            } else {
                Err(format!("{counts:?}"))
            }
        })
        .await;
    };
    settled(2, "1").await;
    let patch = |value: Value| Patch::Merge(value);
    cluster
        .api::<Deployment>()
        .patch_scale(
            "web",
            &PatchParams::default(),
            &patch(json!({"spec": {"replicas": 3}})),
        )
        .await
        .unwrap();
    settled(3, "1").await;
    let params = PatchParams::apply("test").force();
    cluster
        .api::<Deployment>()
        .patch("web", &params, &Patch::Apply(deployment(3, "2")))
        .await
        .unwrap();
    settled(3, "2").await;
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 2);

    cluster
        .api::<Deployment>()
        .delete("web", &DeleteParams::foreground())
        .await
        .unwrap();
    eventually("nothing is left", async || {
        let deployments = cluster.list::<Deployment>().await.len();
        let sets = cluster.list::<ReplicaSet>().await.len();
        let pods = cluster.list::<Pod>().await.len();
        if (deployments, sets, pods) == (0, 0, 0) {
            Ok(())
        } else {
            Err(format!("{deployments} {sets} {pods}"))
        }
    })
    .await;
}

#[tokio::test]
async fn the_cheapest_pod_goes_first() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(3, "1")).await;
    let pods = eventually("three are ready", async || {
        let pods = cluster.list::<Pod>().await;
        if pods.iter().filter(|pod| is_ready(pod)).count() == 3 {
            Ok(pods)
        } else {
            Err(String::new())
        }
    })
    .await;
    let victim = pods[1].name_any();
    let cost =
        json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-10"}}});
    cluster
        .api::<Pod>()
        .patch(&victim, &PatchParams::default(), &Patch::Merge(cost))
        .await
        .unwrap();
    let scale = json!({"spec": {"replicas": 2}});
    cluster
        .api::<Deployment>()
        .patch_scale("web", &PatchParams::default(), &Patch::Merge(scale))
        .await
        .unwrap();
    let left = eventually("two are left", async || {
        let pods = cluster.list::<Pod>().await;
        if pods.len() == 2 {
            Ok(pods)
        } else {
            Err(String::new())
        }
    })
    .await;
    assert!(left.iter().all(|pod| pod.name_any() != victim));
}

#[tokio::test]
async fn a_quota_stands_in_the_deployments_status_until_it_is_raised() {
    let cluster = Cluster::start().await;
    let quota = |pods: &str| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"pods": pods}}});
    cluster
        .create::<k8s_openapi::api::core::v1::ResourceQuota>(quota("0"))
        .await;
    cluster.create::<Deployment>(deployment(1, "1")).await;
    eventually("the failure is there", async || {
        let status = cluster
            .api::<Deployment>()
            .get("web")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        let failure = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "ReplicaFailure");
        match failure.and_then(|failure| failure.message.clone()) {
            Some(message) if message.contains("exceeded quota") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let params = PatchParams::apply("test").force();
    cluster
        .api::<k8s_openapi::api::core::v1::ResourceQuota>()
        .patch("q", &params, &Patch::Apply(quota("2")))
        .await
        .unwrap();
    eventually("the pod is there and the failure is gone", async || {
        let status = cluster
            .api::<Deployment>()
            .get("web")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        let failing = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "ReplicaFailure");
        if status.ready_replicas == Some(1) && !failing {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_namespace_goes_with_everything_in_it() {
    let cluster = Cluster::start().await;
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "doomed"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "doomed");
    let map = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    namespaces
        .delete("doomed", &DeleteParams::default())
        .await
        .unwrap();
    eventually("it is gone", async || {
        match namespaces.get_opt("doomed").await.unwrap() {
            None => Ok(()),
            Some(namespace) => Err(format!("{:?}", namespace.status)),
        }
    })
    .await;
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_node_that_comes_back_replaces_the_pods_it_had() {
    let mut cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(1, "1")).await;
    let first = eventually("one is ready", async || {
        let pods = cluster.list::<Pod>().await;
        pods.iter()
            .find(|pod| is_ready(pod))
            .map(kube::ResourceExt::name_any)
            .ok_or_else(String::new)
    })
    .await;
    cluster.stop.cancel();
    (&mut cluster.node).await.unwrap();
    let containers = cluster.containers.clone();
    let (_node, stop) = node(&cluster.client, containers, cluster.dir.path()).await;
    tokio::spawn(Controllers::new(cluster.client.clone()).run(stop.clone()));
    let second = eventually("another is ready", async || {
        let pods = cluster.list::<Pod>().await;
        pods.iter()
            .find(|pod| is_ready(pod) && pod.name_any() != first)
            .map(kube::ResourceExt::name_any)
            .ok_or_else(String::new)
    })
    .await;
    assert_ne!(first, second);
    stop.cancel();
}
