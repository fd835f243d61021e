//! The built-in kinds.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Hooks, Resource, ScalePaths, Subresources, api_version};
use crate::{convert::Conversion, kinds, schema::builtin::builtins, table};

/// One row of the table below.
struct Row {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    all: bool,
    namespaced: bool,
    subresources: &'static [&'static str],
    generation: bool,
    module: &'static str,
}

const fn row(
    group: &'static str,
    module: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> Row {
    Row {
        group,
        kind,
        plural,
        short: &[],
        all: false,
        namespaced: true,
        subresources: &[],
        generation: false,
        module,
    }
}

const CORE: &str = "io.k8s.api.core.v1";

const ROWS: &[Row] = &[
    Row {
        short: &["ns"],
        namespaced: false,
        subresources: &["status", "finalize"],
        ..row("", CORE, "Namespace", "namespaces")
    },
    Row {
        short: &["po"],
        all: true,
        subresources: &["status", "log", "streams", "eviction"],
        generation: true,
        ..row("", CORE, "Pod", "pods")
    },
    Row {
        short: &["svc"],
        all: true,
        subresources: &["status"],
        ..row("", CORE, "Service", "services")
    },
    Row {
        short: &["cm"],
        ..row("", CORE, "ConfigMap", "configmaps")
    },
    row("", CORE, "Secret", "secrets"),
    Row {
        short: &["sa"],
        subresources: &["token"],
        ..row("", CORE, "ServiceAccount", "serviceaccounts")
    },
    Row {
        short: &["ev"],
        ..row("", CORE, "Event", "events")
    },
    Row {
        short: &["no"],
        namespaced: false,
        subresources: &["status"],
        ..row("", CORE, "Node", "nodes")
    },
    Row {
        short: &["ep"],
        ..row("", CORE, "Endpoints", "endpoints")
    },
    Row {
        short: &["quota"],
        subresources: &["status"],
        ..row("", CORE, "ResourceQuota", "resourcequotas")
    },
    Row {
        short: &["deploy"],
        all: true,
        subresources: &["status", "scale"],
        generation: true,
        ..row("apps", "io.k8s.api.apps.v1", "Deployment", "deployments")
    },
    Row {
        short: &["rs"],
        all: true,
        subresources: &["status", "scale"],
        generation: true,
        ..row("apps", "io.k8s.api.apps.v1", "ReplicaSet", "replicasets")
    },
    row(
        "coordination.k8s.io",
        "io.k8s.api.coordination.v1",
        "Lease",
        "leases",
    ),
    Row {
        short: &["ev"],
        ..row("events.k8s.io", "io.k8s.api.events.v1", "Event", "events")
    },
    Row {
        generation: true,
        ..row(
            "discovery.k8s.io",
            "io.k8s.api.discovery.v1",
            "EndpointSlice",
            "endpointslices",
        )
    },
    Row {
        short: &["pdb"],
        subresources: &["status"],
        generation: true,
        ..row(
            "policy",
            "io.k8s.api.policy.v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
        )
    },
    Row {
        short: &["netpol"],
        generation: true,
        ..row(
            "networking.k8s.io",
            "io.k8s.api.networking.v1",
            "NetworkPolicy",
            "networkpolicies",
        )
    },
    Row {
        short: &["ing"],
        subresources: &["status"],
        generation: true,
        ..row(
            "networking.k8s.io",
            "io.k8s.api.networking.v1",
            "Ingress",
            "ingresses",
        )
    },
    Row {
        short: &["crd", "crds"],
        namespaced: false,
        subresources: &["status"],
        generation: true,
        ..row(
            "apiextensions.k8s.io",
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        )
    },
];

/// The groups of the built-in kinds.
pub(crate) fn groups() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.group)
}

/// Every built-in resource. All are served in version `v1`.
pub(crate) fn resources() -> Vec<Resource> {
    ROWS.iter().map(build).collect()
}

fn build(row: &Row) -> Resource {
    let has = |name: &str| row.subresources.contains(&name);
    let definition = format!("{}.{}", row.module, row.kind);
    // Both kinds of Event are one set of objects.
    let (storage_group, conversion) = match row.group {
        "events.k8s.io" => ("", Conversion::Event),
        group => (group, Conversion::None),
    };
    Resource {
        group: row.group.to_owned(),
        version: "v1".to_owned(),
        kind: row.kind.to_owned(),
        list_kind: format!("{}List", row.kind),
        plural: row.plural.to_owned(),
        singular: row.kind.to_lowercase(),
        short_names: row.short.iter().map(|&name| name.to_owned()).collect(),
        categories: if row.all {
            vec!["all".to_owned()]
        } else {
            Vec::new()
        },
        namespaced: row.namespaced,
        storage: Arc::from(crate::status::qualified(row.plural, storage_group)),
        stored_version: api_version(storage_group, "v1"),
        conversion,
        schema: builtins().schema(&definition),
        definition,
        subresources: Subresources {
            status: has("status"),
            scale: has("scale").then(ScalePaths::builtin),
            finalize: has("finalize"),
            log: has("log"),
            streams: has("streams"),
            eviction: has("eviction"),
            token: has("token"),
        },
        generation: row.generation,
        columns: table::builtin::columns(row.group, row.kind),
        hooks: hooks(row.group, row.kind),
        custom: None,
        served: CancellationToken::new(),
    }
}

fn hooks(group: &str, kind: &str) -> Hooks {
    match (group, kind) {
        ("", "Pod") => kinds::pod::HOOKS,
        ("", "Namespace") => kinds::namespace::HOOKS,
        ("", "Service") => kinds::service::HOOKS,
        ("", "ConfigMap") => kinds::config::CONFIG_MAP,
        ("", "Secret") => kinds::config::SECRET,
        ("", "ResourceQuota") => kinds::quota::HOOKS,
        ("", "Event") => kinds::event::CORE,
        ("events.k8s.io", _) => kinds::event::NEW,
        ("apps", "Deployment") => kinds::workload::DEPLOYMENT,
        ("apps", "ReplicaSet") => kinds::workload::REPLICA_SET,
        ("apiextensions.k8s.io", _) => kinds::definition::HOOKS,
        _ => Hooks::NONE,
    }
}
