//! A bad manifest is refused when it is applied, with a sentence that says what to do.

use fermata_crds::Revision;
use fermata_tests::Space;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// Applies a Function with this spec and gives the API's refusal.
async fn refusal(space: &Space, spec: Value) -> String {
    let function = json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": "bad"}, "spec": spec});
    match space.try_apply(&function).await {
        Err(kube::Error::Api(status)) => {
            assert!(
                status.code == 422 || status.code == 400 || status.code == 500,
                "{status:?}"
            );
            status.message.clone()
        }
        other => panic!("not refused: {other:?}: {function}"),
    }
}

/// A valid spec with something added.
fn with(more: Value) -> Value {
    let mut spec = json!({"image": "registry.example.com/a:1"});
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    spec
}

#[tokio::test]
async fn each_rule_is_kept_and_says_what_to_do() {
    let space = Space::new().await;
    let source = |source: Value| json!({ "source": source });
    let cases = [
        (json!({}), "exactly one of image"),
        (
            with(source(json!({"runtime": "python", "files": {"a": "b"}}))),
            "exactly one of image",
        ),
        (
            source(json!({"runtime": "python"})),
            "either in source.files",
        ),
        (
            source(json!({"runtime": "python", "files": {}})),
            "at least one file",
        ),
        (
            source(json!({"runtime": "python", "files": {"../x": ""}})),
            "a file's path",
        ),
        (
            source(json!({"runtime": "python", "files": {"..data": ""}})),
            "a file's path",
        ),
        (
            source(json!({"runtime": "python", "files": {"a//b": ""}})),
            "a file's path",
        ),
        (
            source(json!({"runtime": "python", "files": {"a\\b": ""}})),
            "a file's path",
        ),
        (
            source(json!({"runtime": "python", "binaryFiles": {"/a": "eA=="}})),
            "a file's path",
        ),
        (
            source(json!({"runtime": "python", "binaryFiles": {"a": "no base64!"}})),
            "should match",
        ),
        (
            source(json!({"runtime": "python", "files": {"a": ""}, "configMap": {"name": "a"}})),
            "either in source.files",
        ),
        (
            source(json!({"runtime": "python", "files": {"a": ""}, "build": {"timeout": "2h"}})),
            "from 1s to 1h",
        ),
        (
            source(json!({"runtime": "python", "files": {"a": ""},
                "build": {"env": [{"name": "FERMATA_TARGET", "value": "/"}]}})),
            "set by Fermata",
        ),
        (source(json!({"files": {"a": ""}})), "runtime"),
        (
            json!({"source": {"runtime": "python", "files": {"a": ""}}, "command": ["x"]}),
            "the runtime decides",
        ),
        (with(json!({"image": "with space"})), "without white space"),
        (with(json!({"port": 0})), "between 1 and 65535"),
        (with(json!({"port": 70000})), "port"),
        (with(json!({"protocol": "spdy"})), "protocol"),
        (
            with(json!({"concurrency": 1001})),
            "between 0 (no limit) and 1000",
        ),
        (
            with(json!({"env": [{"name": "PORT", "value": "1"}]})),
            "set by Fermata",
        ),
        (
            with(json!({"env": [{"name": "FERMATA_X", "value": "1"}]})),
            "set by Fermata",
        ),
        (
            with(json!({"env": [{"name": "A=B", "value": "1"}]})),
            "must not be empty or contain",
        ),
        (
            with(json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]})),
            "uplicate",
        ),
        (
            with(json!({"timeouts": {"request": "10"}})),
            "written like 300ms",
        ),
        (
            with(json!({"timeouts": {"request": "0s"}})),
            "written like 300ms",
        ),
        (
            with(json!({"timeouts": {"request": "25h"}})),
            "from 1ms to 24h",
        ),
        (
            with(json!({"scale": {"min": 5, "max": 2}})),
            "at least scale.min",
        ),
        (with(json!({"scale": {"min": 30}})), "give scale.max too"),
        (with(json!({"scale": {"max": 0}})), "delete it"),
        (with(json!({"scale": {"initial": 21}})), "at most scale.max"),
        (with(json!({"scale": {"utilization": 101}})), "in percent"),
        (with(json!({"scale": {"window": "1s"}})), "from 6s to 1h"),
        (
            with(json!({"scale": {"idleAfter": "99999999999999999999h"}})),
            "from 0s to 168h",
        ),
        (
            with(json!({"scale": {"idleAfter": "169h"}})),
            "from 0s to 168h",
        ),
        (
            with(json!({"scale": {"downDelay": "61m"}})),
            "from 0s to 1h",
        ),
        (
            with(json!({"timeouts": {"idle": "99999h99999h99999h99999h"}})),
            "from 1ms to 24h",
        ),
        (
            with(json!({"timeouts": {"firstByte": "-5s"}})),
            "from 1ms to 24h",
        ),
        (
            with(json!({"timeouts": {"start": "1e3s"}})),
            "from 1ms to 24h",
        ),
        (with(json!({"scale": {"metric": "cpu"}})), "metric"),
        (
            with(
                json!({"scale": {"schedules": [{"cron": "0 8 * *", "duration": "1h", "min": 1}]}}),
            ),
            "five fields",
        ),
        (
            with(json!({"scale": {"schedules": [{"cron": "0 8 * * *", "duration": "1h"}]}})),
            "needs min, max or both",
        ),
        (
            with(json!({"expose": {"hosts": ["https://x.example"]}})),
            "plain DNS name",
        ),
        (
            with(json!({"expose": {"hosts": ["*.example"]}})),
            "plain DNS name",
        ),
        (with(json!({"expose": {"path": "api"}})), "absolute path"),
        (
            with(json!({"expose": {"path": "/function/x"}})),
            "the gateway's own",
        ),
        (
            with(json!({"security": {"runAsUser": 0}})),
            "user 0 is root",
        ),
        (
            with(json!({"revisionHistoryLimit": 101})),
            "between 0 and 100",
        ),
        (with(json!({"scale": {"min": "one"}})), "min"),
        (
            with(json!({"concurrency": 5_000_000_000_u64})),
            "should be less than or equal to",
        ),
        (
            with(json!({"imagePullPolicy": "Sometimes"})),
            "Always, IfNotPresent or Never",
        ),
        (
            with(json!({"serviceAccountName": "foo@bar"})),
            "serviceAccountName must be the name of a ServiceAccount",
        ),
        (
            with(json!({"security": {"runtimeClassName": "Gvisor"}})),
            "the name of a RuntimeClass",
        ),
        (
            with(json!({"security": {"seccompProfile": {"type": "None"}}})),
            "RuntimeDefault, Localhost or Unconfined",
        ),
        (
            with(json!({"security": {"seccompProfile": {"type": "Localhost"}}})),
            "needs localhostProfile",
        ),
        (
            source(json!({"runtime": "python", "configMap": {"name": "my_code"}})),
            "the name of a ConfigMap",
        ),
        (
            with(json!({"imagePullSecrets": [{"name": "a/b"}]})),
            "must name Secrets",
        ),
        (
            with(json!({"volumes": [{"name": "My.Data", "emptyDir": {}}]})),
            "the name of a volume",
        ),
        (
            with(json!({"volumes": [{"name": "v", "configMap": {"name": "A"}}]})),
            "configMap.name must be",
        ),
        (
            with(json!({"volumes": [{"name": "v", "secret": {"secretName": "a..b"}}]})),
            "secret.secretName must be",
        ),
        (
            with(json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]})),
            "must name volumes of spec.volumes",
        ),
        (
            with(json!({"volumes": [{"name": "date", "emptyDir": {}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]})),
            "must name volumes of spec.volumes",
        ),
        (
            with(json!({"volumes": [{"name": "v", "emptyDir": {}}],
                "volumeMounts": [{"name": "v", "mountPath": "/a:b"}]})),
            "must not be empty or contain ':'",
        ),
        (
            json!({"source": {"runtime": "python", "files": {"a": ""}},
                "volumes": [{"name": "v", "emptyDir": {}}],
                "volumeMounts": [{"name": "v", "mountPath": "/function/"}]}),
            "/function is taken",
        ),
        (
            with(json!({"resources": {"limits": {"memory": "12XB"}}})),
            "quantities such as 500m",
        ),
        (
            with(json!({"resources": {"requests": {"cpu": "one"}}})),
            "quantities such as 500m",
        ),
        (
            with(json!({"resources": {"requests": {"ram": "1Gi"}}})),
            "resources are cpu, memory",
        ),
        (
            with(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}})),
            "at most resources.limits",
        ),
        (
            with(json!({"env": [{"name": "ÄÖ", "value": "1"}]})),
            "printable ASCII",
        ),
        (
            with(json!({"env": [{"name": "A", "value": "1",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]})),
            "either value or valueFrom",
        ),
        (
            with(json!({"env": [{"name": "A",
                "valueFrom": {"secretKeyRef": {"name": "My Secret", "key": "k"}}}]})),
            "secretKeyRef.name must be",
        ),
        (
            with(json!({"env": [{"name": "A",
                "valueFrom": {"configMapKeyRef": {"name": "-a", "key": "k"}}}]})),
            "configMapKeyRef.name must be",
        ),
        (
            with(json!({"envFrom": [{"prefix": "A_"}]})),
            "exactly one of configMapRef and secretRef",
        ),
        (
            with(json!({"envFrom": [{"secretRef": {"name": "UPPER"}}]})),
            "secretRef.name must be",
        ),
        (
            with(
                json!({"readinessProbe": {"httpGet": {"port": 8080}, "tcpSocket": {"port": 8080}}}),
            ),
            "at most one of exec",
        ),
        (
            with(json!({"livenessProbe": {"periodSeconds": 5}})),
            "exactly one of exec",
        ),
        (
            with(json!({"startupProbe": {"tcpSocket": {"port": 70000}}})),
            "less than or equal to 65535",
        ),
        (
            with(json!({"readinessProbe": {"httpGet": {"port": ""}}})),
            "port",
        ),
        (
            with(json!({"livenessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": -1}})),
            "must not be negative",
        ),
        (
            with(json!({"livenessProbe": {"tcpSocket": {"port": "http"}, "successThreshold": 2}})),
            "successThreshold must be 1",
        ),
        (with(json!({"unknown": 1})), "unknown"),
        (with(json!({"scale": {"minimum": 1}})), "minimum"),
    ];
    for (spec, says) in cases {
        let message = refusal(&space, spec.clone()).await;
        assert!(
            message.contains(says),
            "{spec} should be refused with \"{says}\", was: {message}"
        );
    }
}

#[tokio::test]
async fn names_leave_room_for_what_is_derived_from_them() {
    let space = Space::new().await;
    let named = |name: &str| json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": {"image": "a", "scale": {"initial": 0}}});
    for name in ["1abc", &"a".repeat(51), "a.b", "a-"] {
        let error = space
            .try_apply(&named(name))
            .await
            .expect_err("it is refused")
            .to_string();
        assert!(
            error.contains("50 characters") || error.contains("subdomain"),
            "{error}"
        );
    }
    space.apply(&named(&"a".repeat(50))).await;
    space.ready(&"a".repeat(50)).await;
}

#[tokio::test]
async fn what_is_valid_is_accepted() {
    let space = Space::new().await;
    let spec = json!({
        "image": "registry.example.com/a:1", "command": ["sleep"], "args": ["1"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "volumes": [{"name": "tmp", "emptyDir": {}}], "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "port": 9000, "protocol": "h2c", "concurrency": 10,
        "timeouts": {"request": "1m30s", "firstByte": "500ms", "idle": "10s", "start": "1m"},
        "scale": {"min": 0, "max": 3, "initial": 0, "metric": "rps", "target": 50, "utilization": 80, "window": "30s", "idleAfter": "0s",
            "downDelay": "10s", "activation": 2, "queue": 10,
            "schedules": [{"cron": "0 8 * * MON-FRI", "timezone": "Europe/Berlin", "duration": "10h", "min": 1}]},
        "expose": {"visibility": "Public", "hosts": [format!("a.{}.example", space.name)], "path": format!("/{}/orders", space.name)},
        "security": {"profile": "restricted", "runAsUser": 1000},
        "revisionHistoryLimit": 3,
        "podTemplate": {"metadata": {"labels": {"team": "shop"}}, "spec": {"nodeSelector": {"kubernetes.io/os": "linux"}}},
    });
    space.function("good", spec).await;
    space.ready("good").await;
}

#[tokio::test]
async fn what_is_valid_source_is_accepted() {
    let space = Space::new().await;
    let spec = json!({
        "source": {
            "runtime": "command", "handler": "cat",
            "files": {"a b/ü.txt": "x", ".hidden": "", "a/..b": "", "lib/deep/er/x.py": ""},
            "binaryFiles": {"data/logo.png": "iVBORw==", "all": "/+/+", "none": ""},
        },
        "scale": {"initial": 0},
    });
    space.function("good", spec).await;
    space.ready("good").await;
}

#[tokio::test]
async fn what_only_looks_wrong_is_accepted() {
    let space = Space::new().await;
    for (number, more) in [
        json!({"serviceAccountName": "system.orders-2"}),
        json!({"security": {"runAsUser": 0, "profile": "baseline"}}),
        json!({"security": {"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}}}),
        json!({"resources": {"requests": {"cpu": 1, "memory": "1.5Gi", "ephemeral-storage": "2e6"},
            "limits": {"cpu": "1000m", "memory": "1610612736", "example.com/gpu": "1"}}}),
        json!({"resources": {"limits": {}}}),
        // A volume of podTemplate.
        json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "podTemplate": {"spec": {"volumes": [{"name": "data", "emptyDir": {}}]}}}),
        json!({"env": [{"name": "a.b-c", "value": ""}, {"name": "B", "value": "",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
        json!({"readinessProbe": {"periodSeconds": 3}}),
        json!({"readinessProbe": {"httpGet": {"port": "http"}, "successThreshold": 2}}),
        json!({"livenessProbe": {"grpc": {"port": 8080}}}),
        json!({"startupProbe": {"exec": {"command": ["true"]}, "successThreshold": 1}}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut spec = with(more.clone());
        spec["scale"] = json!({"initial": 0});
        let name = format!("odd-{number}");
        space.function(&name, spec).await;
        space.ready(&name).await;
    }
}

#[tokio::test]
async fn a_revision_never_changes_but_for_its_scale() {
    let space = Space::new().await;
    space
        .function("hello", json!({"image": "a", "scale": {"initial": 0}}))
        .await;
    space.ready("hello").await;
    for (change, says) in [
        (
            json!({"template": {"image": "b"}}),
            "a Revision's template never changes",
        ),
        (
            json!({"commit": "0".repeat(40)}),
            "a Revision's commit never changes",
        ),
        (
            json!({"buildRequested": "now"}),
            "a Revision's buildRequested never changes",
        ),
        (
            json!({"runtime": {"image": "b", "command": ["b"]}}),
            "a Revision's runtime never changes",
        ),
    ] {
        let patch = Patch::Merge(json!({"spec": change}));
        let error = space
            .api::<Revision>()
            .patch("hello-00001", &PatchParams::default(), &patch)
            .await
            .expect_err("it is refused");
        assert!(error.to_string().contains(says), "{error}");
    }
}
