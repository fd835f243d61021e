//! A namespace for one test, so that tests do not meet.

use std::{collections::BTreeMap, path::Path};

use fermata_crds::{Function, Revision, conditions};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    discovery,
};
use serde_json::{Value, json};

use crate::{
    client::{Answer, Gateway},
    platform::Platform,
    wait::eventually,
};

/// A namespace of a platform, and what tests do in it.
#[derive(Clone)]
pub struct Space {
    /// The platform.
    pub platform: Platform,
    /// A client of its cluster.
    pub client: Client,
    /// The name of the namespace.
    pub name: String,
}

// === impl Space ===

impl Space {
    /// A new namespace on the shared platform, in which pods must be restricted.
    pub async fn new() -> Self {
        Self::on(Platform::shared()).await
    }

    /// A new namespace on the given platform.
    pub async fn on(platform: Platform) -> Self {
        let space = Self::try_on(platform).await;
        space.expect("a namespace can be made")
    }

    /// A new namespace on the given platform.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn try_on(platform: Platform) -> Result<Self, kube::Error> {
        let client = platform.client().await;
        let labels = BTreeMap::from([(
            "pod-security.kubernetes.io/enforce".to_owned(),
            "restricted".to_owned(),
        )]);
        let mut namespace = Namespace::default();
        namespace.metadata.generate_name = Some("test-".into());
        namespace.metadata.labels = Some(labels);
        let created = Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(Self {
            platform,
            client,
            name: created.name_any(),
        })
    }

    /// The objects of one kind in this namespace.
    #[must_use]
    pub fn api<K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(
        &self,
    ) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies an object given as JSON.
    ///
    /// # Errors
    ///
    /// What the API says when it refuses the object.
    pub async fn try_apply(&self, object: &Value) -> Result<DynamicObject, kube::Error> {
        let object: DynamicObject =
            serde_json::from_value(object.clone()).expect("an object has a name and a kind");
        let kind = object
            .types
            .clone()
            .expect("an object has a kind")
            .try_into()
            .expect("the kind is valid");
        let (resource, capabilities) = discovery::pinned_kind(&self.client, &kind).await?;
        let api = match capabilities.scope {
            discovery::Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            discovery::Scope::Namespaced => {
                Api::namespaced_with(self.client.clone(), &self.name, &resource)
            }
        };
        let params = PatchParams::apply("test").force();
        api.patch(
            &object.name_any(),
            &PatchParams {
                field_validation: Some(kube::api::ValidationDirective::Strict),
                ..params
            },
            &Patch::Apply(&object),
        )
        .await
    }

    /// Applies an object given as JSON.
    pub async fn apply(&self, object: &Value) -> DynamicObject {
        match self.try_apply(object).await {
            Ok(object) => object,
            Err(error) => panic!("{error}\n{object:#}"),
        }
    }

    /// Applies all objects of a YAML file.
    pub async fn apply_file(&self, path: &Path) {
        let text = std::fs::read_to_string(path).expect("the file is readable");
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("the file is YAML");
        for object in objects {
            self.apply(&object).await;
        }
    }

    /// Applies a function with this spec.
    pub async fn function(&self, name: &str, spec: Value) {
        self.apply(&function(name, spec)).await;
    }

    /// Applies a function that runs the test program, which can misbehave in many ways.
    pub async fn test_function(&self, name: &str, arguments: &[&str], more: Value) {
        self.apply(&test_function(name, arguments, more)).await;
    }

    /// Deletes a Function, and waits until none of its pods is left.
    pub async fn remove(&self, name: &str) {
        self.api::<Function>()
            .delete(name, &DeleteParams::background())
            .await
            .expect("the function can be deleted");
        self.pods(name, 0).await;
    }

    /// The Function as it is now.
    pub async fn get(&self, name: &str) -> Function {
        self.api::<Function>()
            .get(name)
            .await
            .expect("the function is there")
    }

    /// Waits until a Function's condition has a status, and gives its reason and message.
    pub async fn condition(&self, name: &str, kind: &str, status: &str) -> (String, String) {
        eventually(&format!("{name}: {kind} is {status}"), async || {
            let function = self.get(name).await;
            let seen = function.status.clone().unwrap_or_default();
            match conditions::find(&seen.conditions, kind) {
                Some(condition)
                    if condition.status == status
                        && seen.observed_generation == function.metadata.generation =>
                {
                    Ok((condition.reason.clone(), condition.message.clone()))
                }
                _ => Err(format!("{seen:?}")),
            }
        })
        .await
    }

    /// Waits until a Function is not ready for the given reason, and gives the message.
    pub async fn fails(&self, name: &str, reason: &str) -> String {
        eventually(&format!("{name} is not ready: {reason}"), async || {
            let seen = self.get(name).await.status.unwrap_or_default();
            match conditions::find(&seen.conditions, conditions::READY) {
                Some(condition) if condition.status == "False" && condition.reason == reason => {
                    Ok(condition.message.clone())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    /// Waits until a Function is ready with its newest spec.
    pub async fn ready(&self, name: &str) -> Function {
        self.condition(name, conditions::READY, "True").await;
        self.get(name).await
    }

    /// Waits until a Function has this many replicas, pods that are ending included.
    pub async fn pods(&self, name: &str, count: usize) -> Vec<Pod> {
        let selector = ListParams::default().labels(&format!("fermata.dev/function={name}"));
        eventually(&format!("{name} has {count} pods"), async || {
            let pods = self
                .api::<Pod>()
                .list(&selector)
                .await
                .expect("pods can be listed")
                .items;
            if pods.len() == count {
                Ok(pods)
            } else {
                Err(format!("it has {}", pods.len()))
            }
        })
        .await
    }

    /// Waits until every Deployment of a Function asks for no replica.
    pub async fn at_zero(&self, name: &str) {
        let selector = ListParams::default().labels(&format!("fermata.dev/function={name}"));
        eventually(&format!("{name} rests at zero"), async || {
            let deployments = self
                .api::<Deployment>()
                .list(&selector)
                .await
                .expect("Deployments can be listed");
            let wanted: i32 = deployments
                .iter()
                .filter_map(|deployment| deployment.spec.as_ref()?.replicas)
                .sum();
            if wanted == 0 {
                Ok(())
            } else {
                Err(format!("{wanted} replicas are wanted"))
            }
        })
        .await;
    }

    /// The Revisions of a Function, oldest first.
    pub async fn revisions(&self, name: &str) -> Vec<Revision> {
        let selector = ListParams::default().labels(&format!("fermata.dev/function={name}"));
        let mut revisions = self
            .api::<Revision>()
            .list(&selector)
            .await
            .expect("Revisions can be listed")
            .items;
        revisions.sort_by_key(kube::ResourceExt::name_any);
        revisions
    }

    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        self.platform.gateway()
    }

    /// The path that leads to a Function of this namespace.
    #[must_use]
    pub fn path(&self, function: &str) -> String {
        format!("/function/{function}.{}", self.name)
    }

    /// Calls a Function with a body.
    pub async fn call(&self, function: &str, body: &str) -> Answer {
        self.gateway().post(&self.path(function), body).await
    }

    /// Waits until a Function answers a call with this text: what the API calls ready, a gateway knows of a moment
    /// later.
    pub async fn answers(&self, function: &str, text: &str) {
        eventually(&format!("{function} answers {text:?}"), async || {
            let answer = self.call(function, "").await;
            if answer.status.is_success() && answer.text() == text {
                Ok(())
            } else {
                Err(format!("{} {}", answer.status, answer.text()))
            }
        })
        .await;
    }

    /// Gets a path of a Function.
    pub async fn fetch(&self, function: &str, path: &str) -> Answer {
        self.gateway()
            .get(&format!("{}{path}", self.path(function)))
            .await
    }
}

/// A Function manifest.
#[must_use]
fn function(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "fermata.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": spec})
}

/// A manifest of a function that runs the test program, which can misbehave in many ways.
#[must_use]
pub fn test_function(name: &str, arguments: &[&str], more: Value) -> Value {
    let mut spec = json!({
        "image": "localhost/fermata-test-function:1",
        "command": ["fermata-test-function"], "args": arguments,
    });
    merge(&mut spec, more);
    function(name, spec)
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
