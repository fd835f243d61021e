//! The columns of the kinds that make pods.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Container, PodTemplateSpec},
    policy::v1::PodDisruptionBudget,
};
use serde_json::Value;

use super::{
    Columns,
    cells::{age, join, number, or_na, selector, text, wide},
};

pub(crate) fn deployment() -> Columns {
    Columns::named::<Deployment>(vec![
        text("Ready", |deployment| {
            let ready = deployment.status.as_ref().and_then(|s| s.ready_replicas);
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            format!("{}/{}", ready.unwrap_or(0), wanted.unwrap_or(0)).into()
        }),
        number("Up-to-date", |deployment| {
            let updated = deployment.status.as_ref().and_then(|s| s.updated_replicas);
            updated.unwrap_or(0).into()
        }),
        number("Available", |deployment| {
            let status = deployment.status.as_ref();
            let available = status.and_then(|status| status.available_replicas);
            available.unwrap_or(0).into()
        }),
        age(),
        wide("Containers", |deployment| names(template(deployment))),
        wide("Images", |deployment| images(template(deployment))),
        wide("Selector", |deployment| {
            selector(deployment.spec.as_ref().map(|spec| &spec.selector))
        }),
    ])
}

pub(crate) fn replica_set() -> Columns {
    Columns::named::<ReplicaSet>(vec![
        number("Desired", |set| {
            let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
            wanted.unwrap_or(0).into()
        }),
        number("Current", |set| {
            set.status.as_ref().map_or(0, |s| s.replicas).into()
        }),
        number("Ready", |set| {
            let ready = set.status.as_ref().and_then(|s| s.ready_replicas);
            ready.unwrap_or(0).into()
        }),
        age(),
        wide("Containers", |set| names(template_of_set(set))),
        wide("Images", |set| images(template_of_set(set))),
        wide("Selector", |set| {
            selector(set.spec.as_ref().map(|spec| &spec.selector))
        }),
    ])
}

pub(crate) fn disruption_budget() -> Columns {
    Columns::named::<PodDisruptionBudget>(vec![
        text("Min Available", |budget| {
            let spec = budget.spec.as_ref();
            or_na(spec.and_then(|spec| spec.min_available.as_ref()))
        }),
        text("Max Unavailable", |budget| {
            let spec = budget.spec.as_ref();
            or_na(spec.and_then(|spec| spec.max_unavailable.as_ref()))
        }),
        number("Allowed Disruptions", |budget| {
            let status = budget.status.as_ref();
            let allowed = status.and_then(|status| status.disruptions_allowed);
            allowed.unwrap_or(0).into()
        }),
        age(),
    ])
}

fn template(deployment: &Deployment) -> Option<&PodTemplateSpec> {
    deployment.spec.as_ref().map(|spec| &spec.template)
}

fn template_of_set(set: &ReplicaSet) -> Option<&PodTemplateSpec> {
    set.spec.as_ref()?.template.as_ref()
}

fn containers(template: Option<&PodTemplateSpec>) -> &[Container] {
    let spec = template.and_then(|template| template.spec.as_ref());
    spec.map_or(&[], |spec| &spec.containers)
}

fn names(template: Option<&PodTemplateSpec>) -> Value {
    join(containers(template).iter().map(|one| one.name.clone())).into()
}

fn images(template: Option<&PodTemplateSpec>) -> Value {
    let images = containers(template).iter().map(|one| one.image.clone());
    join(images.map(Option::unwrap_or_default)).into()
}
