//! Brings bundles to where the cluster keeps them.

use anyhow::{Context as _, bail};
use fermata_crds::BUNDLES_SUFFIX;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use kube::{
    Client, Config, ResourceExt as _,
    api::DynamicObject,
    client::{Body, ConfigExt as _},
};
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use super::{
    Bundle, Kept, key,
    place::{Access, Place},
    push::{self, Push},
};
use crate::{git, namespace, output};

/// A token for who has none in the kubeconfig.
const TOKEN: &str = "FERMATA_TOKEN";

/// Where bundles are kept.
#[derive(Clone)]
pub(crate) struct Store {
    client: Client,
    /// With what the one who deploys is known, where that is needed.
    config: Option<Config>,
    /// The address of the gateway, in place of what the cluster tells.
    url: Option<String>,
}

// === impl Store ===

impl Store {
    /// That of a cluster.
    pub(crate) fn new(client: Client, config: Option<Config>, url: Option<String>) -> Self {
        Self {
            client,
            config,
            url,
        }
    }

    /// Keeps a bundle of a function, unless it is there.
    ///
    /// # Errors
    ///
    /// When the cluster takes none, or not this one, with the way out.
    pub(crate) async fn keep(
        &self,
        bundle: &Bundle,
        namespace: &str,
        function: &str,
    ) -> anyhow::Result<Kept> {
        // What is brought to a namespace that is not there would stay behind.
        namespace::check(&self.client, namespace).await?;
        let kept = self.try_keep(bundle, namespace, function).await;
        kept.with_context(|| {
            format!(
                "{}, which is more than a manifest holds, and cannot be brought to the cluster. Leave out what the function does not need in .fermataignore, put it into a git repository (source.git), or build an image",
                bundle.about
            )
        })
    }

    async fn try_keep(
        &self,
        bundle: &Bundle,
        namespace: &str,
        function: &str,
    ) -> anyhow::Result<Kept> {
        // What deploys a push is beside where it goes.
        let within = git::Within::of_environment();
        let own = within.as_ref().map(|within| within.url.as_str());
        let url = own.or(self.url.as_deref());
        let place = Place::of(&self.client, url, within.is_some()).await?;
        let path = format!("git/{namespace}/{function}{BUNDLES_SUFFIX}");
        let mut push = Push {
            bundle,
            url: format!("{}/{path}", place.url),
            headers: vec![format!("{}: {}", git::BUNDLE_HEADER, bundle.commit)],
            function,
            is_near: within.is_some() || place.access == Access::User,
        };
        push.headers
            .extend(within.as_ref().map(git::Within::header));
        let mut secret = None;
        if place.access != Access::User {
            // First, since a Secret would be left behind by who has no token.
            push.headers.push(self.authorization().await?);
            let key = key::of(&self.client, namespace, function).await?;
            let reader = format!("{}: {}", git::READER_HEADER, git::digest(&key));
            push.headers.push(reader);
            secret = Some(key::name(function));
        }
        if push.run().await? == push::Outcome::Stored {
            let commit = bundle.commit.get(..7).unwrap_or_default();
            output::note(&format!("{function}: {} stored as {commit}", bundle.size));
        }
        Ok(Kept {
            url: format!("{}/{path}", place.in_cluster),
            commit: bundle.commit.clone(),
            secret,
        })
    }

    /// Lets what a function needs to read its bundles go with it.
    ///
    /// # Errors
    ///
    /// When the API refuses it.
    pub(crate) async fn adopt(&self, kept: &Kept, function: &DynamicObject) -> anyhow::Result<()> {
        let namespace = function.namespace().unwrap_or_default();
        if kept.secret.is_none() {
            return Ok(());
        }
        key::adopt(&self.client, &namespace, function).await
    }

    /// The header by which the one who deploys is known to the API server, and to what takes pushes.
    async fn authorization(&self) -> anyhow::Result<String> {
        if let Some(token) = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()) {
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!("{TOKEN} is no token");
            }
            return Ok(format!("Authorization: Bearer {token}"));
        }
        let none = || {
            format!(
                "the user of the kubeconfig has no token, by which what takes pushes could know it; put one into the variable {TOKEN}, such as `kubectl create token ACCOUNT` prints"
            )
        };
        let config = self.config.as_ref().with_context(none)?;
        let asking = header_of(config).context("the kubeconfig cannot be used")?;
        let answer = asking.with_context(none)?.await;
        let answer = answer
            .map_err(|error| anyhow::anyhow!("{error}"))
            .context("the kubeconfig gives no token")?;
        let value = answer.into_body().with_context(none)?;
        let value = value.to_str().context("the token is no text")?;
        Ok(format!("Authorization: {value}"))
    }
}

/// What the client itself sends.
type Seen = Response<Option<HeaderValue>>;

/// Asks for what the client itself sends, which may run a plugin or refresh a token; nothing if it shows a certificate.
fn header_of(
    config: &Config,
) -> Result<Option<BoxFuture<'static, Result<Seen, BoxError>>>, kube::Error> {
    let seen = service_fn(|request: Request<Body>| async move {
        let value = request.headers().get(header::AUTHORIZATION).cloned();
        Ok::<_, BoxError>(Response::new(value))
    });
    let layer = config.auth_layer()?;
    Ok(layer.map(|layer| {
        let asking = layer.layer(seen).oneshot(Request::new(Body::empty()));
        Box::pin(asking) as _
    }))
}
