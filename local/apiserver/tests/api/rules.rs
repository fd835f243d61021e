//! What is checked of built-in kinds beyond their schemas.

use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    fixtures::{DEPLOYMENTS, PODS, deployment},
    requests::{call, eventually},
};

#[tokio::test]
async fn a_hook_sleeps_no_longer_than_the_pod_has_to_end() {
    let (_cluster, client) = cluster().await;
    for (seconds, grace, refused) in [(5, 5, false), (0, 5, false), (6, 5, true), (-1, 5, true)] {
        let mut object = deployment(&format!("d{}", seconds + 1));
        let spec = &mut object["spec"]["template"]["spec"];
        spec["terminationGracePeriodSeconds"] = json!(grace);
        spec["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": seconds}}});
        let (code, body) = call(&client, "POST", DEPLOYMENTS, object).await;
        assert_eq!(code, if refused { 422 } else { 201 }, "{body}");
        if refused {
            let cause = &body["details"]["causes"][0];
            assert_eq!(
                cause["field"],
                "spec.template.spec.containers[0].lifecycle.preStop.sleep"
            );
            let message = cause["message"].as_str().unwrap();
            let why = "must be non-negative and less than terminationGracePeriodSeconds (5)";
            assert!(message.ends_with(why), "{message}");
        }
    }
}

#[tokio::test]
async fn events_of_both_groups_are_the_same_objects() {
    let (_cluster, client) = cluster().await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "said", "reason": "R",
        "type": "Normal", "action": "A", "reportingController": "c", "reportingInstance": "i",
        "eventTime": "2024-01-01T00:00:00.000000Z", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    let new = "/apis/events.k8s.io/v1/namespaces/~/events";
    let (code, made) = call(&client, "POST", new, event).await;
    assert_eq!((code, made["note"].as_str()), (201, Some("said")), "{made}");
    let old = "/api/v1/namespaces/~/events";
    let (_, list) = call(
        &client,
        "GET",
        &format!("{old}?fieldSelector=involvedObject.name%3Dp"),
        Value::Null,
    )
    .await;
    assert_eq!(list["items"][0]["message"], "said");
    // Times are there that nobody has given: clients sort by them.
    for field in ["firstTimestamp", "lastTimestamp"] {
        assert_eq!(list["items"][0].get(field), Some(&Value::Null), "{list}");
    }
    let (code, patched) = call(
        &client,
        "PATCH",
        &format!("{new}/e"),
        json!({"series": {"count": 2, "lastObservedTime": "2024-01-01T00:00:01.000000Z"}}),
    )
    .await;
    assert_eq!(
        (
            code,
            patched["note"].as_str(),
            patched["series"]["count"].as_i64()
        ),
        (200, Some("said"), Some(2))
    );
    let (_, list) = call(&client, "GET", new, Value::Null).await;
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("EventList"), Some("events.k8s.io/v1"))
    );
}

#[tokio::test]
async fn a_quota_bounds_what_pods_ask_for() {
    let (_cluster, client) = cluster().await;
    let quotas = "/api/v1/namespaces/~/resourcequotas";
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "3", "requests.cpu": "1"}}});
    assert_eq!(call(&client, "POST", quotas, quota).await.0, 201);
    let used = async |what: Value| {
        eventually("the quota to say what is used", async || {
            let (_, quota) = call(&client, "GET", &format!("{quotas}/q"), Value::Null).await;
            (quota["status"]["used"] == what).then_some(())
        })
        .await;
    };
    used(json!({"pods": "0", "requests.cpu": "0"})).await;
    let pod = |name: &str, cpu: &str| {
        json!({"metadata": {"name": name}, "spec": {"schedulerName": "nobody", "containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}},
        ]}})
    };
    let (code, body) = call(&client, "POST", PODS, pod("a", "600m")).await;
    assert_eq!(code, 201, "{body}");
    used(json!({"pods": "1", "requests.cpu": "600m"})).await;
    let (code, body) = call(&client, "POST", PODS, pod("b", "500m")).await;
    assert_eq!((code, body["reason"].as_str()), (403, Some("Forbidden")));
    assert_eq!(
        body["message"],
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    // What is bounded has to be said.
    let (code, body) = call(
        &client,
        "POST",
        PODS,
        json!({"metadata": {"name": "c"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    )
    .await;
    assert_eq!(code, 403);
    assert_eq!(
        body["message"],
        "pods \"c\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    // Many at once: the check and the write are one.
    let created = futures::future::join_all((0..8).map(|n| {
        let (client, pod) = (client.clone(), pod(&format!("m{n}"), "1m"));
        async move { call(&client, "POST", PODS, pod).await.0 }
    }))
    .await;
    assert_eq!(created.iter().filter(|code| **code == 201).count(), 2);
}

#[tokio::test]
async fn files_of_a_volume_stay_in_it() {
    let (_cluster, client) = cluster().await;
    for (path, says) in [
        ("lib/util.py", ""),
        ("a/..b", ""),
        ("..a", "must not start with '..'"),
        ("a/../b", "must not contain '..'"),
        ("/a", "must be a relative path"),
        ("", "Required value"),
    ] {
        let items = json!([{"key": "k", "path": path}]);
        let pod = json!({"metadata": {"generateName": "a-"}, "spec": {
            "containers": [{"name": "c", "image": "i:1"}],
            "volumes": [{"name": "v", "configMap": {"name": "m", "items": items}}],
        }});
        let (code, body) = call(&client, "POST", &format!("{PODS}?dryRun=All"), pod).await;
        if says.is_empty() {
            assert_eq!(code, 201, "{path}: {body}");
        } else {
            let message = body["message"].as_str().unwrap_or_default();
            assert!(code == 422 && message.contains(says), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn a_time_that_is_none_is_refused() {
    let (_cluster, client) = cluster().await;
    let pod = json!({
        "metadata": {"name": "a", "deletionTimestamp": "soon"},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    let event = json!({
        "metadata": {"name": "e"}, "lastTimestamp": "soon",
        "involvedObject": {"kind": "Pod", "name": "a", "namespace": "default"},
    });
    let owned = json!({
        "metadata": {"name": "c", "managedFields": [{
            "manager": "m", "operation": "Update", "apiVersion": "v1", "time": "soon",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:x": {}},
        }]},
    });
    let config_maps = "/api/v1/namespaces/~/configmaps";
    let events = "/api/v1/namespaces/~/events";
    for (path, kind, object) in [
        (PODS, "Pod", pod),
        (events, "Event", event),
        (config_maps, "ConfigMap", owned),
    ] {
        let (code, body) = call(&client, "POST", path, object).await;
        assert_eq!(code, 400, "{body}");
        let message = body["message"].as_str().unwrap();
        let says = format!("{kind} in version \"v1\" cannot be handled as a {kind}: ");
        assert!(message.starts_with(&says), "{message}");
    }
}

#[tokio::test]
async fn who_owns_a_field_since_nobody_knows_when_is_told_without_a_time() {
    let (_cluster, client) = cluster().await;
    let pod = json!({
        "metadata": {"name": "a", "managedFields": [{
            "manager": "m", "operation": "Update", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:x": {}},
        }]},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    let (code, body) = call(&client, "POST", PODS, pod).await;
    assert_eq!(code, 201, "{body}");
    for entry in body["metadata"]["managedFields"].as_array().unwrap() {
        assert_ne!(entry["time"], "", "{body}");
    }
}

#[tokio::test]
async fn an_amount_is_a_text_however_it_was_sent() {
    let (_cluster, client) = cluster().await;
    let container = json!({
        "name": "c", "image": "i:1", "resources": {"limits": {"cpu": 0.5, "memory": 1_000_000}},
    });
    let labels = json!({"app": "a"});
    let deployment = json!({
        "metadata": {"name": "a"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    let path = "/apis/apps/v1/namespaces/~/deployments";
    let (code, body) = call(&client, "POST", path, deployment).await;
    assert_eq!(code, 201, "{body}");
    let container = &body["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["resources"]["limits"],
        json!({"cpu": "500m", "memory": "1M"})
    );
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": 10}}});
    let path = "/api/v1/namespaces/~/resourcequotas";
    let (code, body) = call(&client, "POST", path, quota).await;
    assert_eq!(
        (code, &body["spec"]["hard"]["pods"]),
        (201, &json!("10")),
        "{body}"
    );
}
