//! Ownership: which manager of fields is responsible for what of an object (`metadata.managedFields`).

use serde_json::{Value, json};

use crate::{
    apply::{Writer, managers::Manager},
    clock, kinds,
    resource::Resource,
};

/// Records who owns what after an update. Without an old object, against the skeleton of a new one.
pub(crate) fn own(resource: &Resource, manager: Manager, old: Option<&Value>, new: &mut Value) {
    let skeleton;
    let old = match old {
        Some(old) => old,
        None => {
            skeleton = skeleton_of(resource);
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

/// The fields that Go's structs always have. They come with an object and belong to nobody.
fn skeleton_of(resource: &Resource) -> Value {
    match (resource.custom.is_some(), resource.group.as_str()) {
        (true, _) => json!({"metadata": {}}),
        (false, _) if resource.kind == "Event" => kinds::event::skeleton(&resource.group),
        (false, "apps") => json!({"metadata": {}, "status": {}, "spec": {
            "strategy": {}, "template": {"metadata": {}, "spec": {"containers": null}},
        }}),
        (false, _) => json!({"metadata": {}, "spec": {"containers": null}, "status": {}}),
    }
}
