//! The restricted standard: what the baseline leaves open and hardened pods do without.

use serde_json::Value;

use super::{
    Violation, baseline,
    containers::{fields, items, named, note, plural, pod_and, quoted, subject, text},
};

/// Volumes that hold only what the cluster itself puts there.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Everything that a pod does against the standard, beyond what the baseline checks.
pub(super) fn check(spec: &Value) -> Vec<Violation> {
    let found = [
        privilege_escalation(spec),
        capabilities(spec),
        volumes(spec),
        run_as_non_root(spec),
        run_as_user(spec),
        seccomp(spec),
    ];
    found.into_iter().flatten().collect()
}

/// Windows has neither these capabilities nor this filter.
fn is_windows(spec: &Value) -> bool {
    text(&spec["os"], "name") == "windows"
}

fn privilege_escalation(spec: &Value) -> Option<Violation> {
    let names = named(spec, |one| {
        one["securityContext"]["allowPrivilegeEscalation"] != false
    });
    (!names.is_empty() && !is_windows(spec)).then(|| {
        let detail = format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            subject(&names)
        );
        Violation::new("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(spec: &Value) -> Option<Violation> {
    if is_windows(spec) {
        return None;
    }
    let names = named(spec, |one| {
        !items(&one["securityContext"]["capabilities"], "drop").any(|name| name == "ALL")
    });
    let mut details = Vec::new();
    if !names.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            subject(&names)
        ));
    }
    details.extend(baseline::added(spec, &["NET_BIND_SERVICE"]));
    (!details.is_empty()).then(|| Violation::new("unrestricted capabilities", details.join("; ")))
}

fn volumes(spec: &Value) -> Option<Violation> {
    let mut names = Vec::new();
    let mut kinds = Vec::new();
    for volume in items(spec, "volumes") {
        let given = fields(volume).map(|(field, _)| field.as_str());
        // A volume of two types is invalid; that is not for this check to rely on.
        let forbidden = given.filter(|field| *field != "name" && !VOLUMES.contains(field));
        let before = names.len();
        for kind in forbidden {
            names.truncate(before);
            names.push(text(volume, "name").to_owned());
            note(&mut kinds, kind);
        }
    }
    kinds.sort();
    (!names.is_empty()).then(|| {
        Violation::new(
            "restricted volume types",
            format!(
                "{} {} {} {} {}",
                plural("volume", names.len()),
                quoted(&names),
                baseline::uses(names.len()),
                plural("restricted volume type", kinds.len()),
                quoted(&kinds)
            ),
        )
    })
}

/// Whether root in the pod is nobody on the node, since the pod has a user namespace of its own. Since
/// Kubernetes 1.35 it may be root then.
fn is_root_elsewhere(spec: &Value) -> bool {
    spec["hostUsers"] == false
}

fn run_as_non_root(spec: &Value) -> Option<Violation> {
    if is_root_elsewhere(spec) {
        return None;
    }
    let says = |one: &Value| one["securityContext"]["runAsNonRoot"].as_bool();
    let reason = "runAsNonRoot != true";
    let explicit = named(spec, |one| says(one) == Some(false));
    let pod = says(spec);
    if let Some(who) = pod_and(pod == Some(false), &explicit) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Violation::new(reason, detail));
    }
    let silent = named(spec, |one| says(one).is_none());
    (pod.is_none() && !silent.is_empty()).then(|| {
        let who = subject(&silent);
        let detail = format!("pod or {who} must set securityContext.runAsNonRoot=true");
        Violation::new(reason, detail)
    })
}

fn run_as_user(spec: &Value) -> Option<Violation> {
    if is_root_elsewhere(spec) {
        return None;
    }
    let root = |one: &Value| one["securityContext"]["runAsUser"] == 0;
    let who = pod_and(root(spec), &named(spec, root))?;
    let detail = format!("{who} must not set runAsUser=0");
    Some(Violation::new("runAsUser=0", detail))
}

fn seccomp(spec: &Value) -> Option<Violation> {
    if is_windows(spec) {
        return None;
    }
    let says = |one: &Value| !text(&one["securityContext"]["seccompProfile"], "type").is_empty();
    if let Some(detail) = baseline::unconfined(spec) {
        return Some(Violation::new("seccompProfile", detail));
    }
    let silent = named(spec, |one| !says(one));
    (!says(spec) && !silent.is_empty()).then(|| {
        let who = subject(&silent);
        let detail = format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        );
        Violation::new("seccompProfile", detail)
    })
}
