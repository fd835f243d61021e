//! The baseline standard: nothing that is known to lead out of a container.

use serde_json::Value;

use super::{
    Violation,
    containers::{
        all, counted, fields, items, named, note, plural, pod_and, quoted, subject, text,
    },
};

/// Capabilities that a container runtime gives by default.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Kernel parameters of a pod's own namespaces.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

const SELINUX_TYPES: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];

const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Everything that a pod does against the standard. `restricted` leaves out what the restricted
/// standard checks more strictly.
pub(super) fn check(metadata: &Value, spec: &Value, restricted: bool) -> Vec<Violation> {
    let mut found = vec![app_armor(metadata, spec)];
    if !restricted {
        found.push(capabilities(spec));
    }
    found.push(host_namespaces(spec));
    if !restricted {
        found.push(host_paths(spec));
    }
    found.extend([
        host_ports(spec),
        probe_hosts(spec),
        privileged(spec),
        proc_mount(spec, restricted),
    ]);
    found.push(se_linux(spec));
    if !restricted {
        found.push(seccomp(spec));
    }
    found.extend([sysctls(spec), windows(spec)]);
    found.into_iter().flatten().collect()
}

fn app_armor(metadata: &Value, spec: &Value) -> Option<Violation> {
    let bad = |context: &Value| matches!(context["appArmorProfile"]["type"].as_str(), Some(kind) if !matches!(kind, "RuntimeDefault" | "Localhost"));
    let mut values = Vec::new();
    let pod = bad(&spec["securityContext"]);
    let containers = named(spec, |one| bad(&one["securityContext"]));
    let contexts = std::iter::once(spec).chain(all(spec));
    for one in contexts
        .map(|one| &one["securityContext"])
        .filter(|one| bad(one))
    {
        let kind = text(&one["appArmorProfile"], "type");
        note(&mut values, format!("\"{kind}\""));
    }
    let mut annotations = 0;
    for (key, value) in fields(&metadata["annotations"]) {
        let value = value.as_str().unwrap_or_default();
        let good =
            value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        if key.starts_with(APPARMOR_ANNOTATION) && !good {
            annotations += 1;
            note(&mut values, format!("\"{key}=\"{value}\"\""));
        }
    }
    let mut who: Vec<String> = pod_and(pod, &containers).into_iter().collect();
    if annotations > 0 {
        who.push(plural("annotation", annotations));
    }
    (!who.is_empty()).then(|| {
        Violation::new(
            plural("forbidden AppArmor profile", values.len()),
            format!(
                "{} must not set AppArmor profile type to {}",
                who.join(" and "),
                values.join(", ")
            ),
        )
    })
}

/// Capabilities that containers add beyond `allowed`, and who does so.
pub(super) fn added(spec: &Value, allowed: &[&str]) -> Option<String> {
    let beyond = |one: &Value| -> Vec<String> {
        items(&one["securityContext"]["capabilities"], "add")
            .filter_map(|capability| capability.as_str())
            .filter(|capability| !allowed.contains(capability))
            .map(str::to_owned)
            .collect()
    };
    let mut capabilities: Vec<String> = all(spec).flat_map(beyond).collect();
    capabilities.sort();
    capabilities.dedup();
    let names = named(spec, |one| !beyond(one).is_empty());
    (!names.is_empty()).then(|| {
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            subject(&names),
            quoted(&capabilities)
        )
    })
}

fn capabilities(spec: &Value) -> Option<Violation> {
    let detail = added(spec, &CAPABILITIES)?;
    Some(Violation::new("non-default capabilities", detail))
}

fn host_namespaces(spec: &Value) -> Option<Violation> {
    let used = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
    let used: Vec<String> = used
        .filter(|field| spec[field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| Violation::new("host namespaces", used.join(", ")))
}

fn host_paths(spec: &Value) -> Option<Violation> {
    let volumes = items(spec, "volumes").filter(|volume| volume["hostPath"].is_object());
    let names: Vec<String> = volumes
        .map(|volume| text(volume, "name").to_owned())
        .collect();
    (!names.is_empty()).then(|| Violation::new("hostPath volumes", counted("volume", &names)))
}

fn host_ports(spec: &Value) -> Option<Violation> {
    let used = |one: &Value| -> Vec<i64> {
        let ports = items(one, "ports").filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).collect()
    };
    let names = named(spec, |one| !used(one).is_empty());
    let mut ports: Vec<i64> = all(spec).flat_map(used).collect();
    ports.sort_unstable();
    ports.dedup();
    let listed: Vec<String> = ports.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        Violation::new(
            "hostPort",
            format!(
                "{} {} {} {}",
                subject(&names),
                uses(names.len()),
                plural("hostPort", ports.len()),
                listed.join(", ")
            ),
        )
    })
}

/// The verb that goes with this many subjects.
pub(super) fn uses(count: usize) -> &'static str {
    if count == 1 { "uses" } else { "use" }
}

fn probe_hosts(spec: &Value) -> Option<Violation> {
    let hosts = |one: &Value| -> Vec<String> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|name| &one[name]);
        let hooks = ["postStart", "preStop"].map(|name| &one["lifecycle"][name]);
        let actions = probes.into_iter().chain(hooks);
        let actions = actions.flat_map(|action| [&action["httpGet"], &action["tcpSocket"]]);
        actions
            .map(|action| text(action, "host").to_owned())
            .filter(|host| !host.is_empty())
            .collect()
    };
    let names = named(spec, |one| !hosts(one).is_empty());
    let mut used: Vec<String> = all(spec).flat_map(hosts).collect();
    used.sort();
    used.dedup();
    (!names.is_empty()).then(|| {
        Violation::new(
            "probe or lifecycle host",
            format!(
                "{} {} {}",
                subject(&names),
                uses(names.len()),
                counted("probe or lifecycle host", &used)
            ),
        )
    })
}

fn privileged(spec: &Value) -> Option<Violation> {
    let names = named(spec, |one| one["securityContext"]["privileged"] == true);
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.privileged=true",
            subject(&names)
        );
        Violation::new("privileged", detail)
    })
}

fn proc_mount(spec: &Value, restricted: bool) -> Option<Violation> {
    // In a user namespace of its own a pod may see all of /proc.
    if !restricted && spec["hostUsers"] == false {
        return None;
    }
    let bad = |one: &Value| {
        let mount = text(&one["securityContext"], "procMount").to_owned();
        Some(mount).filter(|mount| !mount.is_empty() && mount != "Default")
    };
    let names = named(spec, |one| bad(one).is_some());
    let mut mounts: Vec<String> = all(spec).filter_map(bad).collect();
    mounts.sort();
    mounts.dedup();
    (!names.is_empty()).then(|| {
        Violation::new(
            "procMount",
            format!(
                "{} must not set securityContext.procMount to {}",
                subject(&names),
                quoted(&mounts)
            ),
        )
    })
}

fn se_linux(spec: &Value) -> Option<Violation> {
    let bad = |one: &Value| {
        let options = &one["securityContext"]["seLinuxOptions"];
        !SELINUX_TYPES.contains(&text(options, "type"))
            || !text(options, "user").is_empty()
            || !text(options, "role").is_empty()
    };
    let who = pod_and(bad(spec), &named(spec, bad))?;
    let mut types = Vec::new();
    let mut faults = Vec::new();
    let mut later = [false; 2];
    for one in std::iter::once(spec)
        .chain(all(spec))
        .filter(|one| bad(one))
    {
        let options = &one["securityContext"]["seLinuxOptions"];
        let kind = text(options, "type");
        if !SELINUX_TYPES.contains(&kind) {
            note(&mut types, kind);
        }
        later[0] |= !text(options, "user").is_empty();
        later[1] |= !text(options, "role").is_empty();
    }
    if !types.is_empty() {
        faults.push(counted("type", &types));
    }
    for (set, field) in later.into_iter().zip(["user", "role"]) {
        if set {
            faults.push(format!("{field} may not be set"));
        }
    }
    Some(Violation::new(
        "seLinuxOptions",
        format!(
            "{who} set forbidden securityContext.seLinuxOptions: {}",
            faults.join("; ")
        ),
    ))
}

/// Who turns the filter of system calls off.
pub(super) fn unconfined(spec: &Value) -> Option<String> {
    let bad = |one: &Value| {
        let kind = text(&one["securityContext"]["seccompProfile"], "type");
        !matches!(kind, "" | "RuntimeDefault" | "Localhost")
    };
    let who = pod_and(bad(spec), &named(spec, bad))?;
    Some(format!(
        "{who} must not set securityContext.seccompProfile.type to \"Unconfined\""
    ))
}

fn seccomp(spec: &Value) -> Option<Violation> {
    Some(Violation::new("seccompProfile", unconfined(spec)?))
}

fn sysctls(spec: &Value) -> Option<Violation> {
    let given = items(&spec["securityContext"], "sysctls");
    let given = given.map(|sysctl| text(sysctl, "name"));
    let bad: Vec<&str> = given.filter(|name| !SYSCTLS.contains(name)).collect();
    (!bad.is_empty()).then(|| {
        let reason = plural("forbidden sysctl", bad.len());
        Violation::new(reason, bad.join(", "))
    })
}

fn windows(spec: &Value) -> Option<Violation> {
    let bad = |one: &Value| one["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let who = pod_and(bad(spec), &named(spec, bad))?;
    Some(Violation::new(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    ))
}
