//! Which function a request is for. Pure: a table of names, hosts and paths.

use std::{borrow::Cow, collections::HashMap};

use fermata_crds::{
    names::{ASYNC_FUNCTION_PATH_PREFIX, FUNCTION_PATH_PREFIX},
    routes::InCluster,
};

/// The namespace of functions and topics that are called by path without one.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// An immutable table of routes to functions of type `F`.
#[derive(Debug)]
pub(crate) struct Router<F> {
    domain: Box<str>,
    cluster_domain: Box<str>,
    /// By `name.namespace`.
    names: HashMap<Box<str>, NamedFunction<F>>,
    hosts: HashMap<Box<str>, F>,
    /// By prefix, without a slash at its end.
    paths: HashMap<Box<str>, F>,
}

/// A function under its own names.
#[derive(Clone, Debug)]
pub(crate) struct NamedFunction<F> {
    /// The function.
    pub(crate) function: F,
    /// Whether it answers only to callers in the cluster.
    pub(crate) cluster_only: bool,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Match<'a, F> {
    /// The function.
    pub(crate) function: &'a F,
    /// How many bytes of the path were only for finding the function.
    pub(crate) strip: usize,
}

// === impl Router ===

impl<F> Router<F> {
    /// A table without routes. `domain` and `cluster_domain` are those of the options.
    #[must_use]
    pub(crate) fn new(domain: &str, cluster_domain: &str) -> Self {
        Self {
            domain: normal_domain(domain),
            cluster_domain: normal_domain(cluster_domain),
            names: HashMap::new(),
            hosts: HashMap::new(),
            paths: HashMap::new(),
        }
    }

    /// Adds a function under its own names.
    pub(crate) fn add_name(&mut self, namespace: &str, name: &str, target: NamedFunction<F>) {
        self.names
            .insert(format!("{name}.{namespace}").into(), target);
    }

    /// Adds a host, in lower case, that a function owns.
    pub(crate) fn add_host(&mut self, host: &str, function: F) {
        self.hosts
            .insert(host.trim_end_matches('.').into(), function);
    }

    /// Adds a path prefix, without a slash at its end, that a function owns.
    pub(crate) fn add_path(&mut self, path: &str, function: F) {
        self.paths.insert(path.into(), function);
    }

    /// The function for a request from anywhere. `host` may have a port, capitals and a trailing dot;
    /// `path` is the path of the request without its query.
    ///
    /// The host goes first, so that whoever owns one owns all paths under it; what nobody owns is
    /// shared, and there names go before paths.
    #[must_use]
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<Match<'_, F>> {
        let host = normal_host(host);
        let whole = |function| Match { function, strip: 0 };
        self.owner_of(&host)
            .map(whole)
            .or_else(|| self.by_name_in_path(path, DEFAULT_NAMESPACE, Self::public))
            .or_else(|| self.by_path(path).map(whole))
    }

    /// The function for a request from inside the cluster, which comes to a listener of its own: by its
    /// in-cluster name, or by its name in the path. Names without a namespace are looked for in
    /// `namespace`, the caller's, if it is known.
    #[must_use]
    pub(crate) fn find_in_cluster(
        &self,
        host: &str,
        path: &str,
        namespace: Option<&str>,
    ) -> Option<Match<'_, F>> {
        let host = normal_host(host);
        self.owner_of_name(&host, namespace)
            .map(|function| Match { function, strip: 0 })
            .or_else(|| {
                self.by_name_in_path(path, namespace.unwrap_or(DEFAULT_NAMESPACE), Self::any)
            })
    }

    /// The function whose own the host is, for requests from anywhere.
    #[must_use]
    pub(crate) fn owner(&self, host: &str) -> Option<&F> {
        self.owner_of(&normal_host(host))
    }

    /// The function whose in-cluster name the host is; of names without a namespace the one in `namespace`.
    #[must_use]
    pub(crate) fn owner_in_cluster(&self, host: &str, namespace: Option<&str>) -> Option<&F> {
        self.owner_of_name(&normal_host(host), namespace)
    }

    /// Whether the host is one that functions alone have: `NAME.NAMESPACE` below the domain.
    #[must_use]
    pub(crate) fn is_of_functions(&self, host: &str) -> bool {
        let host = normal_host(host);
        let below = host.strip_suffix(&*self.domain);
        let below = below.and_then(|below| below.strip_suffix('.'));
        let named = below.and_then(|below| below.split_once('.'));
        named.is_some_and(|(name, namespace)| {
            !name.is_empty() && !namespace.is_empty() && !namespace.contains('.')
        })
    }

    /// Whether the caller's namespace matters for where a request from inside the cluster goes.
    #[must_use]
    pub(crate) fn needs_namespace(host: &str, path: &str) -> bool {
        !normal_host(host).contains('.')
            || path.starts_with(FUNCTION_PATH_PREFIX)
            || path.starts_with(ASYNC_FUNCTION_PATH_PREFIX)
    }

    fn owner_of(&self, host: &str) -> Option<&F> {
        self.by_domain(host).or_else(|| self.hosts.get(host))
    }

    fn owner_of_name(&self, host: &str, namespace: Option<&str>) -> Option<&F> {
        match InCluster::of(host, &self.cluster_domain)? {
            InCluster::Whole(name) => self.any(name),
            InCluster::Short(name) => {
                namespace.and_then(|namespace| self.any(&[name, ".", namespace].concat()))
            }
        }
    }

    fn by_domain(&self, host: &str) -> Option<&F> {
        let name = host.strip_suffix(&*self.domain)?.strip_suffix('.')?;
        self.public(name)
    }

    fn by_path(&self, path: &str) -> Option<&F> {
        if self.paths.is_empty() || !path.starts_with('/') {
            return None;
        }
        let mut prefix = path;
        loop {
            if let Some(function) = self.paths.get(prefix) {
                return Some(function);
            }
            match prefix.rfind('/') {
                Some(0) | None => return self.paths.get("/"),
                Some(end) => prefix = prefix.get(..end)?,
            }
        }
    }

    fn by_name_in_path(
        &self,
        path: &str,
        namespace: &str,
        find: for<'a> fn(&'a Self, &str) -> Option<&'a F>,
    ) -> Option<Match<'_, F>> {
        let (rest, prefix) = [FUNCTION_PATH_PREFIX, ASYNC_FUNCTION_PATH_PREFIX]
            .into_iter()
            .find_map(|prefix| Some((path.strip_prefix(prefix)?, prefix.len())))?;
        let name = rest.split('/').next()?;
        let function = if name.contains('.') {
            find(self, name)?
        } else {
            find(self, &[name, ".", namespace].concat())?
        };
        Some(Match {
            function,
            strip: prefix + name.len(),
        })
    }

    fn any(&self, name: &str) -> Option<&F> {
        self.names.get(name).map(|target| &target.function)
    }

    fn public(&self, name: &str) -> Option<&F> {
        self.names
            .get(name)
            .filter(|target| !target.cluster_only)
            .map(|target| &target.function)
    }
}

/// The host of `host[:port]`, in lower case and without a trailing dot.
fn normal_host(host: &str) -> Cow<'_, str> {
    let host = without_port(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

fn normal_domain(domain: &str) -> Box<str> {
    domain.trim_matches('.').to_ascii_lowercase().into()
}

/// The host of `host[:port]`; IPv6 addresses keep their brackets.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => host.get(..colon).unwrap_or(host),
        _ => host,
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz;
