//! The cluster of a test: its own embedded one, or a namespace of its own on the one given.

use fermata_apiserver::{ApiServer, Options};
use fermata_node::Controllers;
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    requests::{call, eventually},
    tool::Kubectl,
};

/// Names the kubeconfig of the server to test; without it every test starts an embedded one.
const VARIABLE: &str = "FERMATA_TEST_API_KUBECONFIG";

/// A cluster and a namespace in it that no other test uses.
pub(crate) struct Cluster {
    pub(crate) namespace: String,
    kubeconfig: String,
    _embedded: Option<(ApiServer, DropGuard)>,
}

/// The cluster, and a client whose default namespace is the test's own. The namespace takes pods,
/// and Fermata's definitions are served.
pub(crate) async fn cluster() -> (Cluster, Client) {
    let (kubeconfig, embedded) = match std::env::var_os(VARIABLE) {
        Some(file) => {
            let kubeconfig = std::fs::read_to_string(file).expect("the kubeconfig");
            (kubeconfig, None)
        }
        None => {
            let (server, stop) = embedded().await;
            (server.kubeconfig(), Some((server, stop)))
        }
    };
    let everywhere = client(&kubeconfig, embedded.as_ref(), "default").await;
    if embedded.is_none() {
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        DEFINED.get_or_init(|| define(&everywhere)).await;
    }
    let namespace = namespace(&everywhere).await;
    let client = client(&kubeconfig, embedded.as_ref(), &namespace).await;
    if embedded.is_none() {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        eventually("the service account of pods", async || {
            accounts.get_opt("default").await.unwrap()
        })
        .await;
    }
    let cluster = Cluster {
        namespace,
        kubeconfig,
        _embedded: embedded,
    };
    (cluster, client)
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig, &self.namespace)
    }

    /// A group of the API that no other test defines.
    pub(crate) fn group(&self) -> String {
        format!("{}.example.com", self.namespace)
    }
}

async fn embedded() -> (ApiServer, DropGuard) {
    let server = ApiServer::start(Options {
        listen: ([127, 0, 0, 1], 0).into(),
        crds: fermata_crds::crd::all(),
        ..Options::default()
    })
    .await
    .expect("server");
    let stop = CancellationToken::new();
    tokio::spawn(Controllers::new(server.client("default")).run(stop.clone()));
    (server, stop.drop_guard())
}

async fn client(
    kubeconfig: &str,
    embedded: Option<&(ApiServer, DropGuard)>,
    namespace: &str,
) -> Client {
    if let Some((server, _)) = embedded {
        return server.client(namespace);
    }
    // Another test may have done it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.expect("kubeconfig");
    config.default_namespace = namespace.to_owned();
    // A refusal is what many tests are about.
    config.default_retry = false;
    Client::try_from(config).expect("client")
}

async fn namespace(client: &Client) -> String {
    let new: Namespace =
        serde_json::from_value(json!({"metadata": {"generateName": "api-"}})).expect("namespace");
    let api: Api<Namespace> = Api::all(client.clone());
    let made = api.create(&PostParams::default(), &new).await;
    made.expect("namespace").metadata.name.expect("name")
}

/// Installs Fermata's definitions where they may not be.
async fn define(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("fermata-tests").force();
    for definition in fermata_crds::crd::all() {
        let name = definition.metadata.name.clone().expect("name");
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name}, "spec": definition.spec,
        });
        let applied = api.patch(&name, &params, &Patch::Apply(definition)).await;
        applied.expect("definition");
    }
    serves(client, "fermata.dev", "v1alpha1", "runtimes").await;
}

/// Waits until a defined resource is in discovery and in the OpenAPI documents, and can be listed.
pub(crate) async fn serves(client: &Client, group: &str, version: &str, plural: &str) {
    eventually("the definition to be served", async || {
        let path = format!("/apis/{group}/{version}");
        let (_, list) = call(client, "GET", &path, Value::Null).await;
        let (_, index) = call(client, "GET", "/openapi/v3", Value::Null).await;
        let documented = index["paths"].get(format!("apis/{group}/{version}"));
        let mut served = list["resources"].as_array().into_iter().flatten();
        let (listed, _) = call(client, "GET", &format!("{path}/{plural}"), Value::Null).await;
        let known = documented.is_some() && served.any(|one| one["name"] == plural);
        (known && listed == 200).then_some(())
    })
    .await;
}
