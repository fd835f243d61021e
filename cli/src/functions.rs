//! Functions by their names: found, and changed in place.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use fermata_crds::Function;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, PostParams},
};

use crate::{cluster::Cluster, manifest::FIELD_MANAGER, suggest};

/// How many functions are looked through for one that was meant.
const MOST_LOOKED_AT: u32 = 500;

/// How often a change is tried when others change the object too.
const TRIES: usize = 5;

/// The function of this name.
///
/// # Errors
///
/// When there is none, with the one that was perhaps meant.
pub(crate) async fn find(cluster: &Cluster, name: &str) -> anyhow::Result<Function> {
    let api = Api::<Function>::namespaced(cluster.client.clone(), &cluster.namespace);
    match api
        .get_opt(name)
        .await
        .with_context(|| format!("the function {name} cannot be read"))?
    {
        Some(function) => Ok(function),
        None => bail!(
            "there is no function {name} in namespace {}{}; `fermata list` shows those that are",
            cluster.namespace,
            hint(cluster, name).await
        ),
    }
}

/// What was perhaps meant by a name that is not there, as a part of a sentence.
pub(crate) async fn hint(cluster: &Cluster, name: &str) -> String {
    let params = ListParams::default().limit(MOST_LOOKED_AT);
    let here = Api::<Function>::namespaced(cluster.client.clone(), &cluster.namespace);
    let here = here.list(&params).await.map(names).unwrap_or_default();
    let near = suggest::hint(name, here.keys().map(String::as_str));
    if !near.is_empty() {
        return near;
    }
    // Not everybody may look into other namespaces.
    let all = Api::<Function>::all(cluster.client.clone());
    let all = all.list(&params).await.map(names).unwrap_or_default();
    all.get(name)
        .map(|namespace| format!("; there is one in namespace {namespace} (-n {namespace})"))
        .unwrap_or_default()
}

fn names(functions: kube::core::ObjectList<Function>) -> BTreeMap<String, String> {
    let name = |function: &Function| {
        (
            function.name_any(),
            function.namespace().unwrap_or_default(),
        )
    };
    functions.iter().map(name).collect()
}

/// Changes a function that is there, and keeps everything that the change does not touch. The server
/// decides whether the result is valid.
///
/// # Errors
///
/// When there is no such function, or the server refuses the result.
pub(crate) async fn edit(
    cluster: &Cluster,
    name: &str,
    change: impl Fn(&mut DynamicObject) -> anyhow::Result<()>,
) -> anyhow::Result<DynamicObject> {
    // Not as the type, which would lose fields of a newer version.
    let resource = ApiResource::erase::<Function>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    for _ in 0..TRIES {
        let Some(old) = api.get_opt(name).await? else {
            find(cluster, name).await?;
            continue;
        };
        let mut new = old.clone();
        change(&mut new)?;
        if new == old {
            return Ok(old);
        }
        match api.replace(name, &params, &new).await {
            Ok(changed) => return Ok(changed),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => {
                return Err(error).with_context(|| format!("function/{name} was not changed"));
            }
        }
    }
    bail!("function/{name} was not changed: somebody else changes it all the time; try again");
}
