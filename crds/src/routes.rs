//! Who owns a host or a path. The operator says so in a Function's status and the gateway routes by
//! it, so both take the decision here.

use std::collections::BTreeMap;

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

/// What the Function asks for beyond its own names. Cluster-visible functions ask for nothing.
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

/// The owner of everything that is asked for.
pub fn settle<'a>(functions: impl IntoIterator<Item = &'a Function>) -> BTreeMap<Claim, Claimant> {
    let mut owners = BTreeMap::new();
    for function in functions {
        for claim in claims(function) {
            let claimant = Claimant::of(function);
            let owner = owners.entry(claim).or_insert_with(|| claimant.clone());
            if claimant < *owner {
                *owner = claimant;
            }
        }
    }
    owners
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

    fn function(name: &str, age: i64, host: &str) -> Function {
        let expose = Expose {
            hosts: Some(vec![host.to_owned()]),
            path: Some("/api/".into()),
            visibility: None,
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
    fn the_oldest_owns_and_ties_go_by_name() {
        let functions = [
            function("b", 1, "A.example"),
            function("a", 1, "a.example"),
            function("c", 0, "c.example"),
        ];
        let owners = settle(&functions);
        assert_eq!(owners[&Claim::Host("a.example".into())].name, "a");
        assert_eq!(owners[&Claim::Path("/api".into())].name, "c");
    }

    #[test]
    fn cluster_functions_claim_nothing() {
        let mut inner = function("a", 1, "a.example");
        inner.spec.expose = inner.spec.expose.map(|expose| Expose {
            visibility: Some(Visibility::Cluster),
            ..expose
        });
        assert!(claims(&inner).is_empty());
    }
}
