//! Applies manifests, after their code was brought to the cluster where that is needed.

use anyhow::{Context as _, bail};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective},
    core::{GroupVersion, Status},
    discovery::{self, Scope},
};
use serde_json::Value;

use super::{FIELD_MANAGER, Manifest};
use crate::{
    bundle::{Kept, Store},
    errors::Refused,
    namespace, suggest,
};

// === impl Manifest ===

impl Manifest {
    /// Applies the object as it is in its file, after its code was brought to the cluster where that is needed.
    ///
    /// # Errors
    ///
    /// When the code is not taken; with the server's own sentence when it refuses the object.
    pub(crate) async fn deploy(
        mut self,
        client: &Client,
        store: &Store,
        namespace: &str,
    ) -> anyhow::Result<DynamicObject> {
        let kept = self.keep(store, namespace).await?;
        let applied = self.apply(client, namespace).await?;
        if let Some(kept) = kept {
            store.adopt(&kept, &applied).await?;
        }
        Ok(applied)
    }

    /// Brings the code of a Function to the cluster, if it is too large for the manifest, which then names it.
    ///
    /// # Errors
    ///
    /// When the cluster does not take it.
    pub(crate) async fn keep(
        &mut self,
        store: &Store,
        namespace: &str,
    ) -> anyhow::Result<Option<Kept>> {
        if let Some(why) = &self.uncarried {
            bail!("{} in {}: {why}", self.title(), self.file.display());
        }
        let Some(bundle) = &self.bundle else {
            return Ok(None);
        };
        let own = self.object.metadata.namespace.as_deref();
        let namespace = own.unwrap_or(namespace).to_owned();
        let kept = store
            .keep(bundle, &namespace, &self.object.name_any())
            .await;
        let kept = kept.with_context(|| format!("{}: its code", self.file.display()))?;
        let source = self.object.data.pointer_mut("/spec/source");
        let source = source.and_then(Value::as_object_mut);
        kept.put(source.context("the function has no source")?);
        // What it names is for this namespace alone.
        self.object.metadata.namespace = Some(namespace);
        Ok(Some(kept))
    }

    /// Applies the object as it is in its file, on the server's side. Fields that others have set
    /// meanwhile are taken over.
    ///
    /// # Errors
    ///
    /// With the server's own sentence when it refuses the object.
    async fn apply(&self, client: &Client, namespace: &str) -> anyhow::Result<DynamicObject> {
        let types = self.object.types.clone().unwrap_or_default();
        let kind: GroupVersionKind = types
            .try_into()
            .with_context(|| format!("{}: apiVersion or kind is not valid", self.file.display()))?;
        let (resource, capabilities) = match discovery::pinned_kind(client, &kind).await {
            Ok(known) => known,
            Err(error) => {
                let hint = similar_kind(client, &kind).await;
                return Err(error).with_context(|| {
                    format!(
                        "{}: the cluster does not know the kind {} of {}{hint}",
                        self.file.display(),
                        kind.kind,
                        kind.api_version()
                    )
                });
            }
        };
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => Api::namespaced_with(
                client.clone(),
                self.object
                    .metadata
                    .namespace
                    .as_deref()
                    .unwrap_or(namespace),
                &resource,
            ),
        };
        let mut params = PatchParams::apply(FIELD_MANAGER).force();
        params.field_validation = Some(ValidationDirective::Strict);
        match api
            .patch(
                &self.object.name_any(),
                &params,
                &Patch::Apply(&self.object),
            )
            .await
        {
            Ok(applied) => Ok(applied),
            Err(kube::Error::Api(status)) => {
                let sentence = format!(
                    "{} in {} was refused: {}{}",
                    self.title(),
                    self.file.display(),
                    status.message,
                    way_out(&status)
                );
                // Who has no valid token, comes too often or meets another change is taken another time.
                match status.code {
                    400 | 403 | 404 | 422 => Err(Refused(sentence).into()),
                    _ => bail!(sentence),
                }
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "{} in {} was not applied",
                    self.title(),
                    self.file.display()
                )
            }),
        }
    }
}

/// What to do about a refusal, as a part of a sentence, where the server's own one does not say it.
fn way_out(status: &Status) -> String {
    let details = status.details.as_ref();
    let missing = details.filter(|details| status.code == 404 && details.kind == "namespaces");
    missing.map_or_else(String::new, |namespace| {
        format!("; {}", namespace::way_out(&namespace.name))
    })
}

/// The kind of the same API that was perhaps meant, as a part of a sentence.
async fn similar_kind(client: &Client, unknown: &GroupVersionKind) -> String {
    let version = GroupVersion::gv(&unknown.group, &unknown.version);
    let Ok(group) = discovery::pinned_group(client, &version).await else {
        return String::new();
    };
    let known = group.versioned_resources(&unknown.version);
    let kinds = known.iter().map(|(resource, _)| resource.kind.as_str());
    suggest::hint(&unknown.kind, kinds)
}
