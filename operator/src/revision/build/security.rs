//! Security settings of a function's pod
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
//!
//! The root file system stays writable: many images write below /tmp or /var when they start, and
//! the restricted standard does not ask for it. `podTemplate` can make it read-only.

use fermata_crds::{
    SecurityLevel, Template,
    pod_security::{self, Level},
};
use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodTemplateSpec, SeccompProfile};

use crate::options::{Functions, Options};

/// Settings for the whole pod.
pub(crate) fn pod(template: &Template, defaults: &Functions) -> PodSecurityContext {
    let security = template.security();
    let restricted = security.profile() == SecurityLevel::Restricted;
    let source = template.source.as_ref();
    let default_user = source.and(defaults.source_user.0);
    PodSecurityContext {
        run_as_user: security.run_as_user.or(default_user),
        run_as_non_root: restricted.then_some(true),
        seccomp_profile: Some(security.seccomp_profile.unwrap_or_else(|| SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        })),
        ..PodSecurityContext::default()
    }
}

/// Puts into a container what the restricted profile asks of each, where the container says nothing of
/// it. So a sidecar of `podTemplate` needs to say no more than one of a Deployment.
pub(crate) fn harden(container: &mut Container) {
    let context = container.security_context.get_or_insert_default();
    context.allow_privilege_escalation.get_or_insert(false);
    let capabilities = context.capabilities.get_or_insert_default();
    capabilities
        .drop
        .get_or_insert_with(|| vec!["ALL".to_owned()]);
}

/// A pod that could do more than it may.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SecurityError {
    /// The profile is not for this installation.
    #[error(
        "security.profile privileged is not allowed in this installation; choose restricted or baseline, or have its administrator allow it (the chart's security.allowPrivileged, --allow-privileged of the operator)"
    )]
    NotAllowed,
    /// The pod does not meet the profile.
    #[error(
        "the pod does not meet security.profile {}: {violations}; {}",
        .profile.name(),
        way_out(*.weaker, *.allowed)
    )]
    Violated {
        /// The standard it has to meet.
        profile: Level,
        /// What is against it, with the fields.
        violations: String,
        /// The strictest standard that it meets.
        weaker: Level,
        /// Whether the installation allows the profile privileged.
        allowed: bool,
    },
}

fn way_out(weaker: Level, allowed: bool) -> String {
    if weaker == Level::Privileged && !allowed {
        "take it out of the manifest: it leads out of the container, which this installation allows no function".to_owned()
    } else {
        format!(
            "take it out of the manifest, or set security.profile to {}",
            weaker.name()
        )
    }
}

/// Whether the installation allows the profile.
pub(crate) fn allow(profile: SecurityLevel, options: &Options) -> Result<(), SecurityError> {
    if profile == SecurityLevel::Privileged && !options.allow_privileged {
        return Err(SecurityError::NotAllowed);
    }
    Ok(())
}

/// Holds a pod, as it is built and with the user's part merged over it, to its profile.
pub(crate) fn check(
    profile: SecurityLevel,
    pod: &PodTemplateSpec,
    options: &Options,
) -> Result<(), SecurityError> {
    let metadata = pod.metadata.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let broken = |level| pod_security::violations(level, &metadata, &spec);
    let found = broken(profile.standard());
    if found.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    Err(SecurityError::Violated {
        profile: profile.standard(),
        violations: found.join(", "),
        weaker: if broken(Level::Baseline).is_empty() {
            Level::Baseline
        } else {
            Level::Privileged
        },
        allowed: options.allow_privileged,
    })
}
