//! In which namespaces objects are watched.

use std::{collections::BTreeSet, fmt};

use kube::{Api, Client, Resource, core::NamespaceResourceScope};

use super::Key;

/// The longest name of a namespace, in bytes (RFC 1123).
const LONGEST: usize = 63;

/// Where objects are watched.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Places {
    /// In the whole cluster, by one watch.
    #[default]
    All,
    /// In these namespaces, by a watch in each, and nowhere else.
    Named(BTreeSet<Box<str>>),
}

/// The place of one watch: a namespace, or the whole cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place(Option<Box<str>>);

/// A text that no namespace can be called by.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is no name of a namespace: it has at most {LONGEST} small letters, digits and '-', and begins \
     and ends with a letter or a digit"
)]
pub struct NotANamespace(String);

// === impl Places ===

impl Places {
    /// These namespaces, or the whole cluster if there are none.
    pub fn of<N: AsRef<str>>(namespaces: impl IntoIterator<Item = N>) -> Self {
        let names: BTreeSet<Box<str>> = namespaces
            .into_iter()
            .map(|name| name.as_ref().into())
            .collect();
        if names.is_empty() {
            Self::All
        } else {
            Self::Named(names)
        }
    }

    /// Each place that has a watch of its own.
    pub(crate) fn each(&self) -> Vec<Place> {
        match self {
            Self::All => vec![Place(None)],
            Self::Named(names) => names.iter().cloned().map(Some).map(Place).collect(),
        }
    }
}

// === impl Place ===

impl Place {
    /// The whole cluster.
    #[must_use]
    pub fn cluster() -> Self {
        Self(None)
    }

    /// The namespace, if it is one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Whether the object is here.
    #[must_use]
    pub fn has(&self, key: &Key) -> bool {
        self.0
            .as_ref()
            .is_none_or(|namespace| *namespace == key.namespace)
    }

    /// Access to the objects of a kind that are here.
    pub(crate) fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.0 {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => formatter.write_str("the cluster"),
            Some(namespace) => write!(formatter, "namespace {namespace}"),
        }
    }
}

/// Reads the name of a namespace, for the command line.
///
/// # Errors
///
/// [`NotANamespace`] if the API server takes no such name.
pub fn namespace(text: &str) -> Result<String, NotANamespace> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=LONGEST).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if good {
        Ok(text.to_owned())
    } else {
        Err(NotANamespace(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_namespace_can_be_called_is_read() {
        for good in ["a", "shop-1", "0"] {
            assert_eq!(namespace(good).as_deref(), Ok(good));
        }
        let long = "a".repeat(LONGEST + 1);
        for bad in ["", "-a", "a-", "A", "a.b", "../a", "a b", &long] {
            let error = namespace(bad).unwrap_err().to_string();
            assert!(error.contains("is no name of a namespace"), "{error}");
        }
    }

    #[test]
    fn a_place_has_what_is_in_it() {
        let places = Places::of(["b", "a", "b"]).each();
        assert_eq!(places.len(), 2);
        assert!(places[0].has(&Key::new("a", "x")));
        assert!(!places[0].has(&Key::new("b", "x")));
        assert!(Places::of([""; 0]).each()[0].has(&Key::new("b", "x")));
    }
}
