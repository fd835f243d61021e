//! What whoever a function belongs to asks the gateway of its calls.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use fermata_crds::names::{
    BUNDLES_CONFIG_MAP, BUNDLES_NAMESPACE, FUNCTIONS_PATH, OWNER_NAMESPACE, OWNER_SECRET,
};
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Config, client::Body};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{Connection, HINT, forward, pod};
use crate::{bearer, bundle::place, cluster::Cluster};

/// The most of an answer that is read, in bytes: one that is kept has less.
const MOST_ANSWER: usize = 256 * 1024 * 1024;

/// The name under which the gateway is asked through the cluster.
const BY_PORT_FORWARD: &str = "127.0.0.1";

/// The gateway, asked with what the one who works shows.
pub(crate) struct Gateway {
    way: Way,
    authorization: String,
}

/// The way there.
enum Way {
    /// By its address.
    Url(Client),
    /// Through the API server.
    Forwarded(Mutex<http1::SendRequest<Empty<Bytes>>>),
}

/// What it has answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Gateway ===

impl Gateway {
    /// The one at this address, or else the cluster's.
    ///
    /// # Errors
    ///
    /// When it is not to be found, or nothing can be shown to it.
    pub(crate) async fn of(cluster: &Cluster, url: Option<&Uri>) -> anyhow::Result<Self> {
        if cluster.embedded
            && let Some((told, secret)) = embedded(&cluster.client).await?
        {
            return Ok(Self {
                way: Way::at(url.unwrap_or(&told))?,
                authorization: format!("Bearer {secret}"),
            });
        }
        let authorization = bearer::authorization(Some(&cluster.config), "the gateway").await?;
        let way = match url {
            Some(url) => Way::at(url)?,
            None => Way::of_cluster(&cluster.client).await?,
        };
        Ok(Self { way, authorization })
    }

    /// Asks about the calls of a function; `rest` is what follows `invocations` in the path.
    ///
    /// # Errors
    ///
    /// When the gateway cannot be reached.
    pub(crate) async fn ask(
        &self,
        method: Method,
        (namespace, function): (&str, &str),
        rest: &str,
    ) -> anyhow::Result<Answer> {
        let path = format!("{FUNCTIONS_PATH}{namespace}/{function}/invocations{rest}");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(
                header::USER_AGENT,
                concat!("fermata/", env!("CARGO_PKG_VERSION")),
            );
        const BROKE: &str = "the connection to the gateway broke";
        let (head, body) = match &self.way {
            Way::Url(client) => {
                let request = request.body(Body::empty())?;
                let response = client.send(request).await.context(BROKE)?;
                let (head, body) = response.into_parts();
                (head, Limited::new(body, MOST_ANSWER).collect().await)
            }
            Way::Forwarded(sender) => {
                let request = request.header(header::HOST, BY_PORT_FORWARD);
                let request = request.body(Empty::new())?;
                let mut sender = sender.lock().await;
                sender.ready().await.context(BROKE)?;
                let response = sender.send_request(request).await.context(BROKE)?;
                let (head, body) = response.into_parts();
                (head, Limited::new(body, MOST_ANSWER).collect().await)
            }
        };
        let body = body
            .map_err(|error| anyhow::anyhow!(error))
            .context(BROKE)?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

// === impl Way ===

impl Way {
    /// By its address, at which nobody on the way reads what is shown.
    fn at(url: &Uri) -> anyhow::Result<Self> {
        let host = url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_near = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if is_near => {}
            Some("http") => bail!(
                "a token of the cluster is not sent to {url}, where anybody on the way can read it; name an address with https"
            ),
            _ => bail!("{url} is no URL of a gateway: write https://HOST"),
        }
        // The client of Kubernetes speaks with whatever has a certificate that this system trusts.
        let mut config = Config::new(url.clone());
        config.default_retry = false;
        let client = Client::try_from(config);
        Ok(Self::Url(client.context("the gateway cannot be asked")?))
    }

    /// Through the cluster, or where it says that its gateway is.
    async fn of_cluster(client: &Client) -> anyhow::Result<Self> {
        let why = match pod(client).await {
            Ok(Some(pod)) => {
                let stream: Box<dyn Connection> = Box::new(forward(client, &pod).await?);
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                return Ok(Self::Forwarded(Mutex::new(sender)));
            }
            Ok(None) => anyhow::anyhow!("no pod of the gateway is ready; {HINT}"),
            Err(error) => error,
        };
        let maps = Api::<ConfigMap>::namespaced(client.clone(), BUNDLES_NAMESPACE);
        let told = maps.get_opt(BUNDLES_CONFIG_MAP).await.ok().flatten();
        let url = told.and_then(|map| map.data?.remove(place::URL));
        match url {
            Some(url) => Self::at(&url.parse().with_context(|| format!("{url} is no URL"))?),
            None => Err(why),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// What it says, as JSON.
    ///
    /// # Errors
    ///
    /// With the gateway's own sentence when it refuses.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        if !self.status.is_success() {
            bail!(self.refusal());
        }
        serde_json::from_slice(&self.body).context("the gateway's answer makes no sense")
    }

    /// Whether the platform answers, and no function did.
    pub(crate) fn is_refusal(&self) -> bool {
        self.headers.contains_key("x-fermata-reason")
    }

    /// The platform's own sentence.
    pub(crate) fn refusal(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let detail = problem["detail"].as_str();
        detail.map_or_else(
            || format!("the gateway answers {}", self.status),
            ToOwned::to_owned,
        )
    }
}

/// Where the gateway of `fermata up` is, and the secret by which its user is known there.
async fn embedded(client: &Client) -> anyhow::Result<Option<(Uri, String)>> {
    let secrets = Api::<Secret>::namespaced(client.clone(), OWNER_NAMESPACE);
    let secret = secrets.get_opt(OWNER_SECRET).await;
    let secret = secret.context("what `fermata up` knows its user by cannot be read")?;
    let Some(data) = secret.and_then(|secret| secret.data) else {
        return Ok(None);
    };
    let text = |name: &str| {
        let value = data.get(name)?;
        String::from_utf8(value.0.clone()).ok()
    };
    let found = text("url").zip(text("token"));
    found
        .map(|(url, token)| Ok((url.parse().context("the gateway's address is none")?, token)))
        .transpose()
}
