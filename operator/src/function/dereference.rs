//! Step one: everything a Function's reconcile has to know, read from the caches and, for source
//! that is in a ConfigMap, from the API server.

use std::{collections::HashMap, sync::Arc};

use fermata_crds::{
    Function, Revision, Runtime,
    routes::{self, Claim, ClaimError, Claimant},
    source_files::SourceFiles,
};
use fermata_daemon::watch::Key;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Pod},
};
use kube::{Api, ResourceExt as _};

use crate::{
    cache::controller_uid,
    cluster::Cluster,
    context::Context,
    function::look::{self, Look},
    observed::{deployment::ObservedDeployment, service::ObservedService},
    sources::{Sources, Version},
};

/// A Function and what it refers to.
pub(crate) struct Inputs {
    pub(crate) function: Arc<Function>,
    /// The Runtime it names; none for image functions, or when it does not exist.
    pub(crate) runtime: Option<Arc<Runtime>>,
    pub(crate) source: FoundSource,
    /// All Revisions that name this Function, by name.
    pub(crate) revisions: Vec<Arc<Revision>>,
    /// The Deployments of these Revisions, by name.
    pub(crate) deployments: HashMap<String, Arc<ObservedDeployment>>,
    /// The Service with the Function's name, whoever owns it.
    pub(crate) service: Option<Arc<ObservedService>>,
    /// What is known of its git repository; only where its source is in one.
    pub(crate) look: Option<Look>,
    /// The pod that looks at a repository which is the Function's no more.
    pub(crate) left: Option<Box<Pod>>,
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

/// Where the source files of a Function are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FoundSource {
    /// It runs an image.
    None,
    /// They are in the Function itself.
    Inline,
    /// They are in a git repository: each pod fetches them.
    Git,
    /// They are in a ConfigMap, which was read.
    ConfigMap(Content),
    /// They are in a ConfigMap that is what it was when this Revision took them over.
    Held(Arc<Revision>),
    /// The ConfigMap does not exist.
    Missing,
}

/// What a ConfigMap holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Content {
    pub(crate) files: SourceFiles,
    pub(crate) version: Version,
}

/// The source cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the {kind} {key}")]
pub(crate) struct DereferenceError {
    kind: &'static str,
    key: Key,
    source: Box<kube::Error>,
}

/// Collects what the Function refers to.
pub(crate) async fn dereference(
    function: Arc<Function>,
    context: &Context,
) -> Result<Inputs, DereferenceError> {
    let key = Key::of(&*function);
    let cluster = &context.cluster;
    let revisions = cluster.revisions_of(&key);
    let source = source_files(&function, &key, &revisions, context).await?;
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
    let look = look(&function, &key, context).await?;
    let left = left(&function, &key, context).await?;
    Ok(Inputs {
        runtime,
        source,
        revisions,
        deployments,
        service: cluster.services.get(&key),
        lost,
        look,
        left,
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

/// What is known of the Function's git repository. Its pod is read only where one may be there.
async fn look(
    function: &Function,
    key: &Key,
    context: &Context,
) -> Result<Option<Look>, DereferenceError> {
    let source = function.spec.template.source.as_ref();
    let Some(git) = source.and_then(|source| source.git.as_ref()) else {
        return Ok(None);
    };
    let without = look::decide(function, git, None, Timestamp::now());
    let may_be = context.looks.has(key)
        || matches!(without.next, look::Next::Start(_)) && context.looks.take(key);
    if !may_be {
        return Ok(Some(without));
    }
    let pod = pod_that_looks(key, context).await?;
    Ok(Some(look::decide(function, git, pod, Timestamp::now())))
}

/// The pod that looks for a Function whose source is in git no more. Whether one may be there is known from its place,
/// or else from the status.
async fn left(
    function: &Function,
    key: &Key,
    context: &Context,
) -> Result<Option<Box<Pod>>, DereferenceError> {
    let source = function.spec.template.source.as_ref();
    let status = function.status.as_ref();
    let may_be = context.looks.has(key) || status.is_some_and(|status| status.source.is_some());
    if source.is_some_and(|source| source.git.is_some()) || !may_be {
        return Ok(None);
    }
    let pod = pod_that_looks(key, context).await?;
    let own = pod.filter(|pod| controller_uid(pod) == function.metadata.uid.as_deref());
    Ok(own.map(Box::new))
}

async fn pod_that_looks(key: &Key, context: &Context) -> Result<Option<Pod>, DereferenceError> {
    let place = key.sibling(look::pod::name(&key.name));
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &place.namespace);
    let pod = api.get_opt(&place.name).await;
    pod.map_err(|source| DereferenceError {
        kind: "Pod",
        key: place,
        source: Box::new(source),
    })
}

async fn source_files(
    function: &Function,
    key: &Key,
    revisions: &[Arc<Revision>],
    context: &Context,
) -> Result<FoundSource, DereferenceError> {
    let Some(source) = &function.spec.template.source else {
        context.sources.forget(key);
        return Ok(FoundSource::None);
    };
    let Some(config_map) = &source.config_map else {
        context.sources.forget(key);
        return Ok(match source.git {
            Some(_) => FoundSource::Git,
            None => FoundSource::Inline,
        });
    };
    let place = key.sibling(&*config_map.name);
    let Some(known) = context.cluster.config_maps.get(&place) else {
        return Ok(FoundSource::Missing);
    };
    let version = Version {
        uid: known.uid.clone(),
        resource_version: known.resource_version.clone(),
    };
    if let Some(revision) = context.sources.holder(key, &version, revisions) {
        return Ok(FoundSource::Held(revision));
    }
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &place.namespace);
    let read = api.get_opt(&place.name).await;
    let read = read.map_err(|source| DereferenceError {
        kind: "source ConfigMap",
        key: place,
        source: Box::new(source),
    })?;
    Ok(read.map_or(FoundSource::Missing, |config_map| {
        FoundSource::ConfigMap(Content::of(config_map))
    }))
}

// === impl Inputs ===

impl Inputs {
    /// Takes down that the Revision holds the source that was read.
    pub(crate) fn remember_source(&self, revision: &Revision, sources: &Sources) {
        let FoundSource::ConfigMap(content) = &self.source else {
            return;
        };
        if held_files(revision) == content.files {
            sources.remember(Key::of(&*self.function), content.version.clone(), revision);
        }
    }
}

/// The source files that a Revision holds.
pub(crate) fn held_files(revision: &Revision) -> SourceFiles {
    let source = revision.spec.template.source.as_ref();
    source.map(SourceFiles::of).unwrap_or_default()
}

// === impl Content ===

impl Content {
    /// Text under `binaryData` counts as text: kubectl puts everything that is not ASCII there.
    fn of(config_map: ConfigMap) -> Self {
        let mut content = Self {
            version: Version {
                uid: config_map.uid().unwrap_or_default(),
                resource_version: config_map.resource_version().unwrap_or_default(),
            },
            files: SourceFiles {
                text: config_map.data.unwrap_or_default(),
                ..SourceFiles::default()
            },
        };
        for (name, bytes) in config_map.binary_data.unwrap_or_default() {
            match String::from_utf8(bytes.0) {
                Ok(text) => {
                    content.files.text.insert(name, text);
                }
                Err(error) => {
                    let bytes = ByteString(error.into_bytes());
                    content.files.binary.insert(name, bytes);
                }
            }
        }
        content
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fixtures::{function, inputs, revision};

    const MAPPED: &str = "{ source: { runtime: python, configMap: { name: code } } }";

    fn content(text: &str, resource_version: &str) -> Content {
        Content {
            files: SourceFiles {
                text: BTreeMap::from([("main.py".to_owned(), text.to_owned())]),
                binary: BTreeMap::new(),
            },
            version: Version {
                uid: "code-uid".to_owned(),
                resource_version: resource_version.to_owned(),
            },
        }
    }

    #[test]
    fn of_a_source_that_a_revision_holds_nothing_else_is_kept() {
        let sources = Sources::default();
        let holder = Arc::new(revision(
            "{ functionName: hello, template: { source: { runtime: python, files: { main.py: 'x = 1' } } } }",
        ));
        let revisions = [holder.clone()];
        let key = Key::new("default", "hello");
        let mut inputs = inputs(function(MAPPED));
        inputs.source = FoundSource::ConfigMap(content("x = 1", "7"));
        inputs.remember_source(&holder, &sources);

        let version = |resource_version: &str| content("", resource_version).version;
        let found = sources.holder(&key, &version("7"), &revisions);
        assert!(found.is_some_and(|found| Arc::ptr_eq(&found, &holder)));
        assert_eq!(sources.holder(&key, &version("8"), &revisions), None);
        assert_eq!(sources.holder(&key, &version("7"), &[]), None);
        sources.forget(&key);
        assert_eq!(sources.holder(&key, &version("7"), &revisions), None);
    }

    #[test]
    fn a_revision_that_holds_something_else_is_not_taken_for_the_holder() {
        let sources = Sources::default();
        let other = revision(
            "{ functionName: hello, template: { source: { runtime: python, files: { main.py: 'x = 1' } } } }",
        );
        let mut inputs = inputs(function(MAPPED));
        inputs.source = FoundSource::ConfigMap(content("x = 2", "7"));
        inputs.remember_source(&other, &sources);
        let key = Key::new("default", "hello");
        let version = content("", "7").version;
        assert_eq!(sources.holder(&key, &version, &[Arc::new(other)]), None);
    }

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
        assert_eq!(content.files.text.len(), 2);
        assert_eq!(content.files.text["b.py"], "ä");
        assert_eq!(content.files.binary["c.bin"].0, [0xff]);
    }
}
