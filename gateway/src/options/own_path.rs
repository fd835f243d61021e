//! Paths of the gateway itself, and the functions that answer there.

use std::str::FromStr;

use fermata_crds::names::GATEWAY_PATHS;
use fermata_daemon::watch::{Key, namespace};

/// A function that answers below a path of the gateway itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnPath {
    /// The path, without a slash at its end.
    pub path: String,
    /// Namespace of the function.
    pub namespace: String,
    /// Name of the function.
    pub name: String,
}

/// It is not written as an own path is, or the path could be anybody's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAnOwnPath {
    /// A part is missing, or no function can be called so.
    #[error("it is PATH=NAMESPACE/NAME, such as /hooks/git=fermata-system/webhooks")]
    Form,
    /// A function may claim the path.
    #[error("{0} is no path of the gateway's own; those begin with one of: {known}", known = known())]
    Claimable(String),
}

// === impl OwnPath ===

impl OwnPath {
    /// Whether it is this function that answers.
    pub(crate) fn is_of(&self, function: &Key) -> bool {
        *function.namespace == self.namespace && *function.name == self.name
    }
}

impl FromStr for OwnPath {
    type Err = NotAnOwnPath;

    fn from_str(text: &str) -> Result<Self, NotAnOwnPath> {
        let (path, function) = text.split_once('=').ok_or(NotAnOwnPath::Form)?;
        let (space, name) = function.split_once('/').ok_or(NotAnOwnPath::Form)?;
        // The name of a function is a label, as that of a namespace is.
        if namespace(space).is_err() || namespace(name).is_err() {
            return Err(NotAnOwnPath::Form);
        }
        let below = path.strip_prefix('/').filter(|_| !path.ends_with('/'));
        let below = below.ok_or(NotAnOwnPath::Form)?;
        let first = below.split('/').next().unwrap_or_default();
        if !GATEWAY_PATHS.contains(&first) {
            return Err(NotAnOwnPath::Claimable(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            namespace: space.to_owned(),
            name: name.to_owned(),
        })
    }
}

fn known() -> String {
    GATEWAY_PATHS.map(|path| format!("/{path}")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_path_and_a_function() {
        let own: OwnPath = "/hooks/git=fermata-system/webhooks".parse().unwrap();
        assert_eq!(
            (own.path.as_str(), own.namespace.as_str(), own.name.as_str()),
            ("/hooks/git", "fermata-system", "webhooks")
        );
        assert!(own.is_of(&Key::new("fermata-system", "webhooks")));
        assert!(!own.is_of(&Key::new("default", "webhooks")));
        for bad in [
            "",
            "/git",
            "/git=a",
            "/git=a/",
            "/git=A/b",
            "/git=a/b/c",
            "/git/=a/b",
            "git=a/b",
            "=a/b",
        ] {
            assert_eq!(bad.parse::<OwnPath>(), Err(NotAnOwnPath::Form), "{bad}");
        }
    }

    #[test]
    fn what_functions_may_claim_is_no_own_path() {
        for path in ["/shop", "/gitx", "/shop/git"] {
            let error = format!("{path}=a/b").parse::<OwnPath>().unwrap_err();
            let said = error.to_string();
            assert!(said.contains("/hooks"), "{said}");
        }
    }
}
