//! What the embedded API server has to know of Kubernetes' own kinds and k8s-openapi does not say: which lists are
//! merged by which keys, from Kubernetes' OpenAPI documents; and the numbers of the fields in its protobuf encoding,
//! from its types in Go. Both are in Kubernetes' Go modules, of the version that the tests build (`tests/cluster/go.mod`).
//!
//! Without these modules the files are taken as they are, if they are of this version and neither they nor what makes
//! them has changed since.

mod go;
mod openapi;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::shell;

/// Where the files are.
const FIELDS: &str = "local/apiserver/src/protobuf/fields.txt";
const MERGE_KEYS: &str = "local/apiserver/src/schema/merge_keys.txt";

/// A group of Kubernetes' API, as its module in Go is named, and the kinds whose messages are wanted with all that
/// they refer to.
pub(crate) const ROOTS: &[(&str, &[&str])] = &[
    ("apps", &["Deployment", "ReplicaSet"]),
    (
        "authentication",
        &["SelfSubjectReview", "TokenRequest", "TokenReview"],
    ),
    (
        "authorization",
        &["SelfSubjectAccessReview", "SelfSubjectRulesReview"],
    ),
    ("autoscaling", &["Scale"]),
    ("coordination", &["Lease"]),
    (
        "core",
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "Namespace",
            "Node",
            "Pod",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("discovery", &["EndpointSlice"]),
    ("events", &["Event"]),
    ("meta", &["DeleteOptions"]),
    ("networking", &["Ingress", "NetworkPolicy"]),
    ("policy", &["Eviction", "PodDisruptionBudget"]),
];

const FIELDS_FORM: &str = "\
# The numbers of the fields of the built-in kinds in Kubernetes' protobuf encoding, one message per line:
# NAME then FIELD=NUMBER MARK TYPE, only of what can be sent here.
# Marks: * list, % map from strings, ? pointer (a zero is a value), ^ fields that JSON has in the parent.
# Types: s string, b bytes, i integer, o boolean, t time, T time in microseconds, q quantity, x integer or string,
# f JSON inside bytes; all else is a message.
";

const MERGE_KEYS_FORM: &str = "\
# How values are merged, one field of a definition per line: DEFINITION FIELD then NAME=VALUE; without a field (-) it
# is of the definition itself. list: map or set, all others being atomic; keys: what tells the items of a map apart;
# map: atomic; patch and merge: strategy and key of a strategic merge; default: of a field that is such a key.
";

/// Where the numbers and the keys are read, which is part of what the files depend on.
const MADE_BY: [&str; 2] = [
    include_str!("kubernetes/go.rs"),
    include_str!("kubernetes/openapi.rs"),
];

/// The generated files, with what should be in them. `download` says whether Kubernetes' modules may be fetched.
///
/// # Errors
///
/// When Kubernetes' modules are needed and cannot be had, or are not as they were.
pub(crate) fn files(download: bool) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let version = version()?;
    let Some(modules) = modules(&version, download)? else {
        return [FIELDS, MERGE_KEYS]
            .into_iter()
            .map(|path| Ok((PathBuf::from(path), kept(path, &version)?)))
            .collect();
    };
    let fields = go::fields(&modules)?;
    let merge_keys = openapi::merge_keys(&modules)?;
    Ok(vec![
        (PathBuf::from(FIELDS), file(&version, FIELDS_FORM, &fields)),
        (
            PathBuf::from(MERGE_KEYS),
            file(&version, MERGE_KEYS_FORM, &merge_keys),
        ),
    ])
}

/// Kubernetes' modules on this machine.
struct Modules {
    /// `k8s.io/kubernetes`, `k8s.io/api` and `k8s.io/apimachinery`.
    kubernetes: PathBuf,
    api: PathBuf,
    apimachinery: PathBuf,
}

/// The version of Kubernetes that the tests build, such as `1.36.3`.
fn version() -> anyhow::Result<String> {
    let path = "tests/cluster/go.mod";
    let text = fs::read_to_string(shell::root().join(path))?;
    let mut words = text.split_whitespace();
    words
        .find(|word| *word == "k8s.io/kubernetes")
        .and_then(|_| words.next()?.strip_prefix('v').map(str::to_owned))
        .with_context(|| format!("{path} does not name k8s.io/kubernetes"))
}

/// The modules of this version, downloaded if that may be and the files are not of it.
fn modules(version: &str, download: bool) -> anyhow::Result<Option<Modules>> {
    let cache = shell::output(Command::new("go").args(["env", "GOMODCACHE"]));
    let Some(cache) = cache else { return Ok(None) };
    let cache = Path::new(cache.trim()).join("k8s.io");
    // Libraries are numbered 0.x where Kubernetes is 1.x.
    let library = version.replacen("1.", "0.", 1);
    let modules = Modules {
        kubernetes: cache.join(format!("kubernetes@v{version}")),
        api: cache.join(format!("api@v{library}")),
        apimachinery: cache.join(format!("apimachinery@v{library}")),
    };
    let all = [&modules.kubernetes, &modules.api, &modules.apimachinery];
    if all.iter().all(|dir| dir.is_dir()) {
        return Ok(Some(modules));
    }
    if !download || kept(FIELDS, version).is_ok() && kept(MERGE_KEYS, version).is_ok() {
        return Ok(None);
    }
    let mut download = Command::new("go");
    download.args(["mod", "download"]);
    download.arg(format!("k8s.io/kubernetes@v{version}"));
    for name in ["api", "apimachinery"] {
        download.arg(format!("k8s.io/{name}@v{library}"));
    }
    shell::run("Kubernetes' modules", &mut download)?;
    Ok(Some(modules))
}

/// A file with its head, by which it is known again.
fn file(version: &str, form: &str, body: &str) -> String {
    let body = format!("{form}{body}");
    head(version, &body) + &body
}

/// The digest is of the body and of all that it was made by, so that a change of either is seen without the modules.
fn head(version: &str, body: &str) -> String {
    let made_by = format!(
        "{ROOTS:?}{FIELDS_FORM}{MERGE_KEYS_FORM}{}",
        MADE_BY.concat()
    );
    let digest: String = Sha256::new()
        .chain_update(Sha256::digest(made_by))
        .chain_update(body)
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("# Generated from Kubernetes v{version} by `cargo xtask gen`; sha256 {digest}.\n")
}

/// A file as it is, if it was generated from this version.
fn kept(path: &str, version: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(shell::root().join(path))
        .with_context(|| format!("cannot read {path}"))?;
    let (first, rest) = text.split_once('\n').unwrap_or_default();
    if format!("{first}\n") != head(version, rest) {
        bail!(
            "{path} is not what is generated from Kubernetes v{version} now; run cargo xtask gen where Go and its module proxy are"
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_of_the_version_that_is_tested_and_as_they_were_generated() {
        let version = version().expect("a version");
        for path in [FIELDS, MERGE_KEYS] {
            kept(path, &version).expect("as generated");
            kept(path, "1.0.0").expect_err("of another version");
        }
    }
}
