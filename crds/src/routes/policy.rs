//! What may be claimed, and by whom.

use std::{net::Ipv4Addr, str::FromStr};

use crate::{
    names,
    routes::{Claim, SERVICE_DOMAIN},
};

/// What an installation says of hosts and paths. Its operator and its gateways have to be given the
/// same.
///
/// Nobody gets what names something else already: the names of functions, whether they exist or not,
/// addresses, and the gateway's own hosts and paths. For the rest, domains and paths may be granted to
/// namespaces; what is not granted to anybody goes to the oldest who asks for it.
#[derive(Clone, Debug, Default)]
pub struct ClaimPolicy {
    /// Functions answer under NAME.NAMESPACE.DOMAIN.
    domain: String,
    /// Functions answer in the cluster under NAME.NAMESPACE.svc.CLUSTER_DOMAIN.
    cluster_domain: String,
    /// The gateway's own hosts.
    gateway_hosts: Vec<String>,
    grants: Vec<ClaimGrant>,
}

/// A domain with everything below it, or a path with everything below it, that only functions in some
/// namespaces may claim. Written DOMAIN=NAMESPACE,NAMESPACE or /PATH=NAMESPACE; the domain `*` is all
/// domains, the path `/` all paths, and an empty list is nobody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimGrant {
    subject: Claim,
    namespaces: Vec<String>,
}

/// A grant that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is not DOMAIN=NAMESPACE,... or /PATH=NAMESPACE,..., such as shop.example.com=shop,shop-staging"
)]
pub struct ClaimGrantError(String);

/// Why a claim is nobody's to make, or not this namespace's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// It is, or could become, the name of a function.
    #[error(
        "{host} is below {below}, where functions have their own names; every function answers under NAME.NAMESPACE.{below} without asking for it"
    )]
    FunctionName {
        /// The host.
        host: String,
        /// The domain.
        below: String,
    },
    /// It is an address.
    #[error("{0} is an address; give a DNS name")]
    Address(String),
    /// It has one label.
    #[error("{0} has a single label; give a whole DNS name such as {0}.example.com")]
    SingleLabel(String),
    /// It is the gateway's.
    #[error("{0} is the gateway's own host, which all functions share")]
    GatewayHost(String),
    /// It is the gateway's.
    #[error("{0} is below a path of the gateway itself")]
    GatewayPath(String),
    /// It is granted to other namespaces.
    #[error("{claim} is reserved by this installation for {}", listed(.namespaces))]
    NotGranted {
        /// The claim.
        claim: Claim,
        /// Those that may.
        namespaces: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => format!("the namespace {one}"),
        many => format!("the namespaces {}", many.join(", ")),
    }
}

// === impl ClaimPolicy ===

impl ClaimPolicy {
    /// The policy of an installation with these domains, hosts and grants.
    #[must_use]
    pub fn new(
        domain: &str,
        cluster_domain: &str,
        gateway_hosts: &[String],
        grants: &[ClaimGrant],
    ) -> Self {
        Self {
            domain: normal_host(domain),
            cluster_domain: normal_host(cluster_domain),
            gateway_hosts: gateway_hosts.iter().map(|host| normal_host(host)).collect(),
            grants: grants.to_vec(),
        }
    }

    /// Functions answer under NAME.NAMESPACE. and this, in lower case and without dots at its ends.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Functions answer in the cluster under NAME.NAMESPACE.svc. and this.
    #[must_use]
    pub fn cluster_domain(&self) -> &str {
        &self.cluster_domain
    }

    /// Whether a function of the namespace may make the claim.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn check(&self, namespace: &str, claim: &Claim) -> Result<(), ClaimError> {
        match claim {
            Claim::Host(host) => self.check_host(host)?,
            Claim::Path(path) => check_path(path)?,
        }
        // The most specific grant decides.
        let grant = self
            .grants
            .iter()
            .filter(|grant| grant.covers(claim))
            .max_by_key(|grant| grant.specificity());
        match grant {
            Some(grant) if !grant.namespaces.iter().any(|one| one == namespace) => {
                Err(ClaimError::NotGranted {
                    claim: claim.clone(),
                    namespaces: grant.namespaces.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    fn check_host(&self, host: &str) -> Result<(), ClaimError> {
        if is_address(host) {
            return Err(ClaimError::Address(host.to_owned()));
        }
        if self.gateway_hosts.iter().any(|own| own == host) {
            return Err(ClaimError::GatewayHost(host.to_owned()));
        }
        for domain in [
            &*self.domain,
            &self.cluster_domain,
            SERVICE_DOMAIN,
            "localhost",
        ] {
            if is_within(host, domain) {
                return Err(ClaimError::FunctionName {
                    host: host.to_owned(),
                    below: self.domain.clone(),
                });
            }
        }
        if !host.contains('.') {
            return Err(ClaimError::SingleLabel(host.to_owned()));
        }
        Ok(())
    }
}

fn check_path(path: &str) -> Result<(), ClaimError> {
    let first = path.split('/').nth(1).unwrap_or_default();
    if names::GATEWAY_PATHS.contains(&first) {
        return Err(ClaimError::GatewayPath(path.to_owned()));
    }
    Ok(())
}

/// Whether clients may take the host for an IPv4 address: they do if its last label is a number, in any
/// base (<https://url.spec.whatwg.org/#ends-in-a-number-checker>). IPv6 has characters that no host has.
fn is_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    hexadecimal || decimal || host.parse::<Ipv4Addr>().is_ok()
}

/// Whether a host is a domain, or below it.
fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| !domain.is_empty() && (rest.is_empty() || rest.ends_with('.')))
}

fn normal_host(host: &str) -> String {
    host.trim_matches('.').to_ascii_lowercase()
}

// === impl ClaimGrant ===

impl ClaimGrant {
    fn covers(&self, claim: &Claim) -> bool {
        match (&self.subject, claim) {
            (Claim::Host(domain), Claim::Host(host)) => domain == "*" || is_within(host, domain),
            (Claim::Path(granted), Claim::Path(path)) => {
                granted == "/"
                    || path
                        .strip_prefix(granted.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            _ => false,
        }
    }

    /// How much of a claim it names.
    fn specificity(&self) -> usize {
        match &self.subject {
            Claim::Host(domain) if domain == "*" => 0,
            Claim::Host(name) | Claim::Path(name) => name.len(),
        }
    }
}

impl FromStr for ClaimGrant {
    type Err = ClaimGrantError;

    fn from_str(text: &str) -> Result<Self, ClaimGrantError> {
        let error = || ClaimGrantError(text.to_owned());
        let (subject, namespaces) = text.split_once('=').ok_or_else(error)?;
        let subject = subject.trim();
        let subject = if subject.starts_with('/') {
            Claim::Path(super::normal_path(subject))
        } else {
            Claim::Host(normal_host(subject))
        };
        let is_label = |label: &str| {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty() && label.bytes().all(fits)
        };
        if let Claim::Host(domain) = &subject
            && domain != "*"
            && !domain.split('.').all(is_label)
        {
            return Err(error());
        }
        let namespaces: Vec<String> = namespaces
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        if !namespaces.iter().all(|name| is_label(name)) {
            return Err(error());
        }
        Ok(Self {
            subject,
            namespaces,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(grants: &[&str]) -> ClaimPolicy {
        let grants: Vec<ClaimGrant> = grants
            .iter()
            .map(|grant| grant.parse().expect("a grant"))
            .collect();
        let hosts = ["Fermata-Gateway.fermata-system".to_owned()];
        ClaimPolicy::new("Fn.example.com.", "cluster.local", &hosts, &grants)
    }

    fn host(policy: &ClaimPolicy, namespace: &str, host: &str) -> Result<(), ClaimError> {
        policy.check(namespace, &Claim::Host(host.to_owned()))
    }

    fn path(policy: &ClaimPolicy, namespace: &str, path: &str) -> Result<(), ClaimError> {
        policy.check(namespace, &Claim::Path(path.to_owned()))
    }

    #[test]
    fn names_of_functions_and_of_the_gateway_are_nobodys() {
        let policy = policy(&["*=a"]);
        for name in [
            "pay.a.fn.example.com",
            "fn.example.com",
            "x.fn.example.com",
            "pay.a.svc",
            "svc",
            "pay.a.svc.cluster.local",
            "cluster.local",
            "localhost",
            "pay.a.localhost",
            "127.0.0.1",
            "10.1",
            "2130706433",
            "0x7f.1",
            "a.0xff",
            "fermata-gateway.fermata-system",
            "pay",
        ] {
            assert!(host(&policy, "a", name).is_err(), "{name}");
        }
        for name in [
            "api.example.com",
            "notfn.example.com",
            "svc.example.org",
            "a.1b",
        ] {
            assert_eq!(host(&policy, "a", name), Ok(()), "{name}");
        }
    }

    #[test]
    fn paths_of_the_gateway_are_nobodys() {
        let policy = policy(&[]);
        for taken in ["/function", "/function/pay.a", "/topics/x", "/git/a.git"] {
            assert!(path(&policy, "a", taken).is_err(), "{taken}");
        }
        for free in ["/", "/functions", "/api/function"] {
            assert_eq!(path(&policy, "a", free), Ok(()), "{free}");
        }
    }

    #[test]
    fn the_most_specific_grant_decides() {
        let policy = policy(&[
            "example.org=ops",
            "shop.example.org=shop,shop-staging",
            "*=",
            "/api=ops",
            "/api/shop=shop",
        ]);
        for (namespace, name, allowed) in [
            ("shop", "shop.example.org", true),
            ("shop-staging", "a.shop.example.org", true),
            ("ops", "shop.example.org", false),
            ("ops", "www.example.org", true),
            ("shop", "www.example.org", false),
            ("shop", "notexample.org", false),
        ] {
            assert_eq!(host(&policy, namespace, name).is_ok(), allowed, "{name}");
        }
        for (namespace, name, allowed) in [
            ("shop", "/api/shop/x", true),
            ("shop", "/api/shopx", false),
            ("ops", "/api", true),
            ("ops", "/api/shop", false),
            ("shop", "/other", true),
        ] {
            assert_eq!(path(&policy, namespace, name).is_ok(), allowed, "{name}");
        }
        let error = host(&policy, "b", "a.shop.example.org").expect_err("not granted");
        assert_eq!(
            error.to_string(),
            "host a.shop.example.org is reserved by this installation for the namespaces shop, shop-staging"
        );
    }

    #[test]
    fn a_grant_that_makes_no_sense_is_refused() {
        for text in ["", "shop", "a b=c", "shop.example=A", "=a", "a..b=c"] {
            assert!(text.parse::<ClaimGrant>().is_err(), "{text}");
        }
    }
}

#[cfg(test)]
mod fuzz;
