//! Ownership: which manager of fields is responsible for what of an object (`metadata.managedFields`).

use serde_json::Value;

use crate::{
    apply::{Writer, managers::Manager},
    clock,
    resource::Resource,
};

/// Records who owns what after an update. Without an old object, against the skeleton of a new one.
pub(crate) fn own(resource: &Resource, manager: Manager, old: Option<&Value>, new: &mut Value) {
    let skeleton;
    let old = match old {
        Some(old) => old,
        None => {
            skeleton = (resource.hooks.skeleton)();
            &skeleton
        }
    };
    writer(resource, manager).update(old, new);
}

pub(crate) fn writer(resource: &Resource, manager: Manager) -> Writer<'_> {
    Writer {
        at: resource.schema.at_root(),
        manager,
        status: resource.subresources.status,
        now: clock::now(),
    }
}
