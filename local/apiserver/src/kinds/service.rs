//! Services. There is no virtual network here, so a Service gets no address of its own: it is
//! headless unless it says otherwise.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    container::{one_of, port_number},
    default, items, items_mut, meta, text,
};
use crate::{names, resource::Hooks, status::FieldError};

pub(crate) const HOOKS: Hooks = Hooks {
    prepare,
    validate,
    name: names::label_1035,
    ..Hooks::BUILTIN
};

fn prepare(service: &mut Value, old: Option<&Value>) {
    default(service, "spec", json!({}));
    if old.is_none() {
        service["status"] = json!({"loadBalancer": {}});
    }
    let spec = &mut service["spec"];
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    for port in items_mut(spec, "ports") {
        default(port, "protocol", "TCP");
        let number = port["port"].clone();
        default(port, "targetPort", number);
    }
    if spec["type"] == "ExternalName" {
        return;
    }
    default(spec, "clusterIP", "None");
    let address = spec["clusterIP"].clone();
    default(spec, "clusterIPs", json!([address]));
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", "SingleStack");
    default(spec, "internalTrafficPolicy", "Cluster");
}

fn validate(service: &Value, _old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &service["spec"];
    one_of(
        spec,
        "type",
        "spec",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        errors,
    );
    one_of(
        spec,
        "sessionAffinity",
        "spec",
        &["ClientIP", "None"],
        errors,
    );
    meta::labels(&spec["selector"], "spec.selector", errors);
    if spec["type"] == "ExternalName" {
        let name = text(spec, "externalName").trim_end_matches('.');
        if name.is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        } else if let Some(why) = names::subdomain(name) {
            errors.push(FieldError::invalid("spec.externalName", &json!(name), why));
        }
    }
    let many = items(spec, "ports").count() > 1;
    let (mut names, mut ports) = (HashSet::new(), HashSet::new());
    for (index, port) in items(spec, "ports") {
        let path = format!("spec.ports[{index}]");
        port_number(&port["port"], &format!("{path}.port"), errors);
        if port["targetPort"].is_number() {
            port_number(&port["targetPort"], &format!("{path}.targetPort"), errors);
        }
        one_of(port, "protocol", &path, &["SCTP", "TCP", "UDP"], errors);
        let name = text(port, "name");
        if name.is_empty() {
            if many {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            }
        } else if let Some(why) = names::label(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                &json!(name),
                why,
            ));
        } else if !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
        }
        if !ports.insert((port["port"].as_i64(), text(port, "protocol"))) {
            errors.push(FieldError::duplicate(
                path,
                &json!({"port": port["port"], "protocol": port["protocol"]}),
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
        validate(&service, None, &mut errors);
        assert_eq!(errors, [FieldError::required("spec.externalName", "")]);
    }

    #[test]
    fn several_ports_need_names_of_their_own() {
        let mut service = json!({"spec": {"ports": [{"port": 80}, {"port": 80, "name": "b"}, {"port": 0, "name": "b"}]}});
        prepare(&mut service, None);
        assert_eq!(service["spec"]["ports"][0]["targetPort"], 80);
        let mut errors = Vec::new();
        validate(&service, None, &mut errors);
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
