//! The schemas of the built-in kinds, from k8s-openapi.

use std::sync::{Arc, OnceLock};

use k8s_openapi::{
    api::{
        apps::v1 as apps, authentication::v1 as authentication, authorization::v1 as authorization,
        autoscaling::v1 as autoscaling, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, networking::v1 as networking,
        policy::v1 as policy,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    apimachinery::pkg::apis::meta::v1 as meta,
};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{Definitions, Link, Schema, compile::compile, merge_keys};

/// Every definition, as published and as compiled.
pub(crate) struct Builtins {
    /// OpenAPI v3 components, by definition name.
    pub(crate) published: Map<String, Value>,
    pub(crate) definitions: Arc<Definitions>,
}

/// The definition that stands for the metadata of every object.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The format of amounts of resources, in the definitions here.
pub(crate) const QUANTITY: &str = "quantity";

/// The definitions, made once.
pub(crate) fn builtins() -> &'static Builtins {
    static BUILTINS: OnceLock<Builtins> = OnceLock::new();
    BUILTINS.get_or_init(Builtins::new)
}

// === impl Builtins ===

impl Builtins {
    fn new() -> Self {
        let mut published = collect();
        merge_keys::annotate(&mut published);
        let definitions = published
            .iter()
            // k8s-openapi's schemas hold no patterns, and its references end the nesting.
            .filter_map(|(name, schema)| Some((name.clone(), compile(schema).ok()?)))
            .map(|(name, mut node)| {
                if name.ends_with(".resource.Quantity") {
                    node.format = Some(QUANTITY.to_owned());
                }
                node.root = node.properties.contains_key("metadata")
                    && node.properties.contains_key("kind");
                (name, node)
            })
            .collect();
        Self {
            published,
            definitions: Arc::new(definitions),
        }
    }

    /// The schema of a definition such as `io.k8s.api.core.v1.Pod`.
    pub(crate) fn schema(&self, definition: &str) -> Schema {
        Schema {
            root: Arc::new(Link::Named(definition.to_owned())),
            definitions: Arc::clone(&self.definitions),
        }
    }
}

fn collect() -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    macro_rules! add {
        ($($module:ident::{$($type:ident),* $(,)?}),* $(,)?) => {
            $($(let _ = generator.subschema_for::<$module::$type>();)*)*
        };
    }
    add!(
        core::{
            Namespace, Pod, Service, ConfigMap, Secret, ServiceAccount, Event, Node, Endpoints,
            ResourceQuota,
        },
        apps::{Deployment, ReplicaSet},
        autoscaling::{Scale},
        coordination::{Lease},
        events::{Event},
        discovery::{EndpointSlice},
        policy::{PodDisruptionBudget, Eviction},
        networking::{NetworkPolicy, Ingress},
        apiextensions::{CustomResourceDefinition},
        authorization::{SelfSubjectAccessReview, SelfSubjectRulesReview},
        authentication::{SelfSubjectReview, TokenRequest, TokenReview},
        meta::{ObjectMeta, ListMeta, Status, DeleteOptions},
    );
    generator.take_definitions(true).into_iter().collect()
}
