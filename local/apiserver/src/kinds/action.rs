//! Rules for what probes and hooks do.

use k8s_openapi::{
    api::core::v1::{
        GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec, Probe, TCPSocketAction,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;

use super::rule::{not_negative, port_name, port_number};
use crate::status::FieldError;

/// Rules for the hooks of a container.
pub(super) fn hooks(hooks: &Lifecycle, spec: &PodSpec, path: &str, errors: &mut Vec<FieldError>) {
    for (field, hook) in [
        ("postStart", &hooks.post_start),
        ("preStop", &hooks.pre_stop),
    ] {
        if let Some(hook) = hook {
            let path = format!("{path}.{field}");
            Action::of_hook(hook).validate(&path, errors);
            sleep(hook, spec, &path, errors);
        }
    }
}

/// Rules for a probe.
pub(super) fn probe(probe: &Probe, path: &str, errors: &mut Vec<FieldError>) {
    Action::of_probe(probe).validate(path, errors);
    for (field, seconds) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        not_negative(seconds, &format!("{path}.{field}"), errors);
    }
}

/// A hook may sleep for as long as the pod has to end, and no longer.
fn sleep(hook: &LifecycleHandler, spec: &PodSpec, path: &str, errors: &mut Vec<FieldError>) {
    if let (Some(action), Some(most)) = (&hook.sleep, spec.termination_grace_period_seconds)
        && !(0..=most).contains(&action.seconds)
    {
        errors.push(FieldError::invalid(
            format!("{path}.sleep"),
            &json!(action.seconds),
            format!("must be non-negative and less than terminationGracePeriodSeconds ({most})"),
        ));
    }
}

/// What a probe or a hook does.
struct Action<'a> {
    exec: bool,
    http: Option<&'a HTTPGetAction>,
    tcp: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: bool,
}

// === impl Action ===

impl<'a> Action<'a> {
    fn of_probe(probe: &'a Probe) -> Self {
        Self {
            exec: probe.exec.is_some(),
            http: probe.http_get.as_ref(),
            tcp: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            sleep: false,
        }
    }

    fn of_hook(hook: &'a LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.is_some(),
            http: hook.http_get.as_ref(),
            tcp: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.is_some(),
        }
    }

    /// There has to be one, with a port that is one.
    fn validate(&self, path: &str, errors: &mut Vec<FieldError>) {
        let ports = [
            ("httpGet", self.http.map(|get| &get.port)),
            ("tcpSocket", self.tcp.map(|socket| &socket.port)),
        ];
        for (kind, port) in ports {
            let path = format!("{path}.{kind}.port");
            match port {
                None => {}
                Some(IntOrString::Int(number)) => port_number(*number, &path, errors),
                Some(IntOrString::String(name)) => {
                    if let Some(why) = port_name(name) {
                        errors.push(FieldError::invalid(path, &json!(name), why));
                    }
                }
            }
        }
        if let Some(grpc) = self.grpc {
            port_number(grpc.port, &format!("{path}.grpc.port"), errors);
        }
        let given = [
            self.exec,
            self.http.is_some(),
            self.tcp.is_some(),
            self.grpc.is_some(),
            self.sleep,
        ];
        match given.into_iter().filter(|given| *given).count() {
            0 => errors.push(FieldError::required(path, "must specify a handler type")),
            1 => {}
            _ => errors.push(FieldError::forbidden(
                path,
                "may not specify more than 1 handler type",
            )),
        }
    }
}
