//! The ConfigMap with the source files of a Revision.

use fermata_crds::Revision;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use crate::children;

/// The files, if the Revision has any. Like the Revision itself they never change, which spares the
/// nodes from watching them
/// (<https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable>).
pub(crate) fn build(revision: &Revision) -> Option<ConfigMap> {
    let files = revision.spec.template.source.as_ref()?.files.clone()?;
    let name = revision.name_any();
    let labels = children::labels(&revision.spec.function_name, Some(&name));
    Some(ConfigMap {
        metadata: children::metadata(revision, &name, labels),
        data: Some(files),
        binary_data: None,
        immutable: Some(true),
    })
}
