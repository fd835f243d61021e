//! CustomResourceDefinitions take effect with their write.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::Api,
    resource::{Resource, custom, registry::Registry},
    status::Failure,
    store::{CommitError, Expect, Key, Object, Put, State},
};

/// Where definitions are kept.
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Stores a change, and serves what it defines if it is one of a definition.
pub(super) async fn store(
    api: &Api,
    resource: &Resource,
    key: &Key,
    expect: Expect,
    put: Put,
    guard: impl FnOnce(&State, &Value) -> Result<(), Failure>,
) -> Result<Arc<Object>, CommitError<Failure>> {
    let storage = &resource.storage;
    if &**storage != DEFINITIONS {
        return api.store.write(storage, key, expect, put, guard).await;
    }
    let _held = api.definitions.lock().await;
    let old = api.store.get(storage, key);
    let new = match &put {
        Put::Store(value) => Some(value.clone()),
        Put::Remove(_) => None,
    };
    let old = old.map(|old| old.value());
    if old.as_ref().map(|old| &old["spec"]) != new.as_ref().map(|new| &new["spec"]) {
        serve(api, &key.name, new.as_ref()).map_err(CommitError::Refused)?;
    }
    let written = api.store.write(storage, key, expect, put, guard).await;
    if written.is_err() {
        let kept = api.store.get(storage, key);
        let kept = kept.map(|kept| kept.value());
        serve(api, &key.name, kept.as_deref()).map_err(CommitError::Refused)?;
    }
    written
}

/// Serves what a definition defines, and nothing else under its name. Watches of what was served
/// before end; clients list and watch again.
pub(crate) fn serve(api: &Api, name: &str, definition: Option<&Value>) -> Result<(), Failure> {
    let resources = match definition {
        Some(definition) => custom::resources(definition).map_err(Failure::internal)?,
        None => Vec::new(),
    };
    let mut registry = Registry::clone(&api.registry.load());
    registry.remove(name);
    for resource in resources {
        registry.insert(Arc::new(resource));
    }
    api.registry.store(Arc::new(registry));
    Ok(())
}
