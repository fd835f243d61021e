//! One call through the gateway, of which the answer is printed.

use std::{io::Read as _, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use fermata_crds::{Function, Visibility};
use http::{HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};

use super::{Connection, HINT, forward, pod};
use crate::{cluster::Cluster, output};

/// A host that is no function's.
const NO_FUNCTIONS_HOST: &str = "127.0.0.1";

/// What is sent, and how.
#[derive(Args, Debug)]
pub(crate) struct CallOptions {
    /// The request's body; @FILE sends a file, @- standard input.
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,

    /// A header, "Name: value".
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,

    /// Print the status and the headers of the answer too.
    #[arg(short, long)]
    pub(crate) include: bool,

    /// Where the gateway is, such as http://127.0.0.1:8080. Default: found through the cluster.
    #[arg(long, env = "FERMATA_GATEWAY", value_name = "URL")]
    gateway: Option<Uri>,

    /// The most time the call may take, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
}

/// The way to the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// By an address of it.
    ByAddress,
    /// From inside the cluster.
    Inside,
}

// === impl CallOptions ===

impl CallOptions {
    /// What comes of the call, if it comes in time.
    pub(crate) async fn within_timeout(
        &self,
        call: impl Future<Output = anyhow::Result<ExitCode>>,
    ) -> anyhow::Result<ExitCode> {
        let timeout = Duration::from_secs(self.timeout);
        match time::timeout(timeout, call).await {
            Ok(result) => result,
            Err(_) => bail!("no answer within {timeout:?}"),
        }
    }

    /// A connection to the gateway that leads to the function.
    ///
    /// # Errors
    ///
    /// When the gateway is not to be found or reached.
    pub(crate) async fn connect(
        &self,
        cluster: &Cluster,
        function: &Function,
    ) -> anyhow::Result<(Box<dyn Connection>, Way)> {
        if let Some(gateway) = &self.gateway {
            return Ok((Box::new(connect(gateway).await?), Way::ByAddress));
        }
        match (pod(&cluster.client).await, on_this_machine(function)) {
            (Ok(Some(pod)), _) => {
                let stream = forward(&cluster.client, &pod).await?;
                Ok((Box::new(stream), Way::Inside))
            }
            // No pod: the gateway is a part of `fermata up`.
            (_, Some(gateway)) => Ok((Box::new(connect(&gateway).await?), Way::ByAddress)),
            (Ok(None), None) => bail!("no pod of the gateway is ready; {HINT}"),
            (Err(error), None) => Err(error),
        }
    }

    /// The name under which the gateway is asked for what is no function's.
    pub(crate) fn host(&self) -> &str {
        let named = self.gateway.as_ref().and_then(Uri::authority);
        named.map_or(NO_FUNCTIONS_HOST, http::uri::Authority::as_str)
    }

    /// The body, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn body(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(data) = self.data.as_deref() else {
            return Ok(None);
        };
        if data == "@-" {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.context("cannot read standard input")?;
            return Ok(Some(bytes));
        }
        Ok(Some(match data.strip_prefix('@') {
            Some(file) => {
                std::fs::read(Path::new(file)).with_context(|| format!("cannot read {file}"))?
            }
            None => data.as_bytes().to_vec(),
        }))
    }

    /// The request with its body, and with all headers. Those that the user gives take precedence.
    ///
    /// # Errors
    ///
    /// When one of them is none.
    pub(crate) fn request(
        &self,
        request: Request<()>,
        host: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let (mut parts, ()) = request.into_parts();
        let headers = &mut parts.headers;
        headers.insert(
            header::HOST,
            HeaderValue::from_str(host).context("the function's host is not valid")?,
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("fermata/", env!("CARGO_PKG_VERSION"))),
        );
        if body.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            );
        }
        for line in &self.headers {
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("-H {line}: write \"Name: value\""))?;
            let name: HeaderName = name
                .trim()
                .parse()
                .with_context(|| format!("-H {line}: the name is not valid"))?;
            let value: HeaderValue = value
                .trim()
                .parse()
                .with_context(|| format!("-H {line}: the value is not valid"))?;
            headers.insert(name, value);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        Ok(Request::from_parts(parts, body))
    }
}

/// The gateway of `fermata up`: its functions have hosts below localhost, and those for the cluster only
/// have a port of their own.
fn on_this_machine(function: &Function) -> Option<Uri> {
    let url: Uri = function.status.as_ref()?.url.as_deref()?.parse().ok()?;
    let cluster_only = function.spec.expose().visibility() == Visibility::Cluster;
    let is_local = url.host()?.ends_with(".localhost") || (cluster_only && url.port().is_some());
    is_local.then(|| {
        format!("http://127.0.0.1:{}/", url.port_u16().unwrap_or(80))
            .parse()
            .ok()
    })?
}

async fn connect(gateway: &Uri) -> anyhow::Result<TcpStream> {
    if gateway.scheme_str().is_some_and(|scheme| scheme != "http") {
        bail!(
            "--gateway {gateway}: http alone is spoken here, and nothing is sent in the open that was to be closed; leave \
             it out to go through the cluster, or use curl"
        );
    }
    let host = gateway.host().unwrap_or("127.0.0.1");
    let port = gateway.port_u16().unwrap_or(80);
    TcpStream::connect((host, port))
        .await
        .with_context(|| format!("the gateway at {host}:{port} does not answer"))
}

/// Sends the request, and prints what is answered.
///
/// # Errors
///
/// When the connection breaks.
pub(crate) async fn exchange(
    stream: Box<dyn Connection>,
    request: Request<Full<Bytes>>,
    include: bool,
) -> anyhow::Result<ExitCode> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .context("the connection to the gateway broke")?;
    print(response, include).await
}

async fn print(response: Response<Incoming>, include: bool) -> anyhow::Result<ExitCode> {
    let (head, mut body) = response.into_parts();
    if include {
        output::line(&format!("{:?} {}", head.version, head.status));
        for (name, value) in &head.headers {
            output::line(&format!(
                "{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        output::line("");
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the answer broke off")?;
        if let Some(data) = frame.data_ref() {
            output::raw(data);
        }
    }
    if head.status.is_client_error() || head.status.is_server_error() {
        let reason = head
            .headers
            .get("x-fermata-reason")
            .and_then(|reason| reason.to_str().ok())
            .unwrap_or_default();
        output::note(format!("error: the answer is {} {reason}", head.status).trim_end());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
