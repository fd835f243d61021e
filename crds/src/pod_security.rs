//! The Pod Security Standards
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>), as of Kubernetes 1.36, in
//! the words of its admission. The operator holds what it builds to them, and the embedded API server
//! what namespaces ask for.

mod baseline;
mod containers;
mod restricted;

use k8s_openapi::{api::core::v1::PodSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

/// A Pod Security Standard, from the weakest to the strictest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Everything is allowed.
    Privileged,
    /// Nothing that is known to lead out of a container.
    Baseline,
    /// What the baseline leaves open and hardened pods do without.
    Restricted,
}

/// One check that a pod fails. Displayed as `reason (detail)`; the detail names the fields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    reason: String,
    detail: String,
}

// === impl Level ===

impl Level {
    /// The standard of this name: privileged, baseline or restricted.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

// === impl Violation ===

impl Violation {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            detail: detail.into(),
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        if self.detail.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.detail)
    }
}

/// Every check of the standard that a pod with this metadata and this spec fails.
#[must_use]
pub fn violations(level: Level, metadata: &ObjectMeta, spec: &PodSpec) -> Vec<Violation> {
    match level {
        Level::Privileged => Vec::new(),
        Level::Baseline => baseline::check(metadata, spec, false),
        Level::Restricted => {
            let mut all = baseline::check(metadata, spec, true);
            all.extend(restricted::check(spec));
            all
        }
    }
}

#[cfg(test)]
mod tests;
