//! Where a function is called.

use fermata_crds::{Function, Visibility, routes::Claim};
use kube::ResourceExt as _;

use crate::options::{Options, Scheme};

/// Host and URL of a function, as its status tells them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) url: String,
}

// === impl Address ===

impl Address {
    /// The first of the function's own hosts that it has, else its name under the domain; a
    /// function for the cluster only is called by its Service's name.
    pub(crate) fn of(function: &Function, lost: &[Claim], options: &Options) -> Self {
        let name = function.name_any();
        let namespace = function.namespace().unwrap_or_default();
        let expose = function.spec.expose();
        if expose.visibility() == Visibility::Cluster {
            let host = format!("{name}.{namespace}.svc.{}", options.cluster_domain);
            let url = url(Scheme::Http, &host, options.internal_url_port);
            return Self { host, url };
        }
        let own = expose
            .hosts()
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .find(|host| !lost.contains(&Claim::Host(host.clone())));
        let host = own.unwrap_or_else(|| format!("{name}.{namespace}.{}", options.domain));
        let url = url(options.url_scheme, &host, options.url_port);
        Self { host, url }
    }
}

fn url(scheme: Scheme, host: &str, port: Option<u16>) -> String {
    let usual = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    match port {
        Some(port) if port != usual => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use fermata_crds::{Expose, FunctionSpec};

    use super::*;

    fn function(visibility: Option<Visibility>, hosts: &[&str]) -> Function {
        let expose = Expose {
            visibility,
            hosts: Some(hosts.iter().map(|&host| host.to_owned()).collect()),
            path: None,
        };
        let spec = FunctionSpec {
            expose: Some(expose),
            ..FunctionSpec::default()
        };
        let mut function = Function::new("hello", spec);
        function.metadata.namespace = Some("demo".into());
        function
    }

    #[test]
    fn a_function_is_called_by_its_name_under_the_domain() {
        let mut options = Options {
            url_port: Some(8080),
            ..Options::default()
        };
        let address = Address::of(&function(None, &[]), &[], &options);
        assert_eq!(address.url, "http://hello.demo.localhost:8080");
        assert_eq!(address.host, "hello.demo.localhost");
        options.url_scheme = Scheme::Https;
        options.url_port = Some(443);
        let address = Address::of(&function(None, &[]), &[], &options);
        assert_eq!(address.url, "https://hello.demo.localhost");
    }

    #[test]
    fn the_first_host_that_is_not_lost_is_told() {
        let function = function(None, &["A.example", "b.example"]);
        let options = Options::default();
        assert_eq!(Address::of(&function, &[], &options).host, "a.example");
        let lost = [Claim::Host("a.example".into())];
        assert_eq!(Address::of(&function, &lost, &options).host, "b.example");
    }

    #[test]
    fn a_function_for_the_cluster_is_called_by_its_service() {
        let function = function(Some(Visibility::Cluster), &["a.example"]);
        let address = Address::of(&function, &[], &Options::default());
        assert_eq!(address.url, "http://hello.demo.svc.cluster.local");
        let options = Options {
            internal_url_port: Some(8081),
            ..Options::default()
        };
        let address = Address::of(&function, &[], &options);
        assert_eq!(address.url, "http://hello.demo.svc.cluster.local:8081");
    }
}
