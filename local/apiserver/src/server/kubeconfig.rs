//! The kubeconfig, which is all that a client needs.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::pki::Pki;

/// The name of the cluster, the user and the context.
const NAME: &str = "fermata";

/// A kubeconfig with the credentials in it. Whoever can read it can do everything.
pub(crate) fn kubeconfig(address: SocketAddr, pki: &Pki) -> String {
    let encode = |pem: &str| STANDARD.encode(pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {NAME}
  cluster:
    server: https://{address}
    certificate-authority-data: {ca}
users:
- name: {NAME}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {NAME}
  context:
    cluster: {NAME}
    user: {NAME}
    namespace: default
current-context: {NAME}
preferences: {{}}
",
        ca = encode(&pki.ca_pem),
        certificate = encode(&pki.client_pem),
        key = encode(&pki.client_key_pem),
    )
}
