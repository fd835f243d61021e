//! The key by which instances of a function read its bundles: a Secret beside the function.

use anyhow::{Context as _, bail};
use fermata_crds::names;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{git::KEY_PREFIX, manifest::FIELD_MANAGER, random};

/// What tells such Secrets from others.
const TYPE: &str = "fermata.dev/bundles";

/// Where in it the key is, as `source.git.secretName` has it.
const FIELD: &str = "token";

/// The name of a function's Secret.
pub(super) fn name(function: &str) -> String {
    format!("{function}-bundles")
}

/// The key of a function, which is made if there is none.
///
/// # Errors
///
/// When the Secret can be neither read nor made, or is something else.
pub(super) async fn of(client: &Client, namespace: &str, function: &str) -> anyhow::Result<String> {
    let (secrets, name) = (secrets(client, namespace), name(function));
    let read = || {
        format!(
            "the Secret {namespace}/{name}, with the key by which instances of {function} read its files, cannot be read"
        )
    };
    if let Some(there) = secrets.get_opt(&name).await.with_context(read)? {
        return key(&there);
    }
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match secrets.create(&params, &made(function, &name)?).await {
        Ok(made) => key(&made),
        // Somebody else deploys the function as well.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            key(&secrets.get(&name).await.with_context(read)?)
        }
        Err(error) => Err(error).with_context(|| {
            format!(
                "the Secret {namespace}/{name}, with the key by which instances of {function} read its files, cannot be made"
            )
        }),
    }
}

/// Lets the Secret go with the function.
///
/// # Errors
///
/// When the API refuses it.
pub(super) async fn adopt(
    client: &Client,
    namespace: &str,
    function: &DynamicObject,
) -> anyhow::Result<()> {
    let (secrets, own) = (secrets(client, namespace), function.name_any());
    let name = name(&own);
    let Some(uid) = function.uid() else {
        return Ok(());
    };
    let there = secrets.get_opt(&name).await;
    let there = there.with_context(|| format!("the Secret {namespace}/{name} cannot be read"))?;
    let is_owned = |secret: &Secret| {
        let mut owners = secret.owner_references().iter();
        owners.any(|owner| owner.uid == uid)
    };
    let Some(there) = there else {
        // That of an earlier function of this name goes with it.
        bail!(
            "the Secret {namespace}/{name}, with which {own} reads its files, was removed meanwhile; deploy once more"
        );
    };
    if is_owned(&there) {
        return Ok(());
    }
    let owner = json!({
        "apiVersion": fermata_crds::Function::api_version(&()),
        "kind": fermata_crds::Function::kind(&()), "name": own, "uid": uid,
    });
    let patch = json!({"metadata": {"ownerReferences": [owner]}});
    let patched = secrets
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched
        .map(drop)
        .with_context(|| format!("the Secret {namespace}/{name} cannot be tied to {own}"))
}

fn secrets(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn made(function: &str, name: &str) -> anyhow::Result<Secret> {
    let key = KEY_PREFIX.to_owned() + &random::secret()?;
    let mut secret = Secret {
        type_: Some(TYPE.to_owned()),
        string_data: Some([(FIELD.to_owned(), key)].into()),
        ..Secret::default()
    };
    secret.metadata.name = Some(name.to_owned());
    let label = (names::FUNCTION_LABEL.to_owned(), function.to_owned());
    secret.metadata.labels = Some([label].into());
    Ok(secret)
}

fn key(secret: &Secret) -> anyhow::Result<String> {
    let data = secret.data.as_ref();
    let key = data.and_then(|data| String::from_utf8(data.get(FIELD)?.0.clone()).ok());
    match key {
        Some(key) if secret.type_.as_deref() == Some(TYPE) && key.starts_with(KEY_PREFIX) => {
            Ok(key)
        }
        _ => bail!(
            "there is a Secret {} that is none of Fermata's, and bundles of the function need one of this name; give it another",
            secret.name_any()
        ),
    }
}
