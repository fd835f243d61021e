//! Who owns a host or a path. The operator says so in a Function's status and the gateway routes by
//! it, so both take the decision here, with the same [`ClaimPolicy`].

mod in_cluster;
mod policy;

pub use in_cluster::{InCluster, SERVICE_DOMAIN};
pub use policy::{ClaimError, ClaimGrant, ClaimGrantError, ClaimPolicy};

use jiff::Timestamp;

use crate::{Function, Visibility};

/// Something only one Function can have.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Claim {
    /// A host, in lower case.
    Host(String),
    /// A path prefix, without a slash at its end.
    Path(String),
}

/// A Function among those that ask for the same thing. The least one gets it: the oldest, and of
/// equally old ones the first by namespace and name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Claimant {
    created: Timestamp,
    /// Namespace of the Function.
    pub namespace: String,
    /// Name of the Function.
    pub name: String,
}

// === impl Claim ===

impl std::fmt::Display for Claim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(host) => write!(formatter, "host {host}"),
            Self::Path(path) => write!(formatter, "path {path}"),
        }
    }
}

// === impl Claimant ===

impl Claimant {
    /// The claimant that this Function is.
    #[must_use]
    pub fn of(function: &Function) -> Self {
        Self {
            created: function
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::MAX, |time| time.0),
            namespace: function.metadata.namespace.clone().unwrap_or_default(),
            name: function.metadata.name.clone().unwrap_or_default(),
        }
    }
}

/// What the Function asks for beyond its own names, whether it may have it or not. Cluster-visible
/// functions ask for nothing.
#[must_use]
pub fn claims(function: &Function) -> Vec<Claim> {
    let expose = function.spec.expose();
    if expose.visibility() == Visibility::Cluster {
        return Vec::new();
    }
    let hosts = expose
        .hosts()
        .iter()
        .map(|host| Claim::Host(host.to_ascii_lowercase()));
    let path = expose
        .path
        .iter()
        .map(|path| Claim::Path(normal_path(path)));
    hosts.chain(path).collect()
}

fn normal_path(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::{Expose, FunctionSpec};

    fn function(name: &str, age: i64, visibility: Option<Visibility>) -> Function {
        let expose = Expose {
            hosts: Some(vec!["A.example".to_owned()]),
            path: Some("/api/".into()),
            visibility,
        };
        let mut function = Function::new(
            name,
            FunctionSpec {
                expose: Some(expose),
                ..FunctionSpec::default()
            },
        );
        function.metadata.namespace = Some("default".into());
        function.metadata.creation_timestamp = Timestamp::from_second(age).ok().map(Time);
        function
    }

    #[test]
    fn the_oldest_comes_first_and_ties_go_by_name() {
        let mut claimants = [("b", 1), ("a", 1), ("c", 0)]
            .map(|(name, age)| Claimant::of(&function(name, age, None)));
        claimants.sort();
        assert_eq!(claimants.map(|claimant| claimant.name), ["c", "a", "b"]);
    }

    #[test]
    fn hosts_are_claimed_without_case_and_paths_without_their_last_slash() {
        assert_eq!(
            claims(&function("a", 1, None)),
            [Claim::Host("a.example".into()), Claim::Path("/api".into())]
        );
    }

    #[test]
    fn cluster_functions_claim_nothing() {
        assert!(claims(&function("a", 1, Some(Visibility::Cluster))).is_empty());
    }
}
