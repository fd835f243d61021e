//! What the server is and what it serves: versions, health, and discovery in both forms
//! (<https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>).

use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::{
    kinds::{REQUESTS, Request},
    resource::{Resource, registry::Registry},
    response::{self, Body},
    status::Failure,
};

/// The version of Kubernetes whose API this is, and who speaks it.
pub(crate) const VERSION: &str = "v1.36.0+fermata";

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// One resource as discovery shows it, in the words of both forms.
struct ApiResource {
    name: String,
    singular: String,
    kind: String,
    group: String,
    version: String,
    namespaced: bool,
    verbs: Vec<&'static str>,
    short_names: Vec<String>,
    categories: Vec<String>,
}

/// Answers that need no credentials.
pub(crate) fn open(path: &str) -> Option<Response<Body>> {
    match path {
        "/healthz" | "/livez" | "/readyz" => Some(response::typed(200, "text/plain", "ok")),
        "/version" | "/version/" => Some(response::value(200, &version())),
        _ => None,
    }
}

/// The documents of discovery; `None` when the path is another's.
pub(crate) fn answer(
    path: &str,
    headers: &HeaderMap,
    registry: &Registry,
) -> Option<Result<Response<Body>, Failure>> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let aggregated = wants_aggregated(headers);
    let document = match segments.as_slice() {
        ["api"] if aggregated => return Some(Ok(aggregate(registry, true))),
        ["apis"] if aggregated => return Some(Ok(aggregate(registry, false))),
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        ["apis"] => {
            let groups: Vec<Value> = groups(registry)
                .iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, versions)| group_of(group, versions))
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["api", "v1"] => resources(registry, "", "v1"),
        ["apis", group] => {
            let all = groups(registry);
            let Some((group, versions)) = all.iter().find(|(name, _)| name == group) else {
                return Some(Err(Failure::no_such_path()));
            };
            let mut document = group_of(group, versions);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            document
        }
        ["apis", group, version] => {
            let known = groups(registry);
            let known = known
                .iter()
                .any(|(name, versions)| name == group && versions.iter().any(|v| v == version));
            if !known {
                return Some(Err(Failure::no_such_path()));
            }
            resources(registry, group, version)
        }
        _ => return None,
    };
    Some(Ok(response::value(200, &document)))
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    let mut ranges = accept
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.any(|range| {
        let has = |part: &str| range.split(';').any(|one| one.trim() == part);
        has("application/json")
            && has("g=apidiscovery.k8s.io")
            && has("v=v2")
            && has("as=APIGroupDiscoveryList")
    })
}

/// Kinds that can only be asked.
fn questions() -> impl Iterator<Item = &'static Request> {
    let all = REQUESTS.iter().copied();
    all.filter(|request| request.plural.is_some())
}

/// Groups with their versions, those of reviews included.
fn groups(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = registry
        .groups()
        .into_iter()
        .map(|(group, versions)| {
            (
                group.to_owned(),
                versions.into_iter().map(str::to_owned).collect(),
            )
        })
        .collect();
    for Request { group, version, .. } in questions() {
        if !all.iter().any(|(name, _)| name == group) {
            all.push(((*group).to_owned(), vec![(*version).to_owned()]));
        }
    }
    all
}

fn group_of(group: &str, versions: &[String]) -> Value {
    let version = |version: &String| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({
        "name": group,
        "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version),
    })
}

/// A resource and its subresources.
fn shown(resource: &Resource) -> Vec<ApiResource> {
    let main = ApiResource {
        name: resource.plural.clone(),
        singular: resource.singular.clone(),
        kind: resource.kind.clone(),
        group: resource.group.clone(),
        version: resource.version.clone(),
        namespaced: resource.namespaced,
        verbs: VERBS.to_vec(),
        short_names: resource.short_names.clone(),
        categories: resource.categories.clone(),
    };
    let below = |name: &str, kind: (&str, &str, &str), verbs: &[&'static str]| ApiResource {
        name: format!("{}/{name}", resource.plural),
        singular: String::new(),
        group: kind.0.to_owned(),
        version: kind.1.to_owned(),
        kind: kind.2.to_owned(),
        namespaced: resource.namespaced,
        verbs: verbs.to_vec(),
        short_names: Vec::new(),
        categories: Vec::new(),
    };
    let own = (
        resource.group.as_str(),
        resource.version.as_str(),
        resource.kind.as_str(),
    );
    let has = &resource.subresources;
    let write = ["get", "patch", "update"];
    let mut all = vec![main];
    if has.status {
        all.push(below("status", own, &write));
    }
    if has.scale.is_some() {
        all.push(below("scale", ("autoscaling", "v1", "Scale"), &write));
    }
    if has.finalize {
        all.push(below("finalize", own, &["update"]));
    }
    if has.log {
        all.push(below("log", own, &["get"]));
    }
    if has.streams {
        for (name, kind) in [
            ("attach", "PodAttachOptions"),
            ("exec", "PodExecOptions"),
            ("portforward", "PodPortForwardOptions"),
        ] {
            all.push(below(name, ("", "v1", kind), &["create", "get"]));
        }
    }
    if has.eviction {
        all.push(below("eviction", ("policy", "v1", "Eviction"), &["create"]));
    }
    if has.token {
        let request = ("authentication.k8s.io", "v1", "TokenRequest");
        all.push(below("token", request, &["create"]));
    }
    all
}

fn of(registry: &Registry, group: &str, version: &str) -> Vec<ApiResource> {
    let mut all: Vec<ApiResource> = registry
        .of(group, version)
        .into_iter()
        .flat_map(|resource| shown(resource))
        .collect();
    let asked = questions().filter(|one| one.group == group && one.version == version);
    all.extend(asked.map(|one| ApiResource {
        name: one.plural.unwrap_or_default().to_owned(),
        singular: one.kind.to_lowercase(),
        kind: one.kind.to_owned(),
        group: one.group.to_owned(),
        version: one.version.to_owned(),
        namespaced: false,
        verbs: vec!["create"],
        short_names: Vec::new(),
        categories: Vec::new(),
    }));
    all
}

/// The older form: one list per group and version.
fn resources(registry: &Registry, group: &str, version: &str) -> Value {
    let list = of(registry, group, version).into_iter().map(|one| {
        let mut value = json!({
            "name": one.name,
            "singularName": one.singular,
            "namespaced": one.namespaced,
            "kind": one.kind,
            "verbs": one.verbs,
        });
        if one.group != group || one.version != version {
            value["group"] = one.group.into();
            value["version"] = one.version.into();
        }
        if !one.short_names.is_empty() {
            value["shortNames"] = one.short_names.into();
        }
        if !one.categories.is_empty() {
            value["categories"] = one.categories.into();
        }
        value
    });
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": crate::resource::api_version(group, version),
        "resources": list.collect::<Vec<_>>(),
    })
}

/// The newer form: all groups at once.
fn aggregate(registry: &Registry, core: bool) -> Response<Body> {
    let items: Vec<Value> = groups(registry)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    json!({
                        "version": version,
                        "freshness": "Current",
                        "resources": aggregated_resources(registry, &group, version),
                    })
                })
                .collect();
            let mut metadata = json!({"creationTimestamp": null});
            if !group.is_empty() {
                metadata["name"] = group.into();
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    let mut response = response::value(200, &document);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response
}

fn aggregated_resources(registry: &Registry, group: &str, version: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for one in of(registry, group, version) {
        let kind = json!({"group": one.group, "version": one.version, "kind": one.kind});
        if let Some((_, below)) = one.name.split_once('/') {
            if let Some(parent) = all.last_mut() {
                let entry = json!({"subresource": below, "responseKind": kind, "verbs": one.verbs});
                if let Some(list) = parent["subresources"].as_array_mut() {
                    list.push(entry);
                } else {
                    parent["subresources"] = json!([entry]);
                }
            }
            continue;
        }
        let mut value = json!({
            "resource": one.name,
            "responseKind": kind,
            "scope": if one.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": one.singular,
            "verbs": one.verbs,
        });
        if !one.short_names.is_empty() {
            value["shortNames"] = one.short_names.into();
        }
        if !one.categories.is_empty() {
            value["categories"] = one.categories.into();
        }
        all.push(value);
    }
    all
}
