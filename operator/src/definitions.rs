//! The CustomResourceDefinitions of this version, for installations that let the operator's program upgrade them.

use std::time::Duration;

use fermata_crds::{crd, names::OPERATOR_FIELD_MANAGER};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use tokio::time::{Instant, sleep};
use tracing::info;

/// How long the API server may take until it serves a definition.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the definitions are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The API server refuses one, or does not answer.
    #[error("cannot apply the definition {name}; it takes the rights to get, create and patch it")]
    Api {
        /// Its name.
        name: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server took one and does not serve it.
    #[error("the definition {name} is not served after {} s: {said}", PATIENCE.as_secs())]
    NotServed {
        /// Its name.
        name: String,
        /// What its conditions say.
        said: String,
    },
}

/// Applies the CustomResourceDefinitions of this version, and waits until they are served. Objects stay.
///
/// # Errors
///
/// [`DefinitionsError`], with those before it applied.
///
/// # Cancel safety
///
/// Dropping the future leaves open which were applied. Doing it again does no harm.
pub async fn apply_definitions(client: Client) -> Result<(), DefinitionsError> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let parameters = PatchParams::apply(OPERATOR_FIELD_MANAGER).force();
    for definition in crd::all() {
        let name = definition.name_any();
        let failed = |source| DefinitionsError::Api {
            name: name.clone(),
            source: Box::new(source),
        };
        let patch = Patch::Apply(&definition);
        let applied = api.patch(&name, &parameters, &patch).await;
        let mut there = applied.map_err(failed)?;
        let deadline = Instant::now() + PATIENCE;
        while !is_served(&there) {
            if Instant::now() >= deadline {
                let said = sentences(&there);
                return Err(DefinitionsError::NotServed { name, said });
            }
            sleep(PAUSE).await;
            there = api.get(&name).await.map_err(failed)?;
        }
        info!(name, "applied a definition");
    }
    Ok(())
}

fn is_served(definition: &CustomResourceDefinition) -> bool {
    let status = definition.status.as_ref();
    let mut conditions = status
        .into_iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Established" && condition.status == "True")
}

fn sentences(definition: &CustomResourceDefinition) -> String {
    let status = definition.status.as_ref();
    let conditions = status
        .into_iter()
        .flat_map(|s| s.conditions.iter().flatten());
    let said = conditions.filter_map(|condition| condition.message.clone());
    said.collect::<Vec<_>>().join("; ")
}
