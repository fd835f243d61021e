//! The user's partial pod template, merged over the one that is built.
//!
//! The merge is the strategic one of Kubernetes: objects field by field, lists of named things item
//! by item, other lists as a whole
//! (<https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>).
//! Two things differ: tolerations are added to, and a null, which would take something away, is
//! refused.

use fermata_crds::names;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use serde_json::{Map, Value};

/// Lists whose items are merged, with the key that tells them apart
/// (`x-kubernetes-patch-merge-key` of the Kubernetes API).
const KEYED_LISTS: [(&str, &str); 11] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

/// Lists whose items are added.
const ADDED_LISTS: [&str; 1] = ["tolerations"];

/// A partial pod template that does no harm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Overlay(Value);

/// Why a partial pod template cannot be merged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum OverlayError {
    /// A value is of the wrong kind.
    #[error("it is not a partial PodTemplateSpec: {0}")]
    Malformed(String),
    /// A field does not exist.
    #[error("{0} is not a field of a PodTemplateSpec; check its spelling")]
    UnknownField(String),
    /// A null stands where something should be taken away.
    #[error("{0} is null; nothing can be taken away here, leave the field out")]
    Null(String),
    /// An item of a list has no name.
    #[error("an item of {list} lacks its {key}, which says what it is merged with")]
    Unnamed {
        /// The list.
        list: String,
        /// The field that is missing.
        key: &'static str,
    },
    /// A label is taken.
    #[error("the label {0} is Fermata's own, by which pods are found; choose another")]
    Label(String),
    /// An annotation is taken.
    #[error("the annotation {0} is set by the gateway when a pod is to go; leave it out")]
    Annotation(String),
    /// A field does not go with a function.
    #[error("{field} cannot be given: {why}")]
    Field {
        /// The field.
        field: &'static str,
        /// Why, and what to do instead.
        why: &'static str,
    },
    /// A variable is taken.
    #[error("the environment variable {0} is set by Fermata; choose another name")]
    Env(String),
    /// The port that requests go to would be lost.
    #[error(
        "the port of the container function must stay the one named http; set the number with spec.port"
    )]
    Port,
    /// The volume with the source is taken.
    #[error(
        "the volume fermata-source and the mount path /function hold the source; choose others"
    )]
    Source,
    /// A function's pod always runs.
    #[error("restartPolicy {0} does not go with a function, which runs until it is stopped")]
    RestartPolicy(String),
}

// === impl Overlay ===

impl Overlay {
    /// Checks a partial pod template for a function that listens on the port.
    pub(crate) fn parse(overlay: &Map<String, Value>, port: u16) -> Result<Self, OverlayError> {
        let given = Value::Object(overlay.clone());
        let typed: PodTemplateSpec = serde_json::from_value(given.clone())
            .map_err(|error| OverlayError::Malformed(error.to_string()))?;
        let known = serde_json::to_value(&typed).unwrap_or_default();
        check_fields(&given, &known, "")?;
        check_keys(&given, "")?;
        check_pod(&typed, port)?;
        Ok(Self(given))
    }

    /// The pod template with this merged over it.
    pub(crate) fn over(&self, base: &PodTemplateSpec) -> Result<PodTemplateSpec, OverlayError> {
        let malformed = |error: serde_json::Error| OverlayError::Malformed(error.to_string());
        let mut merged = serde_json::to_value(base).map_err(malformed)?;
        merge(&mut merged, &self.0);
        serde_json::from_value(merged).map_err(malformed)
    }
}

/// Every given field must be one that the typed value knows.
fn check_fields(given: &Value, known: &Value, path: &str) -> Result<(), OverlayError> {
    match (given, known) {
        (Value::Object(given), known) => given.iter().try_for_each(|(field, value)| {
            let path = if path.is_empty() {
                field.clone()
            } else {
                format!("{path}.{field}")
            };
            if value.is_null() {
                return Err(OverlayError::Null(path));
            }
            match known.get(field) {
                Some(known) => check_fields(value, known, &path),
                None => Err(OverlayError::UnknownField(path)),
            }
        }),
        (Value::Array(given), Value::Array(known)) => given
            .iter()
            .zip(known)
            .enumerate()
            .try_for_each(|(index, (given, known))| {
                check_fields(given, known, &format!("{path}[{index}]"))
            }),
        _ => Ok(()),
    }
}

fn check_keys(given: &Value, path: &str) -> Result<(), OverlayError> {
    match given {
        Value::Object(fields) => fields.iter().try_for_each(|(field, value)| {
            let path = if path.is_empty() {
                field.clone()
            } else {
                format!("{path}.{field}")
            };
            if let (Some(key), Value::Array(items)) = (merge_key(field), value)
                && items.iter().any(|item| item.get(key).is_none())
            {
                return Err(OverlayError::Unnamed { list: path, key });
            }
            check_keys(value, &path)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check_keys(item, path)),
        _ => Ok(()),
    }
}

fn check_metadata(overlay: &PodTemplateSpec) -> Result<(), OverlayError> {
    let Some(metadata) = &overlay.metadata else {
        return Ok(());
    };
    let reserved = |key: &&String| key.starts_with(names::RESERVED_PREFIX);
    let mut labels = metadata.labels.iter().flat_map(|labels| labels.keys());
    if let Some(label) = labels.find(|key| reserved(key) || *key == names::MANAGED_BY_LABEL) {
        return Err(OverlayError::Label(label.clone()));
    }
    let annotations = metadata.annotations.iter();
    let mut annotations = annotations.flat_map(|annotations| annotations.keys());
    match annotations.find(|key| reserved(key) || *key == names::DELETION_COST_ANNOTATION) {
        Some(annotation) => Err(OverlayError::Annotation(annotation.clone())),
        None => Ok(()),
    }
}

/// Fields that would bring a pod past somebody who has a say: the scheduler, who may use an account, the
/// check of the security profile.
fn check_refused(spec: &PodSpec) -> Result<(), OverlayError> {
    let os = spec.os.as_ref().map(|os| os.name.as_str());
    let given = [
        (
            spec.node_name.is_some(),
            "spec.nodeName",
            "it would go past the scheduler; use nodeSelector, such as kubernetes.io/hostname, or affinity",
        ),
        (
            spec.service_account.is_some(),
            "spec.serviceAccount",
            "Kubernetes has given it up; use serviceAccountName",
        ),
        (
            os.is_some_and(|os| os != "linux"),
            "spec.os",
            "functions run on Linux; leave it out",
        ),
        (
            spec.ephemeral_containers.is_some(),
            "spec.ephemeralContainers",
            "they are added to pods that run; use containers, or kubectl debug",
        ),
        (
            spec.active_deadline_seconds.is_some(),
            "spec.activeDeadlineSeconds",
            "a function runs until it is stopped; bound its requests with timeouts.request",
        ),
    ];
    match given.into_iter().find(|(is_given, ..)| *is_given) {
        Some((_, field, why)) => Err(OverlayError::Field { field, why }),
        None => Ok(()),
    }
}

fn check_pod(overlay: &PodTemplateSpec, port: u16) -> Result<(), OverlayError> {
    check_metadata(overlay)?;
    let Some(spec) = &overlay.spec else {
        return Ok(());
    };
    if let Some(policy) = &spec.restart_policy
        && policy != "Always"
    {
        return Err(OverlayError::RestartPolicy(policy.clone()));
    }
    check_refused(spec)?;
    let mut volumes = spec.volumes.iter().flatten();
    if volumes.any(|volume| volume.name == names::SOURCE_VOLUME) {
        return Err(OverlayError::Source);
    }
    spec.containers
        .iter()
        .filter(|container| container.name == names::CONTAINER)
        .try_for_each(|container| check_container(container, port))
}

fn check_container(container: &Container, port: u16) -> Result<(), OverlayError> {
    let mut env = container.env.iter().flatten();
    let reserved = |name: &str| {
        names::RESERVED_ENV.contains(&name) || name.starts_with(names::RESERVED_ENV_PREFIX)
    };
    if let Some(variable) = env.find(|variable| reserved(&variable.name)) {
        return Err(OverlayError::Env(variable.name.clone()));
    }
    let mut ports = container.ports.iter().flatten();
    let is_http = |name: &Option<String>| name.as_deref() == Some(names::PORT_NAME);
    if ports.any(|given| {
        let own = given.container_port == i32::from(port);
        (own && given.name.is_some() && !is_http(&given.name)) || (!own && is_http(&given.name))
    }) {
        return Err(OverlayError::Port);
    }
    let mut mounts = container.volume_mounts.iter().flatten();
    if mounts.any(|mount| mount.mount_path.trim_end_matches('/') == names::SOURCE_PATH) {
        return Err(OverlayError::Source);
    }
    Ok(())
}

fn merge_key(list: &str) -> Option<&'static str> {
    let found = KEYED_LISTS.iter().find(|(name, _)| *name == list);
    found.map(|(_, key)| *key)
}

fn merge(base: &mut Value, overlay: &Value) {
    let (Value::Object(base), Value::Object(overlay)) = (&mut *base, overlay) else {
        *base = overlay.clone();
        return;
    };
    for (field, value) in overlay {
        match base.get_mut(field) {
            None => {
                base.insert(field.clone(), value.clone());
            }
            Some(under) => merge_field(field, under, value),
        }
    }
}

fn merge_field(field: &str, base: &mut Value, overlay: &Value) {
    let (Value::Array(under), Value::Array(over)) = (&mut *base, overlay) else {
        merge(base, overlay);
        return;
    };
    if ADDED_LISTS.contains(&field) {
        under.extend(over.iter().cloned());
        return;
    }
    let Some(key) = merge_key(field) else {
        *base = overlay.clone();
        return;
    };
    for item in over {
        let place = under
            .iter_mut()
            .find(|other| other.get(key) == item.get(key));
        match place {
            // A volume has one source: a given one takes the place of the other.
            Some(place) if field == "volumes" => *place = item.clone(),
            Some(place) => merge(place, item),
            None => under.push(item.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(overlay: Value) -> Result<Overlay, OverlayError> {
        let Value::Object(overlay) = overlay else {
            panic!("not an object");
        };
        Overlay::parse(&overlay, 8080)
    }

    fn base() -> PodTemplateSpec {
        serde_json::from_value(json!({
            "metadata": {"labels": {"fermata.dev/revision": "r"}},
            "spec": {
                "containers": [{"name": "function", "image": "a",
                    "env": [{"name": "PORT", "value": "8080"}],
                    "ports": [{"name": "http", "containerPort": 8080}]}],
                "volumes": [{"name": "data", "emptyDir": {}}],
            },
        }))
        .expect("a pod template")
    }

    #[test]
    fn named_things_merge_item_by_item_and_the_rest_as_a_whole() {
        let overlay = json!({
            "metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}},
            "spec": {
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"key": "spot", "operator": "Exists"}],
                "containers": [
                    {"name": "function", "env": [{"name": "MORE", "value": "1"}],
                        "ports": [{"containerPort": 9100, "name": "metrics"}]},
                    {"name": "sidecar", "image": "b"},
                ],
                "volumes": [{"name": "data", "configMap": {"name": "c"}}],
            },
        });
        let merged = parse(overlay).and_then(|overlay| overlay.over(&base()));
        let merged = serde_json::to_value(merged.expect("merged")).expect("json");
        assert_eq!(
            merged,
            json!({
                "metadata": {"labels": {"fermata.dev/revision": "r", "team": "a"},
                    "annotations": {"x": "y"}},
                "spec": {
                    "containers": [
                        {"name": "function", "image": "a",
                            "env": [{"name": "PORT", "value": "8080"}, {"name": "MORE", "value": "1"}],
                            "ports": [{"name": "http", "containerPort": 8080},
                                {"containerPort": 9100, "name": "metrics"}]},
                        {"name": "sidecar", "image": "b"},
                    ],
                    "nodeSelector": {"disk": "fast"},
                    "tolerations": [{"key": "spot", "operator": "Exists"}],
                    "volumes": [{"name": "data", "configMap": {"name": "c"}}],
                },
            })
        );
    }

    #[test]
    fn what_would_do_harm_is_refused_with_a_sentence() {
        let function = |container: Value| {
            let mut container = container;
            container["name"] = json!("function");
            json!({"spec": {"containers": [container]}})
        };
        for (overlay, sentence) in [
            (
                json!({"spec": {"nodeSelectr": {}}}),
                "spec.nodeSelectr is not a field",
            ),
            (
                json!({"spec": {"nodeSelector": "x"}}),
                "not a partial PodTemplateSpec",
            ),
            (
                json!({"spec": {"nodeSelector": null}}),
                "spec.nodeSelector is null",
            ),
            (
                json!({"spec": {"containers": [{"image": "x"}]}}),
                "lacks its name",
            ),
            (
                json!({"metadata": {"labels": {"fermata.dev/revision": "x"}}}),
                "fermata.dev/revision",
            ),
            (
                json!({"metadata": {"labels": {"fermata.dev/anything": "x"}}}),
                "fermata.dev/anything",
            ),
            (
                json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "x"}}}),
                "app.kubernetes.io/managed-by",
            ),
            (
                json!({"metadata": {"annotations": {"fermata.dev/draining": "x"}}}),
                "annotation fermata.dev/draining",
            ),
            (
                json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "9"}}}),
                "pod-deletion-cost",
            ),
            (
                json!({"spec": {"nodeName": "one"}}),
                "spec.nodeName cannot be given: it would go past the scheduler; use nodeSelector",
            ),
            (
                json!({"spec": {"serviceAccount": "admin"}}),
                "use serviceAccountName",
            ),
            (
                json!({"spec": {"os": {"name": "windows"}}}),
                "functions run on Linux",
            ),
            (
                json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}}),
                "spec.ephemeralContainers",
            ),
            (
                json!({"spec": {"activeDeadlineSeconds": 60}}),
                "timeouts.request",
            ),
            (
                json!({"spec": {"restartPolicy": "Never"}}),
                "restartPolicy Never",
            ),
            (
                json!({"spec": {"volumes": [{"name": "fermata-source"}]}}),
                "hold the source",
            ),
            (
                function(json!({"env": [{"name": "PORT", "value": "1"}]})),
                "variable PORT",
            ),
            (
                function(json!({"env": [{"name": "FERMATA_X", "value": "1"}]})),
                "FERMATA_X",
            ),
            (
                function(json!({"ports": [{"containerPort": 8080, "name": "web"}]})),
                "named http",
            ),
            (
                function(json!({"ports": [{"containerPort": 1, "name": "http"}]})),
                "named http",
            ),
            (
                function(json!({"volumeMounts": [{"name": "v", "mountPath": "/function/"}]})),
                "hold the source",
            ),
        ] {
            let error = parse(overlay.clone()).expect_err(&overlay.to_string());
            assert!(error.to_string().contains(sentence), "{overlay}: {error}");
        }
    }
}
