//! Creation, updates and patches of built-in kinds, and what is checked on the way.

use http::Request;
use serde_json::{Value, json};

use crate::{
    cluster::cluster,
    requests::{apply, call, eventually, send, typed},
};

const PODS: &str = "/api/v1/namespaces/~/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/~/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/~/deployments";

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
        }},
    })
}

#[tokio::test]
async fn names_are_given_or_generated_and_must_be_names() {
    let (_cluster, client) = cluster().await;
    let (code, made) = call(
        &client,
        "POST",
        CONFIG_MAPS,
        json!({"metadata": {"generateName": "x-"}}),
    )
    .await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert_eq!(code, 201);
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
    for (metadata, code) in [
        (json!({}), 422),
        (json!({"name": "Not A Name"}), 422),
        (json!({"name": name}), 409),
        (json!({"name": "y", "namespace": "other"}), 400),
        (json!({"name": "y", "resourceVersion": "5"}), 500),
        (json!({"name": "y", "labels": {"a b": "c"}}), 422),
        (json!({"name": "y", "labels": {"a": "b c"}}), 422),
        (json!({"name": "y", "labels": ["a"]}), 400),
        (
            json!({"name": "y", "finalizers": ["no slash or dot?"]}),
            422,
        ),
    ] {
        let (found, body) = call(&client, "POST", CONFIG_MAPS, json!({"metadata": metadata})).await;
        assert_eq!(found, code, "{metadata} {body}");
        assert_eq!(body["kind"], "Status");
    }
}

#[tokio::test]
async fn bodies_that_are_none_are_refused() {
    let (_cluster, client) = cluster().await;
    for (content_type, body, code) in [
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", "{\"kind\":\"Pod\"}", 400),
        ("application/json", "{\"apiVersion\":\"v2\"}", 400),
        ("application/yaml", "a: [", 400),
        ("text/plain", "x", 415),
        ("application/vnd.kubernetes.protobuf", "x", 400),
    ] {
        let request = Request::post(CONFIG_MAPS)
            .header("content-type", content_type)
            .body(body.as_bytes().to_vec())
            .unwrap();
        let response = send(&client, request).await;
        assert_eq!(response.status().as_u16(), code, "{content_type} {body}");
        assert_eq!(response.body()["status"], "Failure");
    }
    let huge = json!({"metadata": {"name": "x"}, "data": {"a": "x".repeat(4 * 1024 * 1024)}});
    let (code, body) = call(&client, "POST", CONFIG_MAPS, huge).await;
    assert_eq!(
        (code, body["reason"].as_str()),
        (413, Some("RequestEntityTooLarge"))
    );
    let big = json!({"metadata": {"name": "x"}, "data": {"a": "x".repeat(2 * 1024 * 1024)}});
    assert_eq!(call(&client, "POST", CONFIG_MAPS, big).await.0, 422);
    let yaml = "metadata: {name: z}\ndata: {a: \"1\"}\n";
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", "application/yaml")
        .body(yaml.as_bytes().to_vec())
        .unwrap();
    let response = send(&client, request).await;
    assert_eq!(
        (
            response.status().as_u16(),
            response.body()["data"]["a"].as_str()
        ),
        (201, Some("1"))
    );
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_refused() {
    let (_cluster, client) = cluster().await;
    for (method, path, code) in [
        ("GET", "/api/v1/nothings", 404),
        ("GET", "/apis/nothing.example.com/v1", 404),
        ("GET", "/nothing", 404),
        ("GET", "/openapi/v3/apis/nothing/v1", 404),
        ("POST", "/api/v1/namespaces/~/configmaps/x", 405),
        ("PUT", CONFIG_MAPS, 405),
        ("POST", "/api/v1/pods", 405),
        ("GET", "/api/v1/namespaces/~/configmaps/x/status", 404),
        ("GET", "/api/v1/namespaces/~/configmaps/x", 404),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/~/deployments/x/scale",
            405,
        ),
    ] {
        let (found, body) = call(&client, method, path, json!({})).await;
        assert_eq!(found, code, "{method} {path}");
        // Where there is no resource at all, there is no Status either.
        assert!(
            body["status"] == "Failure" || body.is_string(),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_answers_and_stores_nothing() {
    let (_cluster, client) = cluster().await;
    let (code, body) = call(
        &client,
        "POST",
        &format!("{DEPLOYMENTS}?dryRun=All"),
        deployment("x"),
    )
    .await;
    assert_eq!(
        (code, body["spec"]["revisionHistoryLimit"].as_i64()),
        (201, Some(10))
    );
    assert_eq!(
        call(&client, "GET", &format!("{DEPLOYMENTS}/x"), Value::Null)
            .await
            .0,
        404
    );
    let (code, _) = call(
        &client,
        "POST",
        &format!("{DEPLOYMENTS}?dryRun=Some"),
        deployment("x"),
    )
    .await;
    assert_eq!(code, 422);
    call(&client, "POST", DEPLOYMENTS, deployment("x")).await;
    let (code, body) = call(
        &client,
        "PATCH",
        &format!("{DEPLOYMENTS}/x?dryRun=All"),
        json!({"spec": {"replicas": 9}}),
    )
    .await;
    assert_eq!((code, body["spec"]["replicas"].as_i64()), (200, Some(9)));
    let (_, body) = call(&client, "GET", &format!("{DEPLOYMENTS}/x"), Value::Null).await;
    assert_eq!(body["spec"]["replicas"], 1);
}

#[tokio::test]
async fn all_patches_change_what_they_name() {
    let (_cluster, client) = cluster().await;
    call(&client, "POST", DEPLOYMENTS, deployment("x")).await;
    let path = format!("{DEPLOYMENTS}/x");
    let patch = async |kind: &str, body: Value| typed(&client, "PATCH", &path, kind, body).await;
    let (code, body) = patch(
        "application/json-patch+json",
        json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 2}]),
    )
    .await;
    assert_eq!(
        (code, body["spec"]["replicas"].as_i64()),
        (200, Some(2)),
        "{body}"
    );
    let (code, body) = patch(
        "application/strategic-merge-patch+json",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "j"}]}}}}),
    )
    .await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(
        body["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let (code, body) = patch(
        "application/merge-patch+json",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "e", "image": "k"}]}}}}),
    )
    .await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(
        body["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for (kind, body, expected) in [
        (
            "application/json-patch+json",
            json!([{"op": "test", "path": "/spec/replicas", "value": 7}]),
            422,
        ),
        ("application/json-patch+json", json!([{"op": "fly"}]), 422),
        ("application/json-patch+json", json!({}), 400),
        ("application/merge-patch+json", json!([]), 400),
        (
            "application/merge-patch+json",
            json!({"metadata": {"resourceVersion": "1"}}),
            409,
        ),
        (
            "application/merge-patch+json",
            json!({"metadata": {"uid": "1"}}),
            422,
        ),
        (
            "application/merge-patch+json",
            json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
            422,
        ),
        (
            "application/merge-patch+json",
            json!({"spec": {"replicas": -1}}),
            422,
        ),
        (
            "application/merge-patch+json",
            json!({"spec": {"replicas": "x"}}),
            422,
        ),
        ("application/x-fantasy", json!({}), 415),
    ] {
        let (code, answer) = patch(kind, body.clone()).await;
        assert_eq!(code, expected, "{kind} {body} {answer}");
    }
}

#[tokio::test]
async fn the_scale_of_a_deployment_belongs_to_who_wrote_it_last() {
    let (_cluster, client) = cluster().await;
    let path = format!("{DEPLOYMENTS}/x");
    let (code, made) = apply(&client, &path, "fermata-operator", true, deployment("x")).await;
    assert_eq!(code, 201, "{made}");
    let scale = format!("{path}/scale?fieldManager=fermata-gateway");
    let (code, scaled) = call(&client, "PATCH", &scale, json!({"spec": {"replicas": 2}})).await;
    assert_eq!((code, scaled["spec"]["replicas"].as_i64()), (200, Some(2)));
    assert_eq!(scaled["status"]["selector"], "app=a");
    let (_, object) = call(&client, "GET", &path, Value::Null).await;
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let gateway = entries
        .iter()
        .find(|entry| entry["manager"] == "fermata-gateway")
        .unwrap();
    assert_eq!(gateway["subresource"], "scale");
    assert_eq!(gateway["operation"], "Update");
    assert_eq!(gateway["apiVersion"], "apps/v1");
    assert_eq!(gateway["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));

    // The operator leaves the number out from now on, and it stays.
    let mut without = deployment("x");
    without["spec"].as_object_mut().unwrap().remove("replicas");
    without["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2");
    let (code, object) = apply(&client, &path, "fermata-operator", true, without).await;
    assert_eq!((code, object["spec"]["replicas"].as_i64()), (200, Some(2)));
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["image"],
        "i:2"
    );

    // A stale resourceVersion in an apply is a conflict, not an overwrite.
    let mut stale = deployment("x");
    stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let (code, body) = apply(&client, &path, "fermata-operator", true, stale).await;
    assert_eq!((code, body["reason"].as_str()), (409, Some("Conflict")));

    let mut gone = deployment("gone");
    gone["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let path_gone = format!("{DEPLOYMENTS}/gone");
    let (code, _) = apply(&client, &path_gone, "fermata-operator", true, gone).await;
    assert_eq!(
        code, 201,
        "an apply makes what is gone, whatever version it has seen"
    );

    let mut wanted = scaled;
    wanted["spec"]["replicas"] = json!(4);
    let (code, _) = call(&client, "PUT", &format!("{path}/scale"), wanted.clone()).await;
    assert_eq!(code, 409, "the Scale is as old as the object was");
    wanted["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    let (code, body) = call(&client, "PUT", &format!("{path}/scale"), wanted).await;
    assert_eq!((code, body["spec"]["replicas"].as_i64()), (200, Some(4)));
}

#[tokio::test]
async fn nobody_owns_a_scale_of_zero_and_it_stays() {
    let (_cluster, client) = cluster().await;
    let path = format!("{DEPLOYMENTS}/x");
    let (code, made) = apply(&client, &path, "fermata-operator", true, deployment("x")).await;
    assert_eq!(code, 201, "{made}");
    let scale = format!("{path}/scale?fieldManager=fermata-gateway");
    let owners = async || {
        let (_, object) = call(&client, "GET", &path, Value::Null).await;
        let entries = object["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter();
        let owners = entries.filter(|entry| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null());
        let names = owners.map(|entry| entry["manager"].as_str().unwrap().to_owned());
        (
            object["spec"]["replicas"].as_i64(),
            names.collect::<Vec<_>>(),
        )
    };
    let to = async |count: i64| {
        let body = json!({"spec": {"replicas": count}});
        let (code, scaled) = call(&client, "PATCH", &scale, body).await;
        assert_eq!(code, 200, "{scaled}");
        scaled
    };
    assert_eq!(to(0).await["spec"], json!({}));
    assert_eq!(owners().await, (Some(0), vec![]));
    let mut without = deployment("x");
    without["spec"].as_object_mut().unwrap().remove("replicas");
    let (code, _) = apply(&client, &path, "fermata-operator", true, without).await;
    assert_eq!(code, 200);
    assert_eq!(owners().await, (Some(0), vec![]));
    to(3).await;
    assert_eq!(owners().await, (Some(3), vec![]));
    let (code, _) = apply(&client, &path, "other", false, deployment("x")).await;
    assert_eq!(code, 200);
    assert_eq!(owners().await, (Some(1), vec!["other".to_owned()]));
}

#[tokio::test]
async fn an_apply_that_changes_nothing_writes_nothing() {
    let (_cluster, client) = cluster().await;
    let path = format!("{DEPLOYMENTS}/x");
    let (_, first) = apply(&client, &path, "one", false, deployment("x")).await;
    let (code, second) = apply(&client, &path, "one", false, deployment("x")).await;
    assert_eq!((code, &second), (200, &first));
    assert_eq!(first["metadata"]["generation"], 1);
    let (code, body) = typed(
        &client,
        "PATCH",
        &path,
        "application/apply-patch+yaml",
        deployment("x"),
    )
    .await;
    assert_eq!(code, 422, "{body}");
    let mut managed = deployment("x");
    managed["metadata"]["managedFields"] = first["metadata"]["managedFields"].clone();
    assert_eq!(apply(&client, &path, "one", false, managed).await.0, 400);
    let mut two = deployment("x");
    two["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    let (code, body) = apply(&client, &path, "two", false, two).await;
    assert_eq!(code, 409);
    assert_eq!(
        body["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .spec.template.spec.containers[name=\"c\"].image"
    );
}

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
