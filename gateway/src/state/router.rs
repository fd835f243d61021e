//! Which function a request is for. Pure: a table of names, hosts and paths.

use std::collections::HashMap;

use fermata_crds::names::FUNCTION_PATH_PREFIX;

/// The namespace of functions that are called by path without one.
const DEFAULT_NAMESPACE: &str = "default";

/// An immutable table of routes to functions of type `F`.
#[derive(Debug)]
pub struct Router<F> {
    domain: Box<str>,
    cluster_domain: Box<str>,
    /// By `name.namespace`.
    names: HashMap<Box<str>, Target<F>>,
    hosts: HashMap<Box<str>, F>,
    /// By prefix, without a slash at its end.
    paths: HashMap<Box<str>, F>,
}

/// A function under its own names.
#[derive(Clone, Debug)]
pub struct Target<F> {
    /// The function.
    pub function: F,
    /// Whether it answers only under in-cluster host names.
    pub cluster_only: bool,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Match<'a, F> {
    /// The function.
    pub function: &'a F,
    /// How many bytes of the path were only for finding the function.
    pub strip: usize,
}

// === impl Router ===

impl<F> Router<F> {
    /// A table without routes. `domain` and `cluster_domain` are those of the options.
    #[must_use]
    pub fn new(domain: &str, cluster_domain: &str) -> Self {
        Self {
            domain: normal_domain(domain),
            cluster_domain: normal_domain(cluster_domain),
            names: HashMap::new(),
            hosts: HashMap::new(),
            paths: HashMap::new(),
        }
    }

    /// Adds a function under its own names.
    pub fn add_name(&mut self, namespace: &str, name: &str, target: Target<F>) {
        self.names
            .insert(format!("{name}.{namespace}").into(), target);
    }

    /// Adds a host, in lower case, that a function owns.
    pub fn add_host(&mut self, host: &str, function: F) {
        self.hosts
            .insert(host.trim_end_matches('.').into(), function);
    }

    /// Adds a path prefix, without a slash at its end, that a function owns.
    pub fn add_path(&mut self, path: &str, function: F) {
        self.paths.insert(path.into(), function);
    }

    /// The function for a request. `host` may have a port, capitals and a trailing dot; `path` is
    /// the path of the request without its query.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<Match<'_, F>> {
        let lower;
        let mut host = without_port(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            host = &lower;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let whole = |function| Match { function, strip: 0 };
        self.hosts
            .get(host)
            .or_else(|| self.by_domain(host))
            .or_else(|| self.in_cluster(host))
            .or_else(|| self.by_path(path))
            .map(whole)
            .or_else(|| self.by_name_in_path(path))
    }

    fn by_domain(&self, host: &str) -> Option<&F> {
        let name = host.strip_suffix(&*self.domain)?.strip_suffix('.')?;
        self.public(name)
    }

    fn in_cluster(&self, host: &str) -> Option<&F> {
        let service = host
            .strip_suffix(&*self.cluster_domain)
            .and_then(|host| host.strip_suffix('.'))
            .filter(|host| host.ends_with(".svc"))
            .unwrap_or(host);
        let name = service.strip_suffix(".svc").unwrap_or(service);
        self.names.get(name).map(|target| &target.function)
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

    fn by_name_in_path(&self, path: &str) -> Option<Match<'_, F>> {
        let rest = path.strip_prefix(FUNCTION_PATH_PREFIX)?;
        let name = rest.split('/').next()?;
        let function = if name.contains('.') {
            self.public(name)?
        } else {
            self.public(&[name, ".", DEFAULT_NAMESPACE].concat())?
        };
        Some(Match {
            function,
            strip: FUNCTION_PATH_PREFIX.len() + name.len(),
        })
    }

    fn public(&self, name: &str) -> Option<&F> {
        self.names
            .get(name)
            .filter(|target| !target.cluster_only)
            .map(|target| &target.function)
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
