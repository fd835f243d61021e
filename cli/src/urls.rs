//! Where a function is called. Pure.

use fermata_crds::{Function, names};
use http::Uri;
use kube::ResourceExt as _;

/// The ways to call a function.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Urls {
    /// By host, as the status says.
    pub(crate) host: String,
    /// By path, which needs no name to be resolved. Absent where the gateway's address is not known.
    pub(crate) path: Option<String>,
}

// === impl Urls ===

impl Urls {
    /// `here` says that the gateway is on this machine, as that of `fermata up` is.
    pub(crate) fn of(function: &Function, here: bool) -> Self {
        let status = function.status.as_ref();
        let host = status
            .and_then(|status| status.url.clone())
            .unwrap_or_default();
        let path = host
            .parse::<Uri>()
            .ok()
            .filter(|uri| here || uri.host().is_some_and(|host| host.ends_with(".localhost")))
            .map(|uri| {
                let gateway = format!("127.0.0.1:{}", uri.port_u16().unwrap_or(80));
                by_path(function, &gateway)
            });
        Self { host, path }
    }
}

/// The URL of a function by its path at a gateway. The namespace is left out where it need not be.
pub(crate) fn by_path(function: &Function, gateway: &str) -> String {
    let name = function.name_any();
    let prefix = names::FUNCTION_PATH_PREFIX;
    match function.namespace().as_deref() {
        None | Some("default") => format!("http://{gateway}{prefix}{name}"),
        Some(namespace) => format!("http://{gateway}{prefix}{name}.{namespace}"),
    }
}

/// Whether a function answers in-cluster callers only.
#[cfg(feature = "embedded")]
pub(crate) fn is_internal(function: &Function) -> bool {
    function.spec.expose().visibility() == fermata_crds::Visibility::Cluster
}

#[cfg(test)]
mod tests {
    use fermata_crds::{FunctionSpec, FunctionStatus};

    use super::*;

    fn function(namespace: &str, url: &str) -> Function {
        let mut function = Function::new("hello", FunctionSpec::default());
        function.metadata.namespace = Some(namespace.to_owned());
        function.status = Some(FunctionStatus {
            url: Some(url.to_owned()),
            ..FunctionStatus::default()
        });
        function
    }

    #[test]
    fn both_forms_are_told_where_the_gateway_is_known() {
        let local = function("default", "http://hello.default.localhost:8080");
        assert_eq!(
            Urls::of(&local, false).path.as_deref(),
            Some("http://127.0.0.1:8080/function/hello")
        );
        let own = function("shop", "http://shop.example:8080");
        let urls = Urls::of(&own, false);
        assert_eq!(
            (urls.host.as_str(), urls.path),
            ("http://shop.example:8080", None)
        );
        assert_eq!(
            Urls::of(&own, true).path.as_deref(),
            Some("http://127.0.0.1:8080/function/hello.shop")
        );
    }
}
