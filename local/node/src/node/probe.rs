//! Probes of the four kinds
//! (<https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/>).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::{
    api::core::v1::{Container, GRPCAction, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, time};

use super::process::Plan;

/// How a probe is timed; the defaults are Kubernetes'.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) initial_delay: Duration,
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) success_threshold: u32,
    pub(super) failure_threshold: u32,
}

// === impl Timing ===

impl Timing {
    pub(super) fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value
                    .and_then(|value| u64::try_from(value).ok())
                    .unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default: u32| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default)
                .max(1)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        }
    }
}

/// Tries the probe once. The error is the sentence the kubelet would put into its event.
///
/// Cancel safe: what was begun is given up.
pub(super) async fn check(probe: &Probe, container: &Container, plan: &Plan) -> Result<(), String> {
    let timeout = Timing::of(probe).timeout;
    let tried = time::timeout(timeout, async {
        if let Some(action) = &probe.http_get {
            http_get(action, container).await
        } else if let Some(action) = &probe.tcp_socket {
            let host = action.host.as_deref().unwrap_or(super::ADDRESS);
            connect(host, port(&action.port, container)?)
                .await
                .map(drop)
        } else if let Some(action) = &probe.grpc {
            grpc(action).await
        } else if let Some(action) = &probe.exec {
            exec(action.command.as_deref().unwrap_or_default(), plan).await
        } else {
            Ok(())
        }
    });
    tried
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

/// The number of a port that is given by number or by name.
pub(super) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            ports
                .clone()
                .find(|port| port.name.as_deref() == Some(name))
                .map(|port| port.container_port)
                .or_else(|| name.parse().ok())
        }
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| format!("there is no port {port:?}"))
}

/// A GET request as a probe or a hook makes it.
pub(super) async fn http_get(action: &HTTPGetAction, container: &Container) -> Result<(), String> {
    if action
        .scheme
        .as_deref()
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
    {
        return Err("the embedded node probes with the scheme HTTP only".to_owned());
    }
    let host = action.host.as_deref().unwrap_or(super::ADDRESS);
    let port = port(&action.port, container)?;
    let mut request = Request::get(
        action
            .path
            .as_deref()
            .filter(|path| !path.is_empty())
            .unwrap_or("/"),
    )
    .header(header::HOST, format!("{host}:{port}"))
    .header(header::USER_AGENT, "kube-probe/1.36")
    .header(header::CONNECTION, "close");
    for extra in action.http_headers.iter().flatten() {
        request = request.header(&extra.name, &extra.value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let stream = TokioIo::new(connect(host, port).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(|error| error.to_string())?;
    let exchange = sender.send_request(request);
    let response = answer(exchange, connection).await?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!(
            "HTTP probe failed with statuscode: {}",
            status.as_u16()
        ))
    }
}

/// What is answered on a connection that works for the exchange. A connection may end together with its
/// last answer, which counts all the same.
async fn answer<T>(
    exchange: impl Future<Output = hyper::Result<T>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<T, String> {
    let mut exchange = std::pin::pin!(exchange);
    let answer = tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    };
    answer.map_err(|error| error.to_string())
}

/// The standard health check (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>),
/// whose two messages have one field each.
async fn grpc(action: &GRPCAction) -> Result<(), String> {
    let port =
        u16::try_from(action.port).map_err(|_| format!("there is no port {}", action.port))?;
    let service = action.service.as_deref().unwrap_or_default().as_bytes();
    let length = u8::try_from(service.len())
        .ok()
        .filter(|length| *length < 128)
        .ok_or("the service's name is too long")?;
    let message = if service.is_empty() {
        Vec::new()
    } else {
        [&[0x0a, length], service].concat()
    };
    let size = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let frame = [&[0], size.as_slice(), &message].concat();
    let request = Request::post(format!(
        "http://{}:{port}/grpc.health.v1.Health/Check",
        super::ADDRESS
    ))
    .header(header::CONTENT_TYPE, "application/grpc")
    .header(header::TE, "trailers")
    .body(Full::new(Bytes::from(frame)))
    .map_err(|error| error.to_string())?;
    let stream = TokioIo::new(connect(super::ADDRESS, port).await?);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let body = response.into_body().collect().await?;
        Ok(body.to_bytes())
    };
    let answer = answer(exchange, connection).await?;
    // Five bytes of frame, then field 1 with the value 1, SERVING.
    match answer.get(5..) {
        Some([0x08, 0x01, ..]) => Ok(()),
        _ => Err("the service does not report SERVING".to_owned()),
    }
}

/// A command in the container's own environment; success is exit code 0.
pub(super) async fn exec(command: &[String], plan: &Plan) -> Result<(), String> {
    let output = plan
        .command(command)
        .output()
        .await
        .map_err(|error| format!("the command cannot run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said[..said.len().min(1024)])
        .trim()
        .to_owned();
    Err(format!("command ended with {}: {said}", output.status))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {host}:{port}: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Probes a server that says this to each request and closes.
    async fn probed(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind((super::super::ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let action = HTTPGetAction {
            port: k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(port.into()),
            ..HTTPGetAction::default()
        };
        let container = Container::default();
        let ((), probed) = tokio::join!(server, http_get(&action, &container));
        probed
    }

    #[tokio::test]
    async fn an_answer_counts_that_is_the_last_word_on_its_connection() {
        let empty = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        assert_eq!(probed(empty).await, Ok(()));
        let body = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(probed(body).await, Ok(()));
        let refused = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
        let failed = probed(refused).await.expect_err("it failed");
        assert!(failed.contains("statuscode: 500"), "{failed}");
        assert!(probed("").await.is_err());
    }
}
