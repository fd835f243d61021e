//! The baseline standard: nothing that is known to lead out of a container.

use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    Violation,
    containers::{Common, View, all, counted, named, note, plural, pod_and, quoted, subject, who},
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
pub(super) fn check(metadata: &ObjectMeta, spec: &PodSpec, restricted: bool) -> Vec<Violation> {
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

fn app_armor(metadata: &ObjectMeta, spec: &PodSpec) -> Option<Violation> {
    let bad = |common: Common<'_>| {
        let kind = common.app_armor.map(|profile| profile.type_.clone());
        kind.filter(|kind| !matches!(kind.as_str(), "RuntimeDefault" | "Localhost"))
    };
    let mut values = Vec::new();
    let pod = Common::of_pod(spec);
    let containers = named(spec, |one| bad(one.common()).is_some());
    let commons = std::iter::once(pod).chain(all(spec).map(View::common));
    for kind in commons.filter_map(bad) {
        note(&mut values, format!("\"{kind}\""));
    }
    let mut annotations = 0;
    for (key, value) in metadata.annotations.iter().flatten() {
        let good =
            value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        if key.starts_with(APPARMOR_ANNOTATION) && !good {
            annotations += 1;
            note(&mut values, format!("\"{key}=\"{value}\"\""));
        }
    }
    let mut who: Vec<String> = pod_and(bad(pod).is_some(), &containers)
        .into_iter()
        .collect();
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
pub(super) fn added(spec: &PodSpec, allowed: &[&str]) -> Option<String> {
    let beyond = |one: View<'_>| -> Vec<String> {
        let capabilities = one
            .context
            .and_then(|context| context.capabilities.as_ref());
        let added = capabilities.and_then(|capabilities| capabilities.add.as_ref());
        added
            .into_iter()
            .flatten()
            .filter(|capability| !allowed.contains(&capability.as_str()))
            .cloned()
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

fn capabilities(spec: &PodSpec) -> Option<Violation> {
    let detail = added(spec, &CAPABILITIES)?;
    Some(Violation::new("non-default capabilities", detail))
}

fn host_namespaces(spec: &PodSpec) -> Option<Violation> {
    let used: Vec<String> = [
        ("hostNetwork", spec.host_network),
        ("hostPID", spec.host_pid),
        ("hostIPC", spec.host_ipc),
    ]
    .into_iter()
    .filter(|(_, used)| *used == Some(true))
    .map(|(field, _)| format!("{field}=true"))
    .collect();
    (!used.is_empty()).then(|| Violation::new("host namespaces", used.join(", ")))
}

fn host_paths(spec: &PodSpec) -> Option<Violation> {
    let volumes = spec.volumes.iter().flatten();
    let names: Vec<String> = volumes
        .filter(|volume| volume.host_path.is_some())
        .map(|volume| volume.name.clone())
        .collect();
    (!names.is_empty()).then(|| Violation::new("hostPath volumes", counted("volume", &names)))
}

fn host_ports(spec: &PodSpec) -> Option<Violation> {
    let used = |one: View<'_>| -> Vec<i32> {
        let ports = one.ports.unwrap_or_default().iter();
        ports
            .filter_map(|port| port.host_port)
            .filter(|port| *port != 0)
            .collect()
    };
    let names = named(spec, |one| !used(one).is_empty());
    let mut ports: Vec<i32> = all(spec).flat_map(used).collect();
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

fn probe_hosts(spec: &PodSpec) -> Option<Violation> {
    let hosts = |one: View<'_>| -> Vec<String> {
        let probes = one.probes.into_iter().flatten();
        let probes = probes.map(|probe| (&probe.http_get, &probe.tcp_socket));
        let hooks = one.lifecycle.into_iter();
        let hooks = hooks.flat_map(|hooks| [&hooks.post_start, &hooks.pre_stop]);
        let hooks = hooks.flatten();
        let actions = probes.chain(hooks.map(|hook| (&hook.http_get, &hook.tcp_socket)));
        actions
            .flat_map(|(get, socket)| {
                [
                    get.as_ref().and_then(|get| get.host.clone()),
                    socket.as_ref().and_then(|socket| socket.host.clone()),
                ]
            })
            .flatten()
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

fn privileged(spec: &PodSpec) -> Option<Violation> {
    let names = named(spec, |one| {
        one.context.and_then(|context| context.privileged) == Some(true)
    });
    (!names.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.privileged=true",
            subject(&names)
        );
        Violation::new("privileged", detail)
    })
}

fn proc_mount(spec: &PodSpec, restricted: bool) -> Option<Violation> {
    // In a user namespace of its own a pod may see all of /proc.
    if !restricted && spec.host_users == Some(false) {
        return None;
    }
    let bad = |one: View<'_>| {
        let mount = one.context.and_then(|context| context.proc_mount.clone());
        mount.filter(|mount| !mount.is_empty() && mount != "Default")
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

fn se_linux(spec: &PodSpec) -> Option<Violation> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let is_bad = |common: Common<'_>| {
        common.se_linux.is_some_and(|options| {
            !SELINUX_TYPES.contains(&text(&options.type_).as_str())
                || !text(&options.user).is_empty()
                || !text(&options.role).is_empty()
        })
    };
    let who = who(spec, is_bad)?;
    let mut types = Vec::new();
    let mut faults = Vec::new();
    let mut later = [false; 2];
    let commons = std::iter::once(Common::of_pod(spec)).chain(all(spec).map(View::common));
    for options in commons.filter_map(|common| common.se_linux) {
        let kind = text(&options.type_);
        if !SELINUX_TYPES.contains(&kind.as_str()) {
            note(&mut types, kind);
        }
        later[0] |= !text(&options.user).is_empty();
        later[1] |= !text(&options.role).is_empty();
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
pub(super) fn unconfined(spec: &PodSpec) -> Option<String> {
    let who = who(spec, |common| {
        common.seccomp.is_some_and(|profile| {
            !matches!(profile.type_.as_str(), "" | "RuntimeDefault" | "Localhost")
        })
    })?;
    Some(format!(
        "{who} must not set securityContext.seccompProfile.type to \"Unconfined\""
    ))
}

fn seccomp(spec: &PodSpec) -> Option<Violation> {
    Some(Violation::new("seccompProfile", unconfined(spec)?))
}

fn sysctls(spec: &PodSpec) -> Option<Violation> {
    let context = spec.security_context.as_ref();
    let given = context.and_then(|context| context.sysctls.as_ref());
    let bad: Vec<&str> = given
        .into_iter()
        .flatten()
        .map(|sysctl| sysctl.name.as_str())
        .filter(|name| !SYSCTLS.contains(name))
        .collect();
    (!bad.is_empty()).then(|| {
        let reason = plural("forbidden sysctl", bad.len());
        Violation::new(reason, bad.join(", "))
    })
}

fn windows(spec: &PodSpec) -> Option<Violation> {
    let who = who(spec, |common| {
        common.windows.and_then(|options| options.host_process) == Some(true)
    })?;
    Some(Violation::new(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    ))
}
