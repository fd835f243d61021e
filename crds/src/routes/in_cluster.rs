//! What the names of functions are in the cluster.

/// The domain of Services, below the cluster's own.
pub const SERVICE_DOMAIN: &str = "svc";

/// Which function a host means that a pod asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InCluster<'a> {
    /// This NAME.NAMESPACE, whoever asks.
    Whole(&'a str),
    /// This name, in the namespace of the pod that asks.
    Short(&'a str),
}

// === impl InCluster ===

impl<'a> InCluster<'a> {
    /// Reads a host in lower case as a pod's resolver does, whose search list is NAMESPACE.svc.DOMAIN,
    /// svc.DOMAIN and DOMAIN (<https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>):
    /// NAME.NAMESPACE is found in svc.DOMAIN before NAME.svc could be found in DOMAIN. So `pay.svc` is the
    /// function `pay` of the namespace `svc`, and never that of the caller's own.
    #[must_use]
    pub fn of(host: &'a str, cluster_domain: &str) -> Option<Self> {
        let below = |host: &'a str, domain: &str| {
            host.strip_suffix(domain)
                .and_then(|rest| rest.strip_suffix('.'))
                .filter(|_| !domain.is_empty())
        };
        if let Some(rest) = below(host, cluster_domain) {
            return below(rest, SERVICE_DOMAIN)
                .filter(|name| is_whole(name))
                .map(Self::Whole);
        }
        if let Some(name) = below(host, SERVICE_DOMAIN).filter(|name| is_whole(name)) {
            return Some(Self::Whole(name));
        }
        match host {
            "" => None,
            name if is_whole(name) => Some(Self::Whole(name)),
            name => (!name.contains('.')).then_some(Self::Short(name)),
        }
    }
}

/// Whether it is a name and a namespace.
fn is_whole(name: &str) -> bool {
    name.split_once('.').is_some_and(|(name, namespace)| {
        !name.is_empty() && !namespace.is_empty() && !namespace.contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_means_what_a_pods_resolver_makes_of_it() {
        for (host, meant) in [
            ("pay", Some(InCluster::Short("pay"))),
            ("svc", Some(InCluster::Short("svc"))),
            ("pay.a", Some(InCluster::Whole("pay.a"))),
            ("pay.a.svc", Some(InCluster::Whole("pay.a"))),
            ("pay.a.svc.cluster.local", Some(InCluster::Whole("pay.a"))),
            // A namespace may be called svc.
            ("pay.svc", Some(InCluster::Whole("pay.svc"))),
            ("pay.svc.svc", Some(InCluster::Whole("pay.svc"))),
            (
                "pay.svc.svc.cluster.local",
                Some(InCluster::Whole("pay.svc")),
            ),
            ("pay.svc.cluster.local", None),
            ("pay.cluster.local", None),
            ("svc.cluster.local", None),
            ("pay.a.b", None),
            ("", None),
            (".", None),
            ("pay.", None),
            (".svc", None),
        ] {
            assert_eq!(InCluster::of(host, "cluster.local"), meant, "{host:?}");
        }
    }
}
