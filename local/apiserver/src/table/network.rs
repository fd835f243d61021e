//! The columns of the kinds that say how pods are reached.

use k8s_openapi::api::{
    core::v1::{Endpoints, Service, ServicePort},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, NetworkPolicy},
};
use serde_json::Value;

use super::{
    Columns,
    cells::{age, join, or_none, or_unset, pairs, selector, text, wide},
};

pub(crate) fn service() -> Columns {
    Columns::named::<Service>(vec![
        text("Type", |service| {
            let type_ = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
            type_.into()
        }),
        text("Cluster-IP", |service| {
            let spec = service.spec.as_ref();
            or_none(spec.and_then(|spec| spec.cluster_ip.as_deref()))
        }),
        text("External-IP", external),
        text("Port(s)", |service| {
            let spec = service.spec.as_ref();
            let ports = spec.and_then(|spec| spec.ports.as_ref());
            or_none(Some(&join(ports.into_iter().flatten().map(port))))
        }),
        age(),
        wide("Selector", |service| {
            let spec = service.spec.as_ref();
            pairs(spec.and_then(|spec| spec.selector.as_ref()))
        }),
    ])
}

fn external(service: &Service) -> Value {
    let Some(spec) = &service.spec else {
        return or_none(None);
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        return or_none(spec.external_name.as_deref());
    }
    let addresses = spec.external_ips.iter().flatten().cloned();
    or_none(Some(&join(addresses)))
}

fn port(port: &ServicePort) -> String {
    let protocol = port.protocol.as_deref().unwrap_or_default();
    match port.node_port.filter(|node| *node > 0) {
        Some(node) => format!("{}:{node}/{protocol}", port.port),
        None => format!("{}/{protocol}", port.port),
    }
}

pub(crate) fn ingress() -> Columns {
    Columns::named::<Ingress>(vec![
        text("Class", |ingress| {
            let spec = ingress.spec.as_ref();
            or_none(spec.and_then(|spec| spec.ingress_class_name.as_deref()))
        }),
        text("Hosts", |ingress| {
            let rules = ingress
                .spec
                .iter()
                .flat_map(|spec| spec.rules.iter().flatten());
            let hosts = join(rules.map(|rule| rule.host.clone().unwrap_or_default()));
            if hosts.is_empty() {
                "*".into()
            } else {
                hosts.into()
            }
        }),
        text("Address", |ingress| {
            let balancer = ingress.status.as_ref();
            let balancer = balancer.and_then(|status| status.load_balancer.as_ref());
            let points = balancer.and_then(|balancer| balancer.ingress.as_ref());
            let addresses = points.into_iter().flatten().map(|point| {
                let address = point.ip.as_ref().or(point.hostname.as_ref());
                address.cloned().unwrap_or_default()
            });
            join(addresses).into()
        }),
        text("Ports", |ingress| {
            let tls = ingress.spec.as_ref().and_then(|spec| spec.tls.as_ref());
            if tls.is_some_and(|tls| !tls.is_empty()) {
                "80, 443"
            } else {
                "80"
            }
            .into()
        }),
        age(),
    ])
}

pub(crate) fn network_policy() -> Columns {
    Columns::named::<NetworkPolicy>(vec![
        text("Pod-Selector", |policy| {
            let spec = policy.spec.as_ref();
            selector(spec.and_then(|spec| spec.pod_selector.as_ref()))
        }),
        age(),
    ])
}

pub(crate) fn endpoint_slice() -> Columns {
    Columns::named::<EndpointSlice>(vec![
        text("AddressType", |slice| slice.address_type.as_str().into()),
        text("Ports", |slice| {
            let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
            or_unset(&join(ports.map(|port| port.to_string())))
        }),
        text("Endpoints", |slice| {
            let all = slice.endpoints.iter().flatten();
            or_unset(&join(all.map(|one| join(one.addresses.iter().cloned()))))
        }),
        age(),
    ])
}

pub(crate) fn endpoints() -> Columns {
    Columns::named::<Endpoints>(vec![
        text("Endpoints", |endpoints| {
            let all = endpoints.subsets.iter().flatten().flat_map(|set| {
                let addresses = set.addresses.iter().flatten();
                addresses.flat_map(|address| {
                    let ports = set.ports.iter().flatten();
                    ports.map(|port| format!("{}:{}", address.ip, port.port))
                })
            });
            or_none(Some(&join(all)))
        }),
        age(),
    ])
}
