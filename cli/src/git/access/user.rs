//! The user of `fermata up`, who alone may push and clone there.

use std::{io, net::SocketAddr, path::PathBuf};

use http::HeaderMap;

use super::super::{
    NAMESPACE, caller,
    credentials::Credentials,
    request::{self, Asked, Refusal},
};

/// The one user.
pub(in super::super) struct User {
    /// The kubeconfig of the cluster to deploy to.
    pub(in super::super) kubeconfig: PathBuf,
    /// Where the gateway takes requests.
    pub(in super::super) gateway: SocketAddr,
}

// === impl User ===

impl User {
    pub(super) async fn admit(&self, headers: &HeaderMap, is_own: bool) -> Result<(), Refusal> {
        let client = request::client(headers)?;
        let of_user = belongs_to_user(client, self.gateway)
            .await
            .map_err(|error| request::failed(&error.into()))?;
        if !is_own || !of_user {
            return Err(request::forbidden(
                "only the user of `fermata up` may push and clone here, and only on its machine",
            ));
        }
        Ok(())
    }

    pub(super) fn grant(&self, asked: &Asked) -> Result<Credentials, Refusal> {
        if asked.namespace == NAMESPACE {
            return Err(request::forbidden(&format!(
                "functions of the platform itself are in {NAMESPACE}; they are not pushed to"
            )));
        }
        Ok(Credentials::Kubeconfig(self.kubeconfig.clone()))
    }
}

/// Whether the client of a connection is of this user.
pub(in super::super) async fn belongs_to_user(
    client: SocketAddr,
    server: SocketAddr,
) -> io::Result<bool> {
    tokio::task::spawn_blocking(move || caller::is_own(client, server))
        .await
        .map_err(io::Error::other)?
}
