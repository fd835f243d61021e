//! The environment of a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVarSource, ObjectFieldSelector, Pod, Secret,
};
use kube::{Api, Client, ResourceExt as _};

use super::expand::expand;

/// Why a container's environment cannot be made, in the kubelet's own words where it has some.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{kind} \"{name}\" not found")]
    Missing { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    MissingKey {
        kind: &'static str,
        namespace: String,
        name: String,
        key: String,
    },
    #[error("{kind} {name}, key {key}: the value is not text")]
    NotText {
        kind: &'static str,
        name: String,
        key: String,
    },
    #[error("the field {0} cannot be read into a variable")]
    UnknownField(String),
    #[error("resourceFieldRef and fileKeyRef are not offered by the embedded node")]
    Unsupported,
    #[error("reading {kind} \"{name}\" failed")]
    Api {
        kind: &'static str,
        name: String,
        source: Box<kube::Error>,
    },
}

type Values = BTreeMap<String, String>;

/// The variables the manifest asks for: `envFrom` first, then `env` in its order.
pub(super) async fn resolve(
    client: &Client,
    pod: &Pod,
    container: &Container,
) -> Result<Values, Error> {
    let objects = Objects {
        client,
        namespace: pod.namespace().unwrap_or_default(),
    };
    let mut values = Values::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let entries = if let Some(source) = &from.config_map_ref {
            objects
                .config_map(&source.name, source.optional == Some(true))
                .await?
        } else if let Some(source) = &from.secret_ref {
            objects
                .secret(&source.name, source.optional == Some(true))
                .await?
        } else {
            continue;
        };
        values.extend(
            entries
                .into_iter()
                .flatten()
                .map(|(key, value)| (format!("{prefix}{key}"), value)),
        );
    }
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            Some(source) => objects.value(pod, source).await?,
            None => Some(expand(var.value.as_deref().unwrap_or_default(), &values)),
        };
        if let Some(value) = value {
            values.insert(var.name.clone(), value);
        }
    }
    Ok(values)
}

/// The field of a pod that the downward API names
/// (<https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>).
pub(super) fn field(pod: &Pod, selector: &ObjectFieldSelector) -> Result<String, Error> {
    let path = selector.field_path.as_str();
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "spec.nodeName" => spec
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_else(|| "default".into()),
        "status.hostIP" | "status.podIP" | "status.podIPs" | "status.hostIPs" => {
            super::ADDRESS.to_owned()
        }
        _ => {
            let entry = |field: &str| {
                path.strip_prefix(field)?
                    .strip_prefix("['")?
                    .strip_suffix("']")
            };
            match (entry("metadata.labels"), entry("metadata.annotations")) {
                (Some(key), _) => pod.labels().get(key).cloned().unwrap_or_default(),
                (_, Some(key)) => pod.annotations().get(key).cloned().unwrap_or_default(),
                _ => return Err(Error::UnknownField(path.to_owned())),
            }
        }
    };
    Ok(value)
}

/// ConfigMaps and Secrets of one namespace.
struct Objects<'a> {
    client: &'a Client,
    namespace: String,
}

// === impl Objects ===

impl Objects<'_> {
    async fn value(&self, pod: &Pod, source: &EnvVarSource) -> Result<Option<String>, Error> {
        if let Some(key) = &source.config_map_key_ref {
            let optional = key.optional == Some(true);
            let entries = self.config_map(&key.name, optional).await?;
            return self.entry("ConfigMap", &key.name, entries, &key.key, optional);
        }
        if let Some(key) = &source.secret_key_ref {
            let optional = key.optional == Some(true);
            let entries = self.secret(&key.name, optional).await?;
            return self.entry("Secret", &key.name, entries, &key.key, optional);
        }
        match &source.field_ref {
            Some(selector) => field(pod, selector).map(Some),
            None => Err(Error::Unsupported),
        }
    }

    fn entry(
        &self,
        kind: &'static str,
        name: &str,
        entries: Option<Values>,
        key: &str,
        optional: bool,
    ) -> Result<Option<String>, Error> {
        match entries.and_then(|mut entries| entries.remove(key)) {
            None if !optional => Err(Error::MissingKey {
                kind,
                namespace: self.namespace.clone(),
                name: name.to_owned(),
                key: key.to_owned(),
            }),
            value => Ok(value),
        }
    }

    async fn config_map(&self, name: &str, optional: bool) -> Result<Option<Values>, Error> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let found = found("configmap", name, optional, api.get_opt(name).await)?;
        Ok(found.map(|map| map.data.unwrap_or_default()))
    }

    async fn secret(&self, name: &str, optional: bool) -> Result<Option<Values>, Error> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let Some(secret) = found("secret", name, optional, api.get_opt(name).await)? else {
            return Ok(None);
        };
        let text =
            |(key, bytes): (String, k8s_openapi::ByteString)| match String::from_utf8(bytes.0) {
                Ok(value) => Ok((key, value)),
                Err(_) => Err(Error::NotText {
                    kind: "Secret",
                    name: name.to_owned(),
                    key,
                }),
            };
        secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(text)
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

fn found<K>(
    kind: &'static str,
    name: &str,
    optional: bool,
    result: kube::Result<Option<K>>,
) -> Result<Option<K>, Error> {
    match result {
        Ok(None) if !optional => Err(Error::Missing {
            kind,
            name: name.to_owned(),
        }),
        Ok(object) => Ok(object),
        Err(error) => Err(Error::Api {
            kind,
            name: name.to_owned(),
            source: Box::new(error),
        }),
    }
}
