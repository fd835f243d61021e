//! The containers of a pod, and how messages speak of them.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, ContainerPort, EphemeralContainer, Lifecycle, PodSecurityContext,
    PodSpec, Probe, SELinuxOptions, SeccompProfile, SecurityContext, WindowsSecurityContextOptions,
};

/// What a container says of itself, be it of the pod from the start or added later.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    pub(super) context: Option<&'a SecurityContext>,
    pub(super) ports: Option<&'a [ContainerPort]>,
    pub(super) probes: [Option<&'a Probe>; 3],
    pub(super) lifecycle: Option<&'a Lifecycle>,
}

/// What a pod and a container can say alike of their security.
#[derive(Clone, Copy, Default)]
pub(super) struct Common<'a> {
    pub(super) app_armor: Option<&'a AppArmorProfile>,
    pub(super) se_linux: Option<&'a SELinuxOptions>,
    pub(super) seccomp: Option<&'a SeccompProfile>,
    pub(super) windows: Option<&'a WindowsSecurityContextOptions>,
    pub(super) run_as_non_root: Option<bool>,
    pub(super) run_as_user: Option<i64>,
}

// === impl View ===

/// A container of the pod from the start and one that was added later have the same fields here, and no type in common.
macro_rules! view {
    ($container:expr) => {
        View {
            name: &$container.name,
            context: $container.security_context.as_ref(),
            ports: $container.ports.as_deref(),
            probes: [
                $container.liveness_probe.as_ref(),
                $container.readiness_probe.as_ref(),
                $container.startup_probe.as_ref(),
            ],
            lifecycle: $container.lifecycle.as_ref(),
        }
    };
}

impl<'a> View<'a> {
    fn of(container: &'a Container) -> Self {
        view!(container)
    }

    fn of_ephemeral(container: &'a EphemeralContainer) -> Self {
        view!(container)
    }

    pub(super) fn common(self) -> Common<'a> {
        self.context.map(Common::of).unwrap_or_default()
    }
}

// === impl Common ===

impl<'a> Common<'a> {
    fn of(context: &'a SecurityContext) -> Self {
        Self {
            app_armor: context.app_armor_profile.as_ref(),
            se_linux: context.se_linux_options.as_ref(),
            seccomp: context.seccomp_profile.as_ref(),
            windows: context.windows_options.as_ref(),
            run_as_non_root: context.run_as_non_root,
            run_as_user: context.run_as_user,
        }
    }

    fn of_context(context: &'a PodSecurityContext) -> Self {
        Self {
            app_armor: context.app_armor_profile.as_ref(),
            se_linux: context.se_linux_options.as_ref(),
            seccomp: context.seccomp_profile.as_ref(),
            windows: context.windows_options.as_ref(),
            run_as_non_root: context.run_as_non_root,
            run_as_user: context.run_as_user,
        }
    }

    /// What the pod says for all of its containers.
    pub(super) fn of_pod(spec: &'a PodSpec) -> Self {
        let context = spec.security_context.as_ref();
        context.map(Common::of_context).unwrap_or_default()
    }
}

/// All containers of a pod: those that run first, those that run, and those added later.
pub(super) fn all(spec: &PodSpec) -> impl Iterator<Item = View<'_>> {
    let init = spec.init_containers.iter().flatten().map(View::of);
    let running = spec.containers.iter().map(View::of);
    let added = spec.ephemeral_containers.iter().flatten();
    init.chain(running).chain(added.map(View::of_ephemeral))
}

/// The names of containers for which `test` holds.
pub(super) fn named(spec: &PodSpec, test: impl Fn(View<'_>) -> bool) -> Vec<String> {
    let found = all(spec).filter(|container| test(*container));
    found.map(|container| container.name.to_owned()).collect()
}

/// Who of the pod and its containers does what `test` finds, if anybody does.
pub(super) fn who(spec: &PodSpec, test: impl Fn(Common<'_>) -> bool) -> Option<String> {
    let containers = named(spec, |one| test(one.common()));
    pod_and(test(Common::of_pod(spec)), &containers)
}

/// `container "a"`, or `containers "a", "b"`.
pub(super) fn subject(names: &[String]) -> String {
    counted("container", names)
}

/// A word and quoted names: one of them, or several.
pub(super) fn counted(word: &str, names: &[String]) -> String {
    format!("{} {}", plural(word, names.len()), quoted(names))
}

pub(super) fn plural(word: &str, count: usize) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{word}{ending}")
}

pub(super) fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

/// `pod`, `container "a"`, or both.
pub(super) fn pod_and(pod: bool, containers: &[String]) -> Option<String> {
    match (pod, containers.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".to_owned()),
        (false, false) => Some(subject(containers)),
        (true, false) => Some(format!("pod and {}", subject(containers))),
    }
}

/// Adds the words that are not there yet.
pub(super) fn note(found: &mut Vec<String>, word: impl Into<String>) {
    let word = word.into();
    if !found.contains(&word) {
        found.push(word);
    }
}
