//! ConfigMaps: those that Functions take their source from, and those that hold the source of a
//! Revision. Only their metadata is watched.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;

use super::Observed;

/// Nothing beyond the identity: the resource version says whether the content changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ConfigMapState;

/// A ConfigMap as far as it is known.
pub(crate) type ObservedConfigMap = Observed<PartialObjectMeta<ConfigMap>, ConfigMapState>;

/// Reduces a ConfigMap.
pub(crate) fn observe(config_map: PartialObjectMeta<ConfigMap>) -> ObservedConfigMap {
    Observed::new(&config_map, ConfigMapState)
}
