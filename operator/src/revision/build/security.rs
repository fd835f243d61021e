//! Security settings of a function's pod
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
//!
//! The root file system stays writable: many images write below /tmp or /var when they start, and
//! the restricted standard does not ask for it. `podTemplate` can make it read-only.

use fermata_crds::{SecurityLevel, Template};
use k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, SeccompProfile, SecurityContext,
};

/// The user source functions run as; it is the one the shipped runtimes' images are made for.
const SOURCE_USER: i64 = 65532;

/// Settings for the whole pod.
pub(crate) fn pod(template: &Template) -> PodSecurityContext {
    let security = template.security();
    let restricted = security.profile.unwrap_or_default() == SecurityLevel::Restricted;
    let default_user = template.source.as_ref().map(|_| SOURCE_USER);
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

/// Settings for the function's container; none under baseline.
pub(crate) fn container(template: &Template) -> Option<SecurityContext> {
    let restricted = template.security().profile.unwrap_or_default() == SecurityLevel::Restricted;
    restricted.then(|| SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        }),
        ..SecurityContext::default()
    })
}
