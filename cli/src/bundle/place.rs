//! Where a cluster takes bundles, as it tells everybody.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use fermata_crds::names::{BUNDLES_CONFIG_MAP, BUNDLES_NAMESPACE};
use http::Uri;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

/// What the ConfigMap is called where it is told.
pub(crate) const URL: &str = "url";
pub(crate) const IN_CLUSTER: &str = "inCluster";
pub(crate) const ACCESS: &str = "access";
const KEPT: &str = "kept";

/// Why none are taken, where that is said.
pub(crate) const WHY: &str = "why";

/// How the one who deploys is known where it is by the connection.
pub(crate) const USER: &str = "user";

/// How the one who deploys is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    /// By the connection, on the machine of `fermata up`.
    User,
    /// By a token of the cluster, by https.
    Token,
    /// By a token of the cluster, which may come by http.
    PlainToken,
}

/// Where bundles go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// The beginning of the URLs that are pushed to.
    pub(super) url: String,
    /// The same for who fetches.
    pub(super) in_cluster: String,
    pub(super) access: Access,
}

// === impl Place ===

impl Place {
    /// Asks the cluster. `url` is in place of the address that it tells; `is_near` says that it leads nowhere else.
    ///
    /// # Errors
    ///
    /// When it takes no bundles, or says it in a way that cannot be used.
    pub(super) async fn of(
        client: &Client,
        url: Option<&str>,
        is_near: bool,
    ) -> anyhow::Result<Self> {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), BUNDLES_NAMESPACE);
        let told = match maps.get_opt(BUNDLES_CONFIG_MAP).await {
            Ok(told) => told.and_then(|map| map.data),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "the cluster does not tell where it takes pushes (the ConfigMap {BUNDLES_NAMESPACE}/{BUNDLES_CONFIG_MAP})"
                    )
                });
            }
        };
        Self::told(&told.unwrap_or_default(), url, is_near)
    }

    fn told(
        told: &BTreeMap<String, String>,
        url: Option<&str>,
        is_near: bool,
    ) -> anyhow::Result<Self> {
        let said = |name: &str| told.get(name).map(|said| said.trim_end_matches('/'));
        let Some(in_cluster) = said(IN_CLUSTER) else {
            match said(WHY) {
                Some(why) => bail!("`fermata up` takes no pushes: {why}"),
                None => {
                    bail!("this cluster takes no pushes: git.push.enabled of the chart lets it")
                }
            }
        };
        if said(KEPT) == Some("false") {
            bail!(
                "this cluster keeps pushes in a pod, with which they go, and instances start from bundles: git.push.existingClaim of the chart keeps them, or builds.registry makes images of them"
            );
        }
        let access = match said(ACCESS) {
            Some(USER) => Access::User,
            Some("plainToken") => Access::PlainToken,
            _ => Access::Token,
        };
        let Some(url) = url.map(|url| url.trim_end_matches('/')).or(said(URL)) else {
            bail!("the cluster does not tell where its gateway is; name it with --git-url");
        };
        let parsed: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let scheme = parsed.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") || url.contains('@') {
            bail!("{url} is no URL of a gateway: write https://HOST, without a user");
        }
        if scheme == "http" && access == Access::Token && !is_near {
            bail!(
                "a token of the cluster is not sent to {url}, where anybody on the way can read it; name an address with https"
            );
        }
        Ok(Self {
            url: url.to_owned(),
            in_cluster: in_cluster.to_owned(),
            access,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)], url: Option<&str>) -> anyhow::Result<Place> {
        let pairs = pairs.iter();
        let told = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Place::told(&told.collect(), url, false)
    }

    #[test]
    fn a_cluster_says_where_and_how() {
        let inside = (
            IN_CLUSTER,
            "http://fermata-gateway.fermata-system.svc.cluster.local",
        );
        let outside = (URL, "https://functions.example.com/");
        let place = told(&[inside, outside], None).unwrap();
        assert_eq!(place.url, "https://functions.example.com");
        assert_eq!(place.access, Access::Token);
        let named = Some("https://other.example.com:8443");
        let place = told(&[inside, outside], named).unwrap();
        assert_eq!(Some(&*place.url), named);
        let plain = [inside, (ACCESS, "plainToken")];
        assert!(told(&plain, Some("http://10.0.0.1:8080")).is_ok());
        for (pairs, url, says) in [
            (&[][..], None, "git.push.enabled"),
            (&[(WHY, "there is no git on PATH")], None, "no git on PATH"),
            (&[inside, outside, (KEPT, "false")], None, "existingClaim"),
            (&[inside], None, "--git-url"),
            (&[inside], Some("http://10.0.0.1"), "with https"),
            (&[inside], Some("ftp://10.0.0.1"), "no URL of a gateway"),
            (&[inside], Some("https://a:b@c"), "without a user"),
        ] {
            let error = told(pairs, url).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
