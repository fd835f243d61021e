//! A Revision's settings in the form that requests need them.

use std::time::Duration;

use fermata_crds::{Protocol, Revision, Template, names, probes};
use k8s_openapi::{
    api::core::v1::{HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::upstream::deadlines::Timeouts;

/// What never changes in a Revision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// How the gateway talks to the function.
    pub(crate) protocol: Protocol,
    /// The most requests at once on one instance; `u32::MAX` is no limit.
    pub(crate) concurrency: u32,
    /// How long it may take.
    pub(crate) timeouts: Timeouts,
    /// When an instance may get requests; all have to pass.
    pub(crate) checks: Box<[Check]>,
}

/// One thing to try before an instance gets requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Check {
    /// The port accepts a connection.
    Connect {
        /// Another port than the one for requests.
        port: Option<u16>,
    },
    /// A GET is answered with a status from 200 to 399.
    Get(Box<Get>),
    /// Only the cluster can tell: its own probe runs a command or speaks gRPC or TLS.
    Cluster,
}

/// An HTTP probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Get {
    /// Another port than the one for requests.
    pub(crate) port: Option<u16>,
    /// Path and query.
    pub(crate) path: Box<str>,
    /// Headers to send.
    pub(crate) headers: Vec<(Box<str>, Box<str>)>,
    /// How long one try may take.
    pub(crate) timeout: Duration,
}

// === impl Settings ===

impl Settings {
    /// The settings of the Revision.
    #[must_use]
    pub(crate) fn of(revision: &Revision) -> Self {
        let template = &revision.spec.template;
        let timeouts = template.timeouts();
        Self {
            protocol: template.protocol(),
            concurrency: template.concurrency().unwrap_or(u32::MAX),
            timeouts: Timeouts {
                request: timeouts.request(),
                first_byte: timeouts.first_byte().min(timeouts.request()),
                idle: timeouts.idle(),
                start: timeouts.start(),
            },
            checks: checks(template),
        }
    }

    /// Whether an instance works on a limited number of requests at once.
    #[must_use]
    pub(crate) fn is_limited(&self) -> bool {
        self.concurrency != u32::MAX
    }
}

/// A startup probe holds the readiness probe back, so both have to pass.
fn checks(template: &Template) -> Box<[Check]> {
    let mut checks: Vec<Check> = probes::startup(template)
        .iter()
        .chain([&probes::readiness(template)])
        .map(|probe| check(probe, template.port()))
        .collect();
    // What answers on the port accepts connections there.
    let answers = |check: &Check| matches!(check, Check::Get(get) if get.port.is_none());
    if checks.iter().any(answers) {
        checks.retain(|check| *check != Check::Connect { port: None });
    }
    checks.dedup();
    checks.into()
}

fn check(probe: &Probe, port: u16) -> Check {
    let seconds = probe.timeout_seconds.unwrap_or(1).max(1);
    let timeout = Duration::from_secs(u64::try_from(seconds).unwrap_or(1));
    if let Some(get) = &probe.http_get {
        return http_check(get, port, timeout);
    }
    match &probe.tcp_socket {
        Some(socket) => match other_port(&socket.port, port) {
            Ok(port) => Check::Connect { port },
            Err(UnknownPort) => Check::Cluster,
        },
        None => Check::Cluster,
    }
}

fn http_check(get: &HTTPGetAction, port: u16, timeout: Duration) -> Check {
    let plain = get.scheme.as_deref().is_none_or(|scheme| scheme == "HTTP");
    let other_host = get.host.is_some();
    let (true, false, Ok(port)) = (plain, other_host, other_port(&get.port, port)) else {
        return Check::Cluster;
    };
    let headers = get.http_headers.as_deref().unwrap_or_default();
    Check::Get(Box::new(Get {
        port,
        path: get
            .path
            .as_deref()
            .filter(|path| !path.is_empty())
            .unwrap_or("/")
            .into(),
        headers: headers
            .iter()
            .map(|header| (header.name.as_str().into(), header.value.as_str().into()))
            .collect(),
        timeout,
    }))
}

/// A port name that only the pod can resolve.
struct UnknownPort;

/// The probed port if it is not the one for requests. The one for requests is known by its name or
/// by the template's number, whatever number the cluster gave it in the end.
fn other_port(port: &IntOrString, requests: u16) -> Result<Option<u16>, UnknownPort> {
    let number = match port {
        IntOrString::String(name) if name == names::PORT_NAME => return Ok(None),
        IntOrString::String(name) => name.parse().map_err(|_| UnknownPort)?,
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| UnknownPort)?,
    };
    Ok((number != requests).then_some(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checks_of(template: serde_json::Value) -> Box<[Check]> {
        checks(&serde_json::from_value(template).unwrap())
    }

    #[test]
    fn the_default_check_is_a_connection() {
        assert_eq!(
            *checks_of(json!({ "image": "x" })),
            [Check::Connect { port: None }]
        );
    }

    #[test]
    fn an_http_probe_on_the_request_port_follows_it() {
        for port in [json!(9000), json!("http")] {
            let checks = checks_of(json!({
                "port": 9000,
                "readinessProbe": { "httpGet": { "port": port, "path": "/ready" }, "timeoutSeconds": 2 },
            }));
            let [Check::Get(get)] = &*checks else {
                panic!("{checks:?}")
            };
            assert_eq!(get.port, None);
            assert_eq!(&*get.path, "/ready");
            assert_eq!(get.timeout, Duration::from_secs(2));
        }
    }

    #[test]
    fn what_the_gateway_cannot_probe_is_left_to_the_cluster() {
        for probe in [
            json!({ "exec": { "command": ["true"] } }),
            json!({ "grpc": { "port": 8080 } }),
            json!({ "httpGet": { "port": 8080, "scheme": "HTTPS" } }),
            json!({ "httpGet": { "port": "admin" } }),
        ] {
            assert_eq!(
                *checks_of(json!({ "readinessProbe": probe })),
                [Check::Cluster],
                "{probe}"
            );
        }
    }

    #[test]
    fn a_startup_probe_comes_first() {
        let checks = checks_of(json!({
            "startupProbe": { "tcpSocket": { "port": 7 } },
            "readinessProbe": { "exec": { "command": ["true"] } },
        }));
        assert_eq!(*checks, [Check::Connect { port: Some(7) }, Check::Cluster]);
    }

    #[test]
    fn the_probe_of_the_pod_is_the_one_that_counts() {
        let over = |probe: serde_json::Value| {
            json!({
                "readinessProbe": { "httpGet": { "port": "http", "path": "/a" } },
                "podTemplate": { "spec": { "containers": [
                    { "name": "function", "readinessProbe": probe },
                ]}},
            })
        };
        let checks = checks_of(over(json!({ "exec": { "command": ["true"] } })));
        assert_eq!(*checks, [Check::Cluster]);
        let checks = checks_of(over(json!({ "httpGet": { "port": "http", "path": "/b" } })));
        assert!(
            matches!(&*checks, [Check::Get(get)] if &*get.path == "/b"),
            "{checks:?}"
        );
        let checks = checks_of(over(json!({ "timeoutSeconds": 9 })));
        let nine = Duration::from_secs(9);
        assert!(
            matches!(&*checks, [Check::Get(get)] if get.timeout == nine),
            "{checks:?}"
        );
    }

    #[test]
    fn a_probe_with_numbers_alone_asks_for_a_connection() {
        let checks = checks_of(json!({ "readinessProbe": { "periodSeconds": 3 } }));
        assert_eq!(*checks, [Check::Connect { port: None }]);
        let startup = json!({ "httpGet": { "port": "http", "path": "/up" } });
        let checks = checks_of(json!({ "startupProbe": startup }));
        assert!(matches!(&*checks, [Check::Get(_)]), "{checks:?}");
    }
}
