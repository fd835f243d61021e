//! The columns of the built-in kinds, as a real API server gives them.

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde_json::{Value, json};

use super::{
    Column, Columns,
    cells::{age, text},
};
pub(crate) use super::{
    event::{event, new_event},
    network::{endpoint_slice, endpoints, ingress, network_policy, service},
    node::node,
    pod::pod,
    workload::{deployment, disruption_budget, replica_set},
};

pub(crate) fn config_map() -> Columns {
    Columns::named::<ConfigMap>(vec![
        text("Data", |map| {
            let texts = map.data.as_ref().map_or(0, |data| data.len());
            let binaries = map.binary_data.as_ref().map_or(0, |data| data.len());
            (texts + binaries).into()
        }),
        age(),
    ])
}

pub(crate) fn secret() -> Columns {
    Columns::named::<Secret>(vec![
        text("Type", |secret| json!(secret.type_)),
        text("Data", |secret| {
            secret.data.as_ref().map_or(0, |data| data.len()).into()
        }),
        age(),
    ])
}

pub(crate) fn namespace() -> Columns {
    Columns::named::<Namespace>(vec![
        text("Status", |namespace| {
            let status = namespace.status.as_ref();
            status.and_then(|status| status.phase.as_deref()).into()
        }),
        age(),
    ])
}

pub(crate) fn lease() -> Columns {
    Columns::named::<Lease>(vec![
        text("Holder", |lease| {
            let spec = lease.spec.as_ref();
            spec.and_then(|spec| spec.holder_identity.as_deref()).into()
        }),
        age(),
    ])
}

pub(crate) fn definition() -> Columns {
    Columns::named::<CustomResourceDefinition>(vec![(
        Column::new("Created At", "date"),
        |definition| json!(definition.metadata.creation_timestamp),
    )])
}

pub(crate) fn service_account() -> Columns {
    Columns::named::<ServiceAccount>(vec![
        text("Secrets", |account| {
            let secrets = account.secrets.as_ref();
            secrets.map_or(0, |secrets| secrets.len()).into()
        }),
        age(),
    ])
}

pub(crate) fn resource_quota() -> Columns {
    Columns::named::<ResourceQuota>(vec![
        text("Request", |quota| {
            used(quota, |name| !name.starts_with("limits."))
        }),
        text("Limit", |quota| {
            used(quota, |name| name.starts_with("limits."))
        }),
        age(),
    ])
}

fn used(quota: &ResourceQuota, wanted: impl Fn(&str) -> bool) -> Value {
    let Some(status) = &quota.status else {
        return "".into();
    };
    let parts: Vec<String> = status
        .hard
        .iter()
        .flatten()
        .filter(|(name, _)| wanted(name))
        .map(|(name, most)| {
            let used = status.used.as_ref().and_then(|used| used.get(name));
            let used = used.map_or("", |used| used.0.as_str());
            format!("{name}: {used}/{}", most.0)
        })
        .collect();
    parts.join(", ").into()
}
