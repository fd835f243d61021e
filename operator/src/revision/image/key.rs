//! What the dependencies of a Revision depend on.

use std::collections::BTreeMap;

use fermata_crds::{Revision, source_files::SourceFiles};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::json;

use crate::{digest, revision::build::fetch};

/// The key: the same for Revisions whose dependencies are the same. What a Secret holds that a variable comes from is
/// not known here; its name is in it. For a git source it is the commit and the folder, since which files are inputs is
/// not known before they are fetched.
pub(crate) fn of(revision: &Revision, template: &PodTemplateSpec) -> String {
    let source = revision.spec.template.source.as_ref();
    let build = revision.spec.build();
    let own = source.map(fermata_crds::Source::build).unwrap_or_default();
    let git = fetch::of(revision)
        .map(|(git, commit)| json!({"url": git.url, "path": git.path, "commit": commit}));
    let files = source
        .filter(|_| git.is_none())
        .map(SourceFiles::of)
        .unwrap_or_default();
    let files: BTreeMap<&str, String> = files
        .iter()
        .filter(|(path, _)| build.is_some_and(|build| build.is_input(path)))
        .map(|(path, content)| (path, digest::of_bytes(content)))
        .collect();
    let pod = template.spec.as_ref();
    let affinity = pod
        .and_then(|pod| pod.affinity.as_ref())
        .and_then(|affinity| affinity.node_affinity.as_ref());
    digest::whole(&json!({
        "git": git,
        "files": files,
        "image": build.map(|build| &build.image),
        "command": build.map(|build| &build.command),
        "target": build.map(|build| &build.target),
        "runtimeEnv": build.and_then(|build| build.env.as_ref()),
        "env": own.env,
        "nodeSelector": pod.and_then(|pod| pod.node_selector.as_ref()),
        "nodeAffinity": affinity,
        "runtimeClass": pod.and_then(|pod| pod.runtime_class_name.as_ref()),
        "requested": revision.spec.build_requested,
    }))
}
