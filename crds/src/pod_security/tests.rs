//! The words of each check are compared with those of a real API server in local/apiserver/tests.

use serde_json::{Value, json};

use super::*;

/// A pod that meets the restricted standard, with one thing changed.
fn pod(pointer: &str, value: Value) -> (ObjectMeta, PodSpec) {
    let mut pod = json!({
        "metadata": {"annotations": {}},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [{"name": "i", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            "containers": [{"name": "c", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    });
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    if !field.is_empty() {
        pod.pointer_mut(parent).expect(parent)[field.replace("~1", "/")] = value;
    }
    let metadata = serde_json::from_value(pod["metadata"].take()).expect("metadata");
    let spec = serde_json::from_value(pod["spec"].take()).expect("a spec");
    (metadata, spec)
}

fn broken(level: Level, pointer: &str, value: Value) -> Vec<String> {
    let (metadata, spec) = pod(pointer, value);
    let violations = violations(level, &metadata, &spec);
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_hardened_pod_meets_every_standard() {
    for level in [Level::Privileged, Level::Baseline, Level::Restricted] {
        assert!(broken(level, "/", json!(null)).is_empty());
        assert_eq!(Level::parse(level.name()), Some(level));
    }
}

#[test]
fn what_leads_out_of_a_container_breaks_both_standards() {
    for (pointer, value) in [
        ("/spec/hostNetwork", json!(true)),
        ("/spec/hostPID", json!(true)),
        ("/spec/hostIPC", json!(true)),
        (
            "/spec/volumes",
            json!([{"name": "v", "hostPath": {"path": "/"}}]),
        ),
        (
            "/spec/volumes",
            json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 1, "hostPort": 1}]),
        ),
        (
            "/spec/initContainers/0/ports",
            json!([{"containerPort": 1, "hostPort": 1}]),
        ),
        ("/spec/containers/0/securityContext/privileged", json!(true)),
        (
            "/spec/initContainers/0/securityContext/privileged",
            json!(true),
        ),
        (
            "/spec/ephemeralContainers",
            json!([{"name": "e", "securityContext": {"privileged": true}}]),
        ),
        (
            "/spec/containers/0/securityContext/capabilities",
            json!({"add": ["SYS_ADMIN"], "drop": ["ALL"]}),
        ),
        (
            "/spec/containers/0/securityContext/procMount",
            json!("Unmasked"),
        ),
        ("/spec/securityContext/seLinuxOptions", json!({"role": "r"})),
        (
            "/spec/securityContext/sysctls",
            json!([{"name": "kernel.msgmax", "value": "1"}]),
        ),
        (
            "/spec/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
        ),
        (
            "/spec/containers/0/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
        ),
        (
            "/spec/securityContext/appArmorProfile",
            json!({"type": "Unconfined"}),
        ),
        (
            "/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1c",
            json!("unconfined"),
        ),
        (
            "/spec/securityContext/windowsOptions",
            json!({"hostProcess": true}),
        ),
        (
            "/spec/containers/0/livenessProbe",
            json!({"httpGet": {"host": "169.254.169.254", "port": 80}}),
        ),
        (
            "/spec/containers/0/lifecycle",
            json!({"preStop": {"tcpSocket": {"host": "127.0.0.1", "port": 80}}}),
        ),
    ] {
        for level in [Level::Baseline, Level::Restricted] {
            let broken = broken(level, pointer, value.clone());
            assert!(!broken.is_empty(), "{level:?} {pointer}");
        }
        assert!(broken(Level::Privileged, pointer, value).is_empty());
    }
}

#[test]
fn what_hardened_pods_do_without_breaks_the_restricted_standard_alone() {
    for (pointer, value) in [
        ("/spec/containers/0/securityContext", json!({})),
        ("/spec/initContainers/0/securityContext", json!(null)),
        (
            "/spec/containers/0/securityContext/allowPrivilegeEscalation",
            json!(true),
        ),
        (
            "/spec/containers/0/securityContext/capabilities",
            json!({"drop": []}),
        ),
        (
            "/spec/containers/0/securityContext/capabilities",
            json!({"add": ["CHOWN"], "drop": ["ALL"]}),
        ),
        ("/spec/securityContext/runAsNonRoot", json!(false)),
        (
            "/spec/containers/0/securityContext/runAsNonRoot",
            json!(false),
        ),
        ("/spec/securityContext/runAsUser", json!(0)),
        ("/spec/initContainers/0/securityContext/runAsUser", json!(0)),
        ("/spec/securityContext", json!({"runAsNonRoot": true})),
        (
            "/spec/volumes",
            json!([{"name": "v", "nfs": {"server": "a", "path": "/"}}]),
        ),
    ] {
        let restricted = broken(Level::Restricted, pointer, value.clone());
        assert!(!restricted.is_empty(), "{pointer}");
        let baseline = broken(Level::Baseline, pointer, value);
        assert!(baseline.is_empty(), "{pointer}: {baseline:?}");
    }
}

#[test]
fn in_a_user_namespace_of_its_own_a_pod_may_be_root() {
    let broken = |level, pointer: &str, value: Value, own: bool| {
        let (metadata, mut spec) = pod(pointer, value);
        spec.host_users = Some(!own);
        violations(level, &metadata, &spec).len()
    };
    for (pointer, value) in [
        ("/spec/securityContext/runAsUser", json!(0)),
        ("/spec/containers/0/securityContext/runAsUser", json!(0)),
        ("/spec/securityContext/runAsNonRoot", json!(false)),
        ("/spec/securityContext/runAsNonRoot", json!(null)),
    ] {
        assert_eq!(
            broken(Level::Restricted, pointer, value.clone(), true),
            0,
            "{pointer}"
        );
        assert_eq!(
            broken(Level::Restricted, pointer, value, false),
            1,
            "{pointer}"
        );
    }
    // All of /proc is for the baseline only, and everything else stays forbidden.
    let mount = (
        "/spec/containers/0/securityContext/procMount",
        json!("Unmasked"),
    );
    assert_eq!(broken(Level::Baseline, mount.0, mount.1.clone(), true), 0);
    assert_eq!(broken(Level::Baseline, mount.0, mount.1.clone(), false), 1);
    assert_eq!(broken(Level::Restricted, mount.0, mount.1, true), 1);
    let node = json!([{"name": "v", "hostPath": {"path": "/"}}]);
    assert!(broken(Level::Restricted, "/spec/volumes", node, true) > 0);
}
