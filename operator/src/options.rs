//! What can be set from outside.

mod builds;
mod functions;
mod proxy;

use std::fmt;

use clap::{Args, ValueEnum};
use fermata_crds::routes::{ClaimGrant, ClaimPolicy};
use fermata_daemon::admin::AdminOptions;

pub use builds::Builds;
pub use functions::{Functions, FunctionsError, SourceUser};
pub use proxy::Proxy;

/// Port of the admin listener where nothing is said.
pub(crate) const ADMIN_PORT: u16 = 9091;

/// Settings of the operator.
///
/// [`Options::default`] is for use inside another program: the values of the command line, but
/// without leader election and without the admin server.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Work only while holding a Lease, so that several replicas can run.
    #[arg(long, env = "FERMATA_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub leader_elect: bool,

    /// Namespace of the Lease.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        default_value = "fermata-system",
        value_name = "NAMESPACE"
    )]
    pub lease_namespace: String,

    /// Name of this replica, in the Lease and in events. Default: the host name, which is the pod's
    /// name, and the process id.
    #[arg(long, env = "FERMATA_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Where metrics and health are.
    #[command(flatten)]
    pub admin: AdminOptions,

    /// DNS name of the gateway's Service for callers in the cluster, to which a function's own Service leads
    /// them.
    #[arg(long, env = "FERMATA_GATEWAY_SERVICE", default_value = DEFAULT_GATEWAY_SERVICE, value_name = "HOST")]
    pub gateway_service: String,

    /// URL of the gateway as functions are told it, in FERMATA_GATEWAY. Default: http and the gateway's
    /// Service for callers in the cluster.
    #[arg(long, env = "FERMATA_GATEWAY_URL", value_name = "URL")]
    pub gateway_url: Option<String>,

    /// The domain functions are reached under: NAME.NAMESPACE.DOMAIN.
    #[arg(
        long,
        env = "FERMATA_DOMAIN",
        default_value = "localhost",
        value_name = "DOMAIN"
    )]
    pub domain: String,

    /// Scheme of the functions' URLs: https where something before the gateway ends TLS.
    #[arg(long, env = "FERMATA_URL_SCHEME", value_enum, default_value_t = Scheme::Http)]
    pub url_scheme: Scheme,

    /// Port in the functions' URLs. Default: none, the scheme's own.
    #[arg(long, env = "FERMATA_URL_PORT", value_name = "PORT")]
    pub url_port: Option<u16>,

    /// Port in the URLs of functions that are for the cluster only. Default: none, that of http.
    #[arg(long, env = "FERMATA_INTERNAL_URL_PORT", value_name = "PORT")]
    pub internal_url_port: Option<u16>,

    /// DNS domain of the cluster.
    #[arg(
        long,
        env = "FERMATA_CLUSTER_DOMAIN",
        default_value = "cluster.local",
        value_name = "DOMAIN"
    )]
    pub cluster_domain: String,

    /// A host of the gateway itself, which no function may claim; give the flag once for each. The gateway
    /// has to be given the same.
    #[arg(
        long = "gateway-host",
        env = "FERMATA_GATEWAY_HOSTS",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    pub gateway_hosts: Vec<String>,

    /// Grants a domain, or a path, with everything below it to some namespaces: DOMAIN=NAMESPACE,... or
    /// /PATH=NAMESPACE,...; the domain * is all that no other grant names. Give the flag once for each. The
    /// gateway has to be given the same.
    #[arg(
        long = "claim",
        env = "FERMATA_CLAIMS",
        value_delimiter = ';',
        value_name = "GRANT"
    )]
    pub claims: Vec<ClaimGrant>,

    /// Work for the Functions of these namespaces alone, and need no rights elsewhere but to read Runtimes;
    /// separated by commas. The gateway has to be given the same. Default: those of the whole cluster.
    #[arg(
        long,
        env = "FERMATA_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_parser = fermata_daemon::watch::namespace,
        value_name = "NAMESPACES"
    )]
    pub watch_namespaces: Vec<String>,

    /// Let Functions ask for the security profile privileged, which lets them do anything on their
    /// nodes.
    #[arg(
        long,
        env = "FERMATA_ALLOW_PRIVILEGED",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_name = "BOOL"
    )]
    pub allow_privileged: bool,

    /// Whether there is an events program, without which functions hear no topics. The gateway has to be given it too.
    #[arg(
        long,
        env = "FERMATA_EVENTS_ON",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_name = "BOOL"
    )]
    pub events: bool,

    /// Image with git, in which source files are fetched and git repositories are looked at.
    #[arg(long, env = "FERMATA_GIT_IMAGE", default_value = DEFAULT_GIT_IMAGE, value_name = "IMAGE")]
    pub git_image: String,

    /// What functions get whose manifests do not say.
    #[command(flatten)]
    pub functions: Functions,

    /// Whether functions are built into images.
    #[command(flatten)]
    pub builds: Builds,

    /// The proxy behind which repositories, indexes and registries are.
    #[command(flatten)]
    pub proxy: Proxy,

    /// Functions, and Revisions, that are reconciled at once.
    #[arg(long, env = "FERMATA_OPERATOR_CONCURRENCY", default_value_t = DEFAULT_CONCURRENCY, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    pub concurrency: u16,

    /// Whether the nodes keep what the installation of dependencies has made, as the embedded one does. The
    /// status of what is built says it.
    #[arg(skip)]
    pub keeps_builds: bool,

    /// The beginning of URLs of repositories that has no meaning to the network of this machine, and what takes its
    /// place when they are fetched.
    #[arg(skip)]
    pub git_address: Option<(String, String)>,
}

const DEFAULT_GATEWAY_SERVICE: &str = "fermata-gateway-internal.fermata-system.svc.cluster.local";
const DEFAULT_GIT_IMAGE: &str = concat!("ghcr.io/fermata-dev/git:", env!("CARGO_PKG_VERSION"));
const DEFAULT_CONCURRENCY: u16 = 16;

/// Scheme of a URL.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Scheme {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            leader_elect: false,
            lease_namespace: "fermata-system".to_owned(),
            identity: None,
            admin: AdminOptions::off(),
            gateway_service: DEFAULT_GATEWAY_SERVICE.to_owned(),
            gateway_url: None,
            domain: "localhost".to_owned(),
            url_scheme: Scheme::Http,
            url_port: None,
            internal_url_port: None,
            cluster_domain: "cluster.local".to_owned(),
            gateway_hosts: Vec::new(),
            claims: Vec::new(),
            watch_namespaces: Vec::new(),
            allow_privileged: false,
            events: false,
            git_image: DEFAULT_GIT_IMAGE.to_owned(),
            functions: Functions::default(),
            builds: Builds::default(),
            proxy: Proxy::default(),
            concurrency: DEFAULT_CONCURRENCY,
            keeps_builds: false,
            git_address: None,
        }
    }
}

impl Options {
    /// What functions may claim.
    pub(crate) fn claim_policy(&self) -> ClaimPolicy {
        ClaimPolicy::new(
            &self.domain,
            &self.cluster_domain,
            &self.gateway_hosts,
            &self.claims,
        )
    }

    /// Where functions call each other.
    pub(crate) fn gateway_url(&self) -> String {
        self.gateway_url
            .clone()
            .unwrap_or_else(|| format!("{}://{}", Scheme::Http, self.gateway_service))
    }

    /// Where a repository is fetched from.
    pub(crate) fn repository(&self, url: &str) -> String {
        let rest = self.git_address.as_ref().and_then(|(name, address)| {
            let rest = url.strip_prefix(name.as_str())?;
            rest.starts_with('/').then(|| format!("{address}{rest}"))
        });
        rest.unwrap_or_else(|| url.to_owned())
    }

    /// Name of this replica.
    pub(crate) fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let host = std::env::var("HOSTNAME").ok();
            let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
            let host = host.unwrap_or_default();
            match host.trim() {
                "" => format!("fermata-operator-{}", std::process::id()),
                host => format!("{host}-{}", std::process::id()),
            }
        })
    }
}

// === impl Scheme ===

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn a_bad_value_is_refused_with_a_way_out() {
        for (arguments, sentence) in [
            (["x", "--admin", "here"], "neither an address"),
            (["x", "--concurrency", "0"], "1..=1000"),
            (["x", "--url-scheme", "ftp"], "possible values"),
            (["x", "--source-user", "0"], "above 0"),
            (
                ["x", "--function-resources", "{\"limits\":7}"],
                "no resources as in a Pod",
            ),
            (["x", "--watch-namespaces", "a,B"], "no name of a namespace"),
            (
                ["x", "--builds-registry", "https://r.example"],
                "no registry",
            ),
            (["x", "--builds-concurrency", "0"], "1..=1000"),
        ] {
            let error = Cli::try_parse_from(arguments).err().expect("an error");
            assert!(error.to_string().contains(sentence), "{error}");
        }
    }

    #[test]
    fn privileged_functions_have_to_be_allowed() {
        for (arguments, allowed) in [
            (&["x"][..], false),
            (&["x", "--allow-privileged"], true),
            (&["x", "--allow-privileged=true"], true),
            (&["x", "--allow-privileged=false"], false),
        ] {
            let cli = Cli::try_parse_from(arguments).expect("options");
            assert_eq!(cli.options.allow_privileged, allowed, "{arguments:?}");
        }
    }

    #[test]
    fn the_admin_server_can_be_switched_off() {
        let cli = Cli::try_parse_from(["x", "--admin", "off", "--leader-elect", "false"]);
        let options = cli.expect("options").options;
        assert_eq!(options.admin.listen(ADMIN_PORT), None);
        assert!(!options.leader_elect);
    }

    #[test]
    fn the_platforms_own_repositories_are_where_its_gateway_is() {
        let own = "http://git.fermata-system.svc.cluster.local";
        let options = Options {
            git_address: Some((own.to_owned(), "http://127.0.0.1:8080".to_owned())),
            ..Options::default()
        };
        for (url, address) in [
            (
                format!("{own}/git/a.git"),
                "http://127.0.0.1:8080/git/a.git",
            ),
            (
                format!("{own}.example.com/a"),
                "http://git.fermata-system.svc.cluster.local.example.com/a",
            ),
            ("https://example.com/a".to_owned(), "https://example.com/a"),
        ] {
            assert_eq!(options.repository(&url), address);
        }
        assert_eq!(Options::default().repository(own), own);
    }
}
