//! The resources of the built-in kinds.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Resource, ScalePaths, Subresources, api_version};
use crate::{
    kinds::{KINDS, Kind, schemas::builtins},
    status::qualified,
};

/// Every built-in resource.
pub(crate) fn resources() -> impl Iterator<Item = Resource> {
    KINDS.iter().map(build)
}

fn build(kind: &Kind) -> Resource {
    let has = |name: &str| kind.subresources.contains(&name);
    let all = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let definition = (kind.definition)().into_owned();
    Resource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        kind: kind.kind.to_owned(),
        list_kind: format!("{}List", kind.kind),
        plural: kind.plural.to_owned(),
        singular: kind.kind.to_lowercase(),
        short_names: all(kind.short_names),
        categories: all(kind.categories),
        namespaced: kind.namespaced,
        storage: Arc::from(qualified(kind.plural, kind.storage_group)),
        stored_version: api_version(kind.storage_group, kind.version),
        conversion: kind.conversion,
        schema: builtins().schema(&definition),
        definition,
        subresources: Subresources {
            status: has("status"),
            scale: has("scale").then(ScalePaths::builtin),
            finalize: has("finalize"),
            log: has("log"),
            streams: has("streams"),
            eviction: has("eviction"),
            token: has("token"),
        },
        generation: kind.generation,
        columns: (kind.columns)(),
        hooks: kind.hooks,
        custom: None,
        served: CancellationToken::new(),
    }
}
