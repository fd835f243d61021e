//! Step one: everything a Function's reconcile has to know, read from the caches and, for source
//! that is in a ConfigMap, from the API server.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use fermata_crds::{
    Function, Revision, Runtime,
    routes::{self, Claim, ClaimError, Claimant},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt as _};

use crate::{
    cluster::Cluster,
    context::Context,
    key::Key,
    observed::{deployment::ObservedDeployment, service::ObservedService},
};

/// A Function and what it refers to.
pub(crate) struct Seen {
    pub(crate) function: Arc<Function>,
    /// The Runtime it names; none for image functions, or when it does not exist.
    pub(crate) runtime: Option<Arc<Runtime>>,
    pub(crate) source: SourceFiles,
    /// All Revisions that name this Function, by name.
    pub(crate) revisions: Vec<Arc<Revision>>,
    /// The Deployments of these Revisions, by name.
    pub(crate) deployments: HashMap<String, Arc<ObservedDeployment>>,
    /// The Service with the Function's name, whoever owns it.
    pub(crate) service: Option<Arc<ObservedService>>,
    /// Hosts and paths it asks for and does not get, and why.
    pub(crate) lost: Vec<(Claim, Loss)>,
}

/// Why a Function does not get what it asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Loss {
    /// An older Function has it.
    Older(Claimant),
    /// The installation does not let it.
    NotAllowed(ClaimError),
}

/// The source files of a Function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SourceFiles {
    /// It runs an image.
    None,
    /// They are in the Function itself.
    Inline,
    /// They are in a ConfigMap.
    ConfigMap(Arc<Content>),
    /// The ConfigMap does not exist.
    Missing,
}

/// What a ConfigMap holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Content {
    pub(crate) files: BTreeMap<String, String>,
    /// Keys whose content is binary.
    pub(crate) binary: Vec<String>,
}

/// The source ConfigMaps as last read, one for each Function that has one, so that they are read
/// again only when they change.
#[derive(Default)]
pub(crate) struct Sources {
    read: Mutex<HashMap<Key, Source>>,
}

struct Source {
    uid: String,
    resource_version: String,
    content: Arc<Content>,
}

/// The source cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the source ConfigMap {key}")]
pub(crate) struct DereferenceError {
    key: Key,
    source: Box<kube::Error>,
}

/// Collects what the Function refers to.
pub(crate) async fn dereference(
    function: Arc<Function>,
    context: &Context,
) -> Result<Seen, DereferenceError> {
    let key = Key::of(&*function);
    let source = source_files(&function, &key, context).await?;
    let cluster = &context.cluster;
    let revisions = cluster.revisions_of(&key);
    let deployments = revisions
        .iter()
        .filter_map(|revision| {
            let name = revision.name_any();
            let deployment = cluster.deployments.get(&key.sibling(&*name))?;
            Some((name, deployment))
        })
        .collect();
    let runtime = function.spec.template.source.as_ref();
    let runtime = runtime.and_then(|source| cluster.runtimes.get(&Key::new("", &*source.runtime)));
    let lost = lost_claims(&function, cluster);
    Ok(Seen {
        runtime,
        source,
        revisions,
        deployments,
        service: cluster.services.get(&key),
        lost,
        function,
    })
}

/// The claims that lead elsewhere, or nowhere.
fn lost_claims(function: &Function, cluster: &Cluster) -> Vec<(Claim, Loss)> {
    let own = Claimant::of(function);
    routes::claims(function)
        .into_iter()
        .filter_map(|claim| {
            if let Err(error) = cluster.policy.check(&own.namespace, &claim) {
                return Some((claim, Loss::NotAllowed(error)));
            }
            let owner = cluster.owner(&claim).filter(|owner| *owner != own)?;
            Some((claim, Loss::Older(owner)))
        })
        .collect()
}

async fn source_files(
    function: &Function,
    key: &Key,
    context: &Context,
) -> Result<SourceFiles, DereferenceError> {
    let Some(source) = &function.spec.template.source else {
        context.sources.forget(key);
        return Ok(SourceFiles::None);
    };
    let Some(config_map) = &source.config_map else {
        context.sources.forget(key);
        return Ok(SourceFiles::Inline);
    };
    let place = key.sibling(&*config_map.name);
    let Some(known) = context.cluster.config_maps.get(&place) else {
        return Ok(SourceFiles::Missing);
    };
    if let Some(content) = context
        .sources
        .get(key, &known.uid, &known.resource_version)
    {
        return Ok(SourceFiles::ConfigMap(content));
    }
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &place.namespace);
    let read = api.get_opt(&place.name).await;
    let read = read.map_err(|source| DereferenceError {
        key: place,
        source: Box::new(source),
    })?;
    Ok(read.map_or(SourceFiles::Missing, |config_map| {
        SourceFiles::ConfigMap(context.sources.remember(key, config_map))
    }))
}

// === impl Sources ===

impl Sources {
    fn get(&self, function: &Key, uid: &str, resource_version: &str) -> Option<Arc<Content>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let source = read.get(function)?;
        (source.uid == uid && source.resource_version == resource_version)
            .then(|| source.content.clone())
    }

    fn remember(&self, function: &Key, config_map: ConfigMap) -> Arc<Content> {
        let source = Source {
            uid: config_map.uid().unwrap_or_default(),
            resource_version: config_map.resource_version().unwrap_or_default(),
            content: Arc::new(Content::of(config_map)),
        };
        let content = source.content.clone();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(function.clone(), source);
        content
    }

    /// Forgets the source of a Function that has none any more or is gone.
    pub(crate) fn forget(&self, function: &Key) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.remove(function);
    }
}

// === impl Content ===

impl Content {
    /// Text under `binaryData` counts as text: kubectl puts everything that is not ASCII there.
    fn of(config_map: ConfigMap) -> Self {
        let mut content = Self {
            files: config_map.data.unwrap_or_default(),
            binary: Vec::new(),
        };
        for (name, bytes) in config_map.binary_data.unwrap_or_default() {
            match String::from_utf8(bytes.0) {
                Ok(text) => {
                    content.files.insert(name, text);
                }
                Err(_) => content.binary.push(name),
            }
        }
        content
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn text_under_binary_data_is_text() {
        let config_map = ConfigMap {
            data: Some(BTreeMap::from([("a.py".into(), "a".into())])),
            binary_data: Some(BTreeMap::from([
                ("b.py".into(), ByteString("ä".into())),
                ("c.bin".into(), ByteString(vec![0xff])),
            ])),
            ..ConfigMap::default()
        };
        let content = Content::of(config_map);
        assert_eq!(content.files.len(), 2);
        assert_eq!(content.files["b.py"], "ä");
        assert_eq!(content.binary, ["c.bin"]);
    }
}
