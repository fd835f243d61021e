//! Which functions are meant, and which has a call.

use anyhow::{Context as _, bail};
use fermata_crds::Function;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, StatusCode};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{cluster::Cluster, gateway::owner::Gateway};

/// How many functions are asked at once for a call.
const AT_ONCE: usize = 8;

/// The names of all functions of the namespace.
pub(super) async fn functions(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let api = Api::<Function>::namespaced(cluster.client.clone(), &cluster.namespace);
    let functions = api.list(&ListParams::default()).await;
    let functions = functions.context("the functions cannot be listed")?;
    Ok(functions.iter().map(ResourceExt::name_any).collect())
}

/// The function that has the call: the one that is named, or the one of the namespace that knows it.
pub(super) async fn function_of(
    cluster: &Cluster,
    gateway: &Gateway,
    id: &str,
    named: Option<&str>,
) -> anyhow::Result<String> {
    let is_id = id
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_id || id.is_empty() {
        bail!("{id} is no id of a call; `fermata invocations list` shows those that are");
    }
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let functions = functions(cluster).await?;
    let asked = stream::iter(functions).map(async |function| {
        let key = (&*cluster.namespace, &*function);
        let answer = gateway.ask(Method::GET, key, &format!("/{id}")).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(function)),
            _ => Err(anyhow::anyhow!(answer.refusal())),
        }
    });
    let mut asked = asked.buffer_unordered(AT_ONCE);
    while let Some(found) = asked.try_next().await? {
        if let Some(function) = found {
            return Ok(function);
        }
    }
    bail!(
        "no function of namespace {} knows the call {id}; what became of a call is known for an hour after it is over, \
         of one that failed for seven days, and no longer than its function is there",
        cluster.namespace
    )
}
