//! The restricted standard: what the baseline leaves open and hardened pods do without.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::json;

use super::{
    Violation, baseline,
    containers::{Common, named, note, plural, quoted, subject, who},
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
pub(super) fn check(spec: &PodSpec) -> Vec<Violation> {
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
fn is_windows(spec: &PodSpec) -> bool {
    spec.os.as_ref().is_some_and(|os| os.name == "windows")
}

fn privilege_escalation(spec: &PodSpec) -> Option<Violation> {
    let names = named(spec, |one| {
        let context = one.context;
        context.and_then(|context| context.allow_privilege_escalation) != Some(false)
    });
    (!names.is_empty() && !is_windows(spec)).then(|| {
        let detail = format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            subject(&names)
        );
        Violation::new("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(spec: &PodSpec) -> Option<Violation> {
    if is_windows(spec) {
        return None;
    }
    let names = named(spec, |one| {
        let capabilities = one
            .context
            .and_then(|context| context.capabilities.as_ref());
        let dropped = capabilities.and_then(|capabilities| capabilities.drop.as_ref());
        !dropped.is_some_and(|dropped| dropped.iter().any(|name| name == "ALL"))
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

fn volumes(spec: &PodSpec) -> Option<Violation> {
    let mut names = Vec::new();
    let mut kinds = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        // Every field but the name is a type.
        let fields = json!(volume);
        let given = fields.as_object().into_iter().flatten();
        // A volume of two types is invalid; that is not for this check to rely on.
        let forbidden = given
            .map(|(field, _)| field.as_str())
            .filter(|field| *field != "name" && !VOLUMES.contains(field));
        let before = names.len();
        for kind in forbidden {
            names.truncate(before);
            names.push(volume.name.clone());
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
fn is_root_elsewhere(spec: &PodSpec) -> bool {
    spec.host_users == Some(false)
}

fn run_as_non_root(spec: &PodSpec) -> Option<Violation> {
    if is_root_elsewhere(spec) {
        return None;
    }
    let reason = "runAsNonRoot != true";
    if let Some(who) = who(spec, |common| common.run_as_non_root == Some(false)) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Violation::new(reason, detail));
    }
    let silent = named(spec, |one| one.common().run_as_non_root.is_none());
    let pod = Common::of_pod(spec).run_as_non_root;
    (pod.is_none() && !silent.is_empty()).then(|| {
        let who = subject(&silent);
        let detail = format!("pod or {who} must set securityContext.runAsNonRoot=true");
        Violation::new(reason, detail)
    })
}

fn run_as_user(spec: &PodSpec) -> Option<Violation> {
    if is_root_elsewhere(spec) {
        return None;
    }
    let who = who(spec, |common| common.run_as_user == Some(0))?;
    let detail = format!("{who} must not set runAsUser=0");
    Some(Violation::new("runAsUser=0", detail))
}

fn seccomp(spec: &PodSpec) -> Option<Violation> {
    if is_windows(spec) {
        return None;
    }
    let says = |common: Common<'_>| {
        common
            .seccomp
            .is_some_and(|profile| !profile.type_.is_empty())
    };
    if let Some(detail) = baseline::unconfined(spec) {
        return Some(Violation::new("seccompProfile", detail));
    }
    let silent = named(spec, |one| !says(one.common()));
    (!says(Common::of_pod(spec)) && !silent.is_empty()).then(|| {
        let who = subject(&silent);
        let detail = format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        );
        Violation::new("seccompProfile", detail)
    })
}
