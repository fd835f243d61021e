//! Why an instance that runs takes no requests yet.
//!
//! The cluster gives a start its time before it calls it failed; whoever waits for it should hear what its
//! probe finds meanwhile.

use fermata_crds::names;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use crate::commands::describe;

/// What the readiness probe of a function's instance finds, in a sentence. `None` if nothing is known, which
/// includes that it may not be known.
pub(crate) async fn why(client: &Client, namespace: &str, function: &str) -> Option<String> {
    let of_function = format!(
        "{}={function},!{}",
        names::FUNCTION_LABEL,
        names::IMAGE_BUILD_LABEL
    );
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().labels(&of_function))
        .await
        .ok()?;
    let pod = pods.into_iter().find(runs_unready)?;
    let events = Api::<Event>::namespaced(client.clone(), namespace)
        .list(&ListParams::default())
        .await
        .ok()?;
    let probes = events.into_iter().filter(|event| {
        event.involved_object.uid == pod.uid() && event.reason.as_deref() == Some("Unhealthy")
    });
    let newest = probes.max_by_key(describe::last_seen)?;
    Some(sentence(port(&pod), newest.message.as_deref()?))
}

fn runs_unready(pod: &Pod) -> bool {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let mut own = statuses.filter(|status| status.name == names::CONTAINER && !status.ready);
    own.any(|status| {
        let state = status.state.as_ref();
        state.is_some_and(|state| state.running.is_some())
    })
}

fn port(pod: &Pod) -> Option<i32> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut own = containers.filter(|container| container.name == names::CONTAINER);
    let ports = own.next()?.ports.as_ref()?;
    let http = ports
        .iter()
        .find(|port| port.name.as_deref() == Some(names::PORT_NAME));
    http.map(|port| port.container_port)
}

fn sentence(port: Option<i32>, probe: &str) -> String {
    match port {
        Some(port) if probe.contains("refused") => {
            format!("it runs, and nothing listens on $PORT ({port})")
        }
        _ => format!("it runs and is not ready: {probe}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_nobody_listens_on_is_named() {
        let refused = "Readiness probe failed: dial tcp 10.0.0.1:8080: connect: connection refused";
        assert_eq!(
            sentence(Some(8080), refused),
            "it runs, and nothing listens on $PORT (8080)"
        );
        let status = "Readiness probe failed: HTTP probe failed with statuscode: 500";
        assert_eq!(
            sentence(Some(8080), status),
            format!("it runs and is not ready: {status}")
        );
    }
}
