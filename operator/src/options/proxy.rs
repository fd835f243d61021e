//! The proxy behind which repositories, indexes and registries are.

use clap::Args;
use http::Uri;

/// What is reached without it in any case: the cluster itself.
const NEAR: [&str; 4] = ["localhost", "127.0.0.1", "::1", ".svc"];

/// A proxy for what fetches, looks, builds and pushes. Functions themselves do not get it.
#[derive(Args, Clone, Debug, Default)]
pub struct Proxy {
    /// Proxy for addresses with https: http://HOST:PORT. Everybody sees it who sees pods: leave out passwords.
    /// Default: none.
    #[arg(
        id = "https_proxy",
        long = "https-proxy",
        env = "FERMATA_BUILDS_HTTPS_PROXY",
        value_name = "URL",
        value_parser = address
    )]
    pub https: Option<String>,

    /// Proxy for addresses with http. Default: none.
    #[arg(
        id = "http_proxy",
        long = "http-proxy",
        env = "FERMATA_BUILDS_HTTP_PROXY",
        value_name = "URL",
        value_parser = address
    )]
    pub http: Option<String>,

    /// Hosts, domains and networks that are reached without it, separated by commas, beside those of the cluster.
    #[arg(
        id = "no_proxy",
        long = "no-proxy",
        env = "FERMATA_BUILDS_NO_PROXY",
        value_delimiter = ',',
        value_name = "HOSTS"
    )]
    pub except: Vec<String>,
}

// === impl Proxy ===

impl Proxy {
    /// The one of this process's own environment, whose variables are looked up by `get`.
    #[must_use]
    pub fn of_environment(get: impl Fn(&str) -> Option<String>) -> Self {
        let given = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| get(name));
            values.find(|value| !value.is_empty())
        };
        // Not all tools speak to others, such as socks5.
        let all = || given(&["all_proxy", "ALL_PROXY"]).filter(|url| url.starts_with("http://"));
        let except = given(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let except = except.split(',').map(|host| host.trim().to_owned());
        Self {
            https: given(&["https_proxy", "HTTPS_PROXY"]).or_else(all),
            // Not HTTP_PROXY in capitals, which whoever calls a program by CGI can set (https://httpoxy.org).
            http: given(&["http_proxy"]).or_else(all),
            except: except.filter(|host| !host.is_empty()).collect(),
        }
    }

    /// The variables by which programs know it; none if there is no proxy. Some know the one way to write them, some the
    /// other.
    pub(crate) fn variables(&self, cluster_domain: &str) -> Vec<(&'static str, String)> {
        if self.https.is_none() && self.http.is_none() {
            return Vec::new();
        }
        let cluster = format!(".{cluster_domain}");
        let near = NEAR.into_iter().chain([cluster.as_str()]);
        let all: Vec<&str> = near.chain(self.except.iter().map(String::as_str)).collect();
        let except = Some(all.join(","));
        let pairs = [
            (["HTTPS_PROXY", "https_proxy"], &self.https),
            (["HTTP_PROXY", "http_proxy"], &self.http),
            (["NO_PROXY", "no_proxy"], &except),
        ];
        let pairs = pairs.into_iter().filter_map(|(names, value)| {
            let value = value.as_ref()?;
            Some(names.map(|name| (name, value.clone())))
        });
        pairs.flatten().collect()
    }
}

/// As `fermata-push` takes it from the variable that it gets.
fn address(text: &str) -> Result<String, String> {
    let uri: Option<Uri> = text.parse().ok();
    let authority = uri.as_ref().and_then(|uri| {
        let bare = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        uri.authority()
            .filter(|_| bare && uri.query().is_none() && !text.contains(['@', '#']))
    });
    match authority {
        // A port that is no number belongs to neither.
        Some(found) if !found.host().is_empty() => {
            let whole = found.port_u16().is_some() || found.as_str() == found.host();
            whole.then(|| format!("http://{found}"))
        }
        _ => None,
    }
    .ok_or_else(|| "it is http://HOST:PORT, without a user or a path".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_told_in_both_ways_and_the_cluster_is_near() {
        let proxy = Proxy {
            https: Some("http://proxy:3128".into()),
            http: None,
            except: vec!["10.0.0.0/8".into()],
        };
        let near = "localhost,127.0.0.1,::1,.svc,.cluster.local,10.0.0.0/8".to_owned();
        assert_eq!(
            proxy.variables("cluster.local"),
            [
                ("HTTPS_PROXY", "http://proxy:3128".to_owned()),
                ("https_proxy", "http://proxy:3128".to_owned()),
                ("NO_PROXY", near.clone()),
                ("no_proxy", near),
            ]
        );
        assert!(Proxy::default().variables("cluster.local").is_empty());
    }

    #[test]
    fn an_environment_says_it_too() {
        let proxy = Proxy::of_environment(|name| {
            let value = match name {
                "HTTPS_PROXY" => "http://a:1",
                "https_proxy" | "HTTP_PROXY" => "",
                "NO_PROXY" => "a.example, ,b.example",
                _ => return None,
            };
            Some(value.to_owned())
        });
        assert_eq!(proxy.https.as_deref(), Some("http://a:1"));
        assert_eq!(proxy.http, None);
        assert_eq!(proxy.except, ["a.example", "b.example"]);
        let all = Proxy::of_environment(|name| match name {
            "ALL_PROXY" => Some("http://all:1".to_owned()),
            "http_proxy" => Some("http://b:1".to_owned()),
            _ => None,
        });
        assert_eq!(all.https.as_deref(), Some("http://all:1"));
        assert_eq!(all.http.as_deref(), Some("http://b:1"));
        let other =
            Proxy::of_environment(|name| (name == "ALL_PROXY").then(|| "socks5h://a:1".to_owned()));
        assert_eq!((other.https, other.http), (None, None));
    }

    #[test]
    fn an_address_has_no_password_and_no_path() {
        assert_eq!(
            address("http://[fd00::1]:3128/").unwrap(),
            "http://[fd00::1]:3128"
        );
        assert_eq!(address("http://proxy").unwrap(), "http://proxy");
        for wrong in [
            "proxy:3128",
            "https://proxy",
            "http://me:word@proxy",
            "http://proxy:3128/path",
            "http://proxy:3128?query",
            "http://proxy:port",
            "http://proxy:",
            "http://:3128",
            "http://",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
