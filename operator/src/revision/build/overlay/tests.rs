use serde_json::json;

use super::*;

/// The overlay of a function that is source, whose pod has a volume more.
fn parse(overlay: Value) -> Result<Overlay, OverlayError> {
    let template = json!({
        "source": {"runtime": "python", "files": {"main.py": ""}}, "podTemplate": overlay,
    });
    Overlay::of(&serde_json::from_value(template).expect("a template"))
}

/// The merged pod's part at a place.
fn merged(overlay: Value, pointer: &str) -> Value {
    let pod = parse(overlay).and_then(|overlay| overlay.over(&base()));
    let pod = serde_json::to_value(pod.expect("merged")).expect("json");
    pod.pointer(pointer).cloned().unwrap_or_default()
}

fn function(mut container: Value) -> Value {
    container["name"] = json!("function");
    json!({"spec": {"containers": [container]}})
}

fn base() -> PodTemplateSpec {
    serde_json::from_value(json!({
        "metadata": {"labels": {"fermata.dev/revision": "r"}},
        "spec": {
            "containers": [{"name": "function", "image": "a",
                "env": [{"name": "PORT", "value": "8080"}, {"name": "OWN", "value": "1"}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1}}],
            "securityContext": {"runAsNonRoot": true,
                "seccompProfile": {"type": "Localhost", "localhostProfile": "p"}},
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }))
    .expect("a pod template")
}

#[test]
fn named_things_merge_item_by_item_and_the_rest_as_a_whole() {
    let overlay = json!({
        "metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}},
        "spec": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "containers": [
                {"name": "function", "env": [{"name": "MORE", "value": "1"}],
                    "ports": [{"containerPort": 9100, "name": "metrics"}]},
                {"name": "sidecar", "image": "b"},
            ],
            "volumes": [{"name": "data", "configMap": {"name": "c"}}],
        },
    });
    assert_eq!(
        merged(overlay.clone(), "/metadata"),
        json!({"labels": {"fermata.dev/revision": "r", "team": "a"}, "annotations": {"x": "y"}})
    );
    let container = merged(overlay.clone(), "/spec/containers/0");
    assert_eq!(container["image"], "a");
    assert_eq!(
        container["env"],
        json!([{"name": "PORT", "value": "8080"}, {"name": "OWN", "value": "1"},
            {"name": "MORE", "value": "1"}])
    );
    assert_eq!(
        container["ports"],
        json!([{"name": "http", "containerPort": 8080},
            {"containerPort": 9100, "name": "metrics"}])
    );
    assert_eq!(
        merged(overlay.clone(), "/spec/containers/1"),
        json!({"name": "sidecar", "image": "b"})
    );
    assert_eq!(
        merged(overlay.clone(), "/spec/tolerations"),
        json!([{"key": "spot", "operator": "Exists"}])
    );
    assert_eq!(
        merged(overlay, "/spec/volumes"),
        json!([{"name": "data", "configMap": {"name": "c"}}])
    );
}

#[test]
fn what_can_only_be_one_takes_the_place_of_what_was_there() {
    let container = "/spec/containers/0";
    let probe = json!({"httpGet": {"path": "/ok", "port": "http"}});
    assert_eq!(
        merged(
            function(json!({"readinessProbe": probe})),
            &format!("{container}/readinessProbe")
        ),
        probe
    );
    assert_eq!(
        merged(
            function(json!({"readinessProbe": {"failureThreshold": 9}})),
            &format!("{container}/readinessProbe")
        ),
        json!({"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 9})
    );
    let hook = json!({"exec": {"command": ["sync"]}});
    assert_eq!(
        merged(
            function(json!({"lifecycle": {"preStop": hook, "postStart": hook}})),
            &format!("{container}/lifecycle")
        ),
        json!({"preStop": hook, "postStart": hook})
    );
    let from = json!({"name": "OWN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    assert_eq!(
        merged(
            function(json!({"env": [from]})),
            &format!("{container}/env/1")
        ),
        from
    );
    assert_eq!(
        merged(
            json!({"spec": {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}}),
            "/spec/securityContext"
        ),
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
}

#[test]
fn given_items_with_the_same_key_are_not_merged_with_each_other() {
    let ports = json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53},
        {"containerPort": 8080, "protocol": "UDP"}]);
    assert_eq!(
        merged(
            function(json!({"ports": ports})),
            "/spec/containers/0/ports"
        ),
        json!([{"name": "http", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"},
            {"containerPort": 53}, {"containerPort": 8080, "protocol": "UDP"}])
    );
    let spread = json!([
        {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
        {"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "ScheduleAnyway"},
    ]);
    assert_eq!(
        merged(
            json!({"spec": {"topologySpreadConstraints": spread}}),
            "/spec/topologySpreadConstraints"
        ),
        spread
    );
}

#[test]
fn what_would_do_harm_is_refused_with_a_sentence() {
    for (overlay, sentence) in [
        (
            json!({"spec": {"nodeSelectr": {}}}),
            "spec.nodeSelectr is not a field",
        ),
        (
            json!({"spec": {"nodeSelector": "x"}}),
            "not a partial PodTemplateSpec",
        ),
        (
            json!({"spec": {"nodeSelector": null}}),
            "spec.nodeSelector is null",
        ),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "lacks its name",
        ),
        (
            json!({"metadata": {"labels": {"fermata.dev/revision": "x"}}}),
            "fermata.dev/revision",
        ),
        (
            json!({"metadata": {"labels": {"fermata.dev/anything": "x"}}}),
            "fermata.dev/anything",
        ),
        (
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "x"}}}),
            "app.kubernetes.io/managed-by",
        ),
        (
            json!({"metadata": {"annotations": {"fermata.dev/draining": "x"}}}),
            "annotation fermata.dev/draining",
        ),
        (
            json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "9"}}}),
            "pod-deletion-cost",
        ),
        (
            json!({"spec": {"nodeName": "one"}}),
            "spec.nodeName cannot be given: it would go past the scheduler; use nodeSelector",
        ),
        (
            json!({"spec": {"serviceAccount": "admin"}}),
            "use serviceAccountName",
        ),
        (
            json!({"spec": {"os": {"name": "windows"}}}),
            "functions run on Linux",
        ),
        (
            json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}}),
            "spec.ephemeralContainers",
        ),
        (
            json!({"spec": {"activeDeadlineSeconds": 60}}),
            "timeouts.request",
        ),
        (
            json!({"spec": {"restartPolicy": "Never"}}),
            "restartPolicy Never",
        ),
        (
            json!({"spec": {"volumes": [{"name": "fermata-source"}]}}),
            "hold the source",
        ),
        (
            function(json!({"env": [{"name": "PORT", "value": "1"}]})),
            "variable PORT",
        ),
        (
            function(json!({"env": [{"name": "FERMATA_X", "value": "1"}]})),
            "FERMATA_X",
        ),
        (
            function(json!({"ports": [{"containerPort": 8080, "name": "web"}]})),
            "named http",
        ),
        (
            function(json!({"ports": [{"containerPort": 1, "name": "http"}]})),
            "named http",
        ),
        (
            function(json!({"volumeMounts": [{"name": "v", "mountPath": "/function/"}]})),
            "hold the source",
        ),
    ] {
        let error = parse(overlay.clone()).expect_err(&overlay.to_string());
        assert!(error.to_string().contains(sentence), "{overlay}: {error}");
    }
}

#[test]
fn the_places_of_the_source_are_free_where_there_is_none() {
    let template = json!({"image": "a", "podTemplate": {"spec": {
        "volumes": [{"name": "fermata-source", "emptyDir": {}}],
        "containers": [{"name": "function",
            "volumeMounts": [{"name": "fermata-source", "mountPath": "/function"}]}],
    }}});
    let template = serde_json::from_value(template).expect("a template");
    Overlay::of(&template).expect("it is allowed");
}
