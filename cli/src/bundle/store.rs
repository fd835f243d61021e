//! Brings bundles to where the cluster keeps them.

use anyhow::Context as _;
use fermata_crds::BUNDLES_SUFFIX;
use kube::{Client, Config, ResourceExt as _, api::DynamicObject};

use super::{
    Bundle, Kept, key,
    place::{Access, Place},
    push::{self, Push},
};
use crate::{bearer, git, namespace, output};

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
            let whom = "what takes pushes";
            let authorization = bearer::authorization(self.config.as_ref(), whom).await?;
            push.headers.push(format!("Authorization: {authorization}"));
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
}
