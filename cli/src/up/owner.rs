//! How the user of `fermata up` is known at its gateway: by a secret that only they can read, in the cluster.

use anyhow::Context as _;
use fermata_crds::names::{OWNER_NAMESPACE, OWNER_SECRET};
use fermata_gateway::Owners;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::random;

/// Who applies it.
const FIELD_MANAGER: &str = "fermata";

/// Makes a new secret, and writes it with the gateway's address to where the user finds it.
///
/// # Errors
///
/// When there are no random numbers, or the API refuses it.
pub(super) async fn make(client: &Client, url: &str) -> anyhow::Result<Owners> {
    let secret = random::secret()?;
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": OWNER_SECRET, "namespace": OWNER_NAMESPACE},
        "stringData": {"url": url, "token": secret},
    });
    let secrets = Api::<Secret>::namespaced(client.clone(), OWNER_NAMESPACE);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = secrets
        .patch(OWNER_SECRET, &params, &Patch::Apply(object))
        .await;
    written.context("the secret by which the gateway knows its user cannot be written")?;
    Ok(Owners::with_secret(&secret))
}
