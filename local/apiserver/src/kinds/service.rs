//! Services. There is no virtual network here, so a Service gets no address of its own: it is
//! headless unless it says otherwise.

use std::collections::HashSet;

use k8s_openapi::{
    api::core::v1::{LoadBalancerStatus, ServiceSpec, ServiceStatus},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Value, json};

use super::{
    default, meta,
    rule::{label, one_of, port_number},
};
use crate::{names, resource::Hooks, status::FieldError, typed};

pub(crate) const HOOKS: Hooks = Hooks {
    prepare,
    validate: |service, old, errors| {
        let old = old.map(|old| &old["spec"]);
        typed::rules(&service["spec"], old, errors, rules);
    },
    name: names::label_1035,
    ..Hooks::BUILTIN
};

/// The type of a Service that is another name only.
const EXTERNAL_NAME: &str = "ExternalName";

fn prepare(service: &mut Value, old: Option<&Value>) {
    default(service, "spec", json!({}));
    if old.is_none() {
        service["status"] = json!(ServiceStatus {
            load_balancer: Some(LoadBalancerStatus::default()),
            ..ServiceStatus::default()
        });
    }
    typed::change(&mut service["spec"], spec_defaults);
}

fn spec_defaults(spec: &mut ServiceSpec) {
    let text = |field: &mut Option<String>, value: &str| {
        field.get_or_insert_with(|| value.to_owned()).clone()
    };
    let type_ = text(&mut spec.type_, "ClusterIP");
    text(&mut spec.session_affinity, "None");
    for port in spec.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
        port.target_port.get_or_insert(IntOrString::Int(port.port));
    }
    if type_ == EXTERNAL_NAME {
        return;
    }
    let address = text(&mut spec.cluster_ip, "None");
    spec.cluster_ips.get_or_insert_with(|| vec![address]);
    spec.ip_families
        .get_or_insert_with(|| vec!["IPv4".to_owned()]);
    text(&mut spec.ip_family_policy, "SingleStack");
    text(&mut spec.internal_traffic_policy, "Cluster");
}

fn rules(spec: &ServiceSpec, _old: Option<&ServiceSpec>, errors: &mut Vec<FieldError>) {
    let type_ = spec.type_.as_deref();
    one_of(
        type_,
        "spec.type",
        &["ClusterIP", EXTERNAL_NAME, "LoadBalancer", "NodePort"],
        errors,
    );
    one_of(
        spec.session_affinity.as_deref(),
        "spec.sessionAffinity",
        &["ClientIP", "None"],
        errors,
    );
    let selector = meta::pairs(spec.selector.as_ref());
    meta::labels(selector, "spec.selector", errors);
    if type_ == Some(EXTERNAL_NAME) {
        let name = spec.external_name.as_deref().unwrap_or_default();
        let name = name.trim_end_matches('.');
        if name.is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        } else if let Some(why) = names::subdomain(name) {
            errors.push(FieldError::invalid("spec.externalName", &json!(name), why));
        }
    }
    let given = spec.ports.as_deref().unwrap_or_default();
    let (mut names, mut ports) = (HashSet::new(), HashSet::new());
    for (index, port) in given.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        port_number(port.port, &format!("{path}.port"), errors);
        if let Some(IntOrString::Int(target)) = port.target_port {
            port_number(target, &format!("{path}.targetPort"), errors);
        }
        let protocol = port.protocol.as_deref();
        one_of(
            protocol,
            &format!("{path}.protocol"),
            &["SCTP", "TCP", "UDP"],
            errors,
        );
        let name = port.name.as_deref().unwrap_or_default();
        if given.len() > 1 || !name.is_empty() {
            label(name, &format!("{path}.name"), &mut names, errors);
        }
        if !ports.insert((port.port, protocol)) {
            errors.push(FieldError::duplicate(
                path,
                &json!({"port": port.port, "protocol": protocol}),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_name_needs_a_name_and_gets_no_address() {
        let mut service = json!({"spec": {"type": "ExternalName"}});
        prepare(&mut service, None);
        assert!(service["spec"]["clusterIP"].is_null());
        let mut errors = Vec::new();
        (HOOKS.validate)(&service, None, &mut errors);
        assert_eq!(errors, [FieldError::required("spec.externalName", "")]);
    }

    #[test]
    fn several_ports_need_names_of_their_own() {
        let mut service = json!({"spec": {"ports": [{"port": 80}, {"port": 80, "name": "b"}, {"port": 0, "name": "b"}]}});
        prepare(&mut service, None);
        assert_eq!(service["spec"]["ports"][0]["targetPort"], 80);
        let mut errors = Vec::new();
        (HOOKS.validate)(&service, None, &mut errors);
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.ports[0].name",
                "spec.ports[1]",
                "spec.ports[2].port",
                "spec.ports[2].targetPort",
                "spec.ports[2].name"
            ]
        );
    }
}
