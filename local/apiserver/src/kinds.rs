//! The built-in kinds: one row for each, from which all else that has to know them takes what it needs. What a kind
//! fills in and insists on beyond its schema is in a module of its own.

mod action;
pub(crate) mod config;
pub(crate) mod container;
pub(crate) mod definition;
pub(crate) mod event;
pub(crate) mod meta;
pub(crate) mod namespace;
pub(crate) mod pod;
pub(crate) mod quota;
mod row;
mod rule;
pub(crate) mod schemas;
pub(crate) mod service;
pub(crate) mod volume;
pub(crate) mod workload;

use k8s_openapi::{
    api::{
        apps::v1 as apps, authentication::v1 as authentication, authorization::v1 as authorization,
        autoscaling::v1 as autoscaling, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, networking::v1 as networking,
        policy::v1 as policy,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
};
use serde_json::Value;

pub(crate) use self::row::{Kind, Request};
use crate::{convert::Conversion, resource::Hooks, table::builtin as columns, typed};

/// The kinds whose objects are kept.
pub(crate) static KINDS: &[Kind] = &[
    Kind {
        short_names: &["ns"],
        subresources: &["status", "finalize"],
        hooks: namespace::HOOKS,
        ..Kind::of::<core::Namespace>(columns::namespace)
    },
    Kind {
        short_names: &["po"],
        categories: &["all"],
        subresources: &["status", "log", "streams", "eviction"],
        generation: true,
        hooks: pod::HOOKS,
        ..Kind::of::<core::Pod>(columns::pod)
    },
    Kind {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &["status"],
        hooks: service::HOOKS,
        ..Kind::of::<core::Service>(columns::service)
    },
    Kind {
        short_names: &["cm"],
        hooks: config::CONFIG_MAP,
        ..Kind::of::<core::ConfigMap>(columns::config_map)
    },
    Kind {
        hooks: config::SECRET,
        ..Kind::of::<core::Secret>(columns::secret)
    },
    Kind {
        short_names: &["sa"],
        subresources: &["token"],
        ..Kind::of::<core::ServiceAccount>(columns::service_account)
    },
    Kind {
        short_names: &["ev"],
        hooks: event::CORE,
        ..Kind::of::<core::Event>(columns::event)
    },
    Kind {
        short_names: &["no"],
        subresources: &["status"],
        ..Kind::of::<core::Node>(columns::node)
    },
    Kind {
        short_names: &["ep"],
        ..Kind::of::<core::Endpoints>(columns::endpoints)
    },
    Kind {
        short_names: &["quota"],
        subresources: &["status"],
        hooks: quota::HOOKS,
        ..Kind::of::<core::ResourceQuota>(columns::resource_quota)
    },
    Kind {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &["status", "scale"],
        generation: true,
        hooks: workload::DEPLOYMENT,
        ..Kind::of::<apps::Deployment>(columns::deployment)
    },
    Kind {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &["status", "scale"],
        generation: true,
        hooks: workload::REPLICA_SET,
        ..Kind::of::<apps::ReplicaSet>(columns::replica_set)
    },
    Kind::of::<coordination::Lease>(columns::lease),
    Kind {
        short_names: &["ev"],
        // Both kinds of Event are one set of objects.
        storage_group: "",
        conversion: Conversion::Event,
        hooks: event::NEW,
        ..Kind::of::<events::Event>(columns::new_event)
    },
    Kind {
        generation: true,
        ..Kind::of::<discovery::EndpointSlice>(columns::endpoint_slice)
    },
    Kind {
        short_names: &["pdb"],
        subresources: &["status"],
        generation: true,
        hooks: Hooks {
            check: typed::check::<policy::PodDisruptionBudget>,
            ..Hooks::BUILTIN
        },
        ..Kind::of::<policy::PodDisruptionBudget>(columns::disruption_budget)
    },
    Kind {
        short_names: &["netpol"],
        generation: true,
        ..Kind::of::<networking::NetworkPolicy>(columns::network_policy)
    },
    Kind {
        short_names: &["ing"],
        subresources: &["status"],
        generation: true,
        ..Kind::of::<networking::Ingress>(columns::ingress)
    },
    Kind {
        short_names: &["crd", "crds"],
        subresources: &["status"],
        generation: true,
        hooks: definition::HOOKS,
        ..Kind::of::<apiextensions::CustomResourceDefinition>(columns::definition)
    },
];

pub(crate) static SUBJECT_REVIEW: Request = Request::of::<authentication::SelfSubjectReview>();
pub(crate) static TOKEN_REVIEW: Request = Request::of::<authentication::TokenReview>();
pub(crate) static ACCESS_REVIEW: Request = Request::of::<authorization::SelfSubjectAccessReview>();
pub(crate) static RULES_REVIEW: Request = Request::of::<authorization::SelfSubjectRulesReview>();
pub(crate) static SCALE: Request = Request::of::<autoscaling::Scale>();
pub(crate) static TOKEN_REQUEST: Request = Request::of::<authentication::TokenRequest>();
pub(crate) static EVICTION: Request = Request {
    api_versions: &["policy/v1", "policy/v1beta1"],
    ..Request::of::<policy::Eviction>()
};
pub(crate) static DELETE_OPTIONS: Request = Request::delete_options();

/// The kinds that are kept nowhere: questions, what is asked of an object, and options.
pub(crate) static REQUESTS: &[&Request] = &[
    &SUBJECT_REVIEW,
    &TOKEN_REVIEW,
    &ACCESS_REVIEW,
    &RULES_REVIEW,
    &SCALE,
    &TOKEN_REQUEST,
    &EVICTION,
    &DELETE_OPTIONS,
];

/// The groups of the built-in kinds.
fn groups() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.group)
}

/// Puts a default where a field is absent.
fn default(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.entry(field).or_insert_with(|| value.into());
    }
}

/// The items of a list field; none when it is absent.
pub(crate) fn items<'a>(
    object: &'a Value,
    field: &str,
) -> impl Iterator<Item = (usize, &'a Value)> {
    object[field].as_array().into_iter().flatten().enumerate()
}

/// The struct in a field, if it is there.
fn inner<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    object.get_mut(field).filter(|value| value.is_object())
}

pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

pub(crate) fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
