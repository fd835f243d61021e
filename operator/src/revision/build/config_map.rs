//! The ConfigMap with the source files of a Revision, and how it is mounted.

use std::collections::BTreeMap;

use fermata_crds::{
    Revision,
    source_files::{self, SourceFiles},
};
use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, KeyToPath, Volume};
use kube::ResourceExt as _;

use crate::children;

/// So that a script among the files can be the handler.
const MODE: i32 = 0o555;

/// The files, if the Revision holds any. Like the Revision itself they never change, which spares the
/// nodes from watching them
/// (<https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable>).
pub(crate) fn build(revision: &Revision) -> Option<ConfigMap> {
    let source = revision.spec.template.source.as_ref()?;
    if source.git.is_some() {
        return None;
    }
    let files = SourceFiles::of(source);
    let name = revision.name_any();
    let labels = children::labels(&revision.spec.function_name, Some(&name));
    let data = keyed(files.text);
    let binary = keyed(files.binary);
    Some(ConfigMap {
        metadata: children::metadata(revision, &name, labels),
        data: (!data.is_empty()).then_some(data),
        binary_data: (!binary.is_empty()).then_some(binary),
        immutable: Some(true),
    })
}

fn keyed<T>(files: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let files = files.into_iter();
    files
        .map(|(path, content)| (source_files::key(&path).into_owned(), content))
        .collect()
}

/// The volume with those of the files that are wanted, each at its path.
pub(crate) fn volume(revision: &Revision, name: &str, wanted: impl Fn(&str) -> bool) -> Volume {
    let source = revision.spec.template.source.as_ref();
    let files = source.map(SourceFiles::of).unwrap_or_default();
    let plain = |path| wanted(path) && source_files::key(path) == path;
    let plain = files.iter().all(|(path, _)| plain(path));
    let mut items: Vec<KeyToPath> = files
        .iter()
        .filter(|(path, _)| wanted(path))
        .map(|(path, _)| KeyToPath {
            key: source_files::key(path).into_owned(),
            path: path.to_owned(),
            mode: None,
        })
        .collect();
    items.sort_by(|one, other| one.path.cmp(&other.path));
    Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: revision.name_any(),
            items: (!plain).then_some(items),
            default_mode: Some(MODE),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}
