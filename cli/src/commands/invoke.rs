//! `fermata invoke`.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use fermata_crds::{Function, Visibility};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};

use super::completion;
use crate::{
    args::Target,
    cluster, functions,
    gateway::{self, Connection},
    output,
};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name of the function.
    #[arg(add = ArgValueCandidates::new(completion::functions))]
    name: String,

    /// The request's body; @FILE sends a file, @- standard input.
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,

    /// The request's method. Default: POST with a body, else GET.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<Method>,

    /// A header, "Name: value".
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,

    /// Path and query.
    #[arg(short, long, default_value = "/", value_name = "PATH")]
    path: String,

    /// Print the status and the headers of the answer too.
    #[arg(short, long)]
    include: bool,

    /// Where the gateway is, such as http://127.0.0.1:8080. Default: found through the cluster.
    #[arg(long, env = "FERMATA_GATEWAY", value_name = "URL")]
    gateway: Option<Uri>,

    /// The most time the call may take, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
}

pub(crate) async fn run(target: &Target, options: Options) -> anyhow::Result<ExitCode> {
    let timeout = Duration::from_secs(options.timeout);
    match time::timeout(timeout, call(target, &options)).await {
        Ok(result) => result,
        Err(_) => bail!("no answer within {timeout:?}"),
    }
}

async fn call(target: &Target, options: &Options) -> anyhow::Result<ExitCode> {
    let cluster = cluster::connect(target).await?;
    let name = &options.name;
    let function = functions::find(&cluster, name).await?;
    let status = function.status.as_ref();
    let own_host = status.and_then(|status| status.host.clone());
    // The in-cluster name leads to functions of either visibility, where it is known.
    let internal_host = format!("{name}.{}.svc.cluster.local", cluster.namespace);
    let own_host = own_host.unwrap_or_else(|| internal_host.clone());
    let (stream, host): (Box<dyn Connection>, String) = match &options.gateway {
        Some(gateway) => (Box::new(connect(gateway).await?), own_host),
        None => match (
            gateway::pod(&cluster.client).await,
            on_this_machine(&function),
        ) {
            (Ok(Some(pod)), _) => {
                let stream = gateway::forward(&cluster.client, &pod).await?;
                (Box::new(stream), internal_host)
            }
            // No pod: the gateway is a part of `fermata up`.
            (_, Some(gateway)) => (Box::new(connect(&gateway).await?), own_host),
            (Ok(None), None) => bail!("no pod of the gateway is ready; {}", gateway::HINT),
            (Err(error), None) => return Err(error),
        },
    };
    let response = exchange(stream, request(options, &host)?).await?;
    print(response, options.include).await
}

fn request(options: &Options, host: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = match options.data.as_deref() {
        Some("@-") => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
                .context("cannot read standard input")?;
            Some(bytes)
        }
        Some(data) => Some(match data.strip_prefix('@') {
            Some(file) => {
                std::fs::read(Path::new(file)).with_context(|| format!("cannot read {file}"))?
            }
            None => data.as_bytes().to_vec(),
        }),
        None => None,
    };
    let default = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        header::HOST,
        HeaderValue::from_str(host).context("the function's host is not valid")?,
    );
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("fermata/", env!("CARGO_PKG_VERSION"))),
    );
    if body.is_some() {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
    }
    for line in &options.headers {
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
    let path = if options.path.starts_with('/') {
        options.path.clone()
    } else {
        format!("/{}", options.path)
    };
    let mut request = Request::builder()
        .method(options.method.clone().unwrap_or(default))
        .uri(path)
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .context("the path is not valid")?;
    *request.headers_mut() = headers;
    Ok(request)
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
    let host = gateway.host().unwrap_or("127.0.0.1");
    let port = gateway.port_u16().unwrap_or(80);
    TcpStream::connect((host, port))
        .await
        .with_context(|| format!("the gateway at {host}:{port} does not answer"))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .context("the connection to the gateway broke")
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
