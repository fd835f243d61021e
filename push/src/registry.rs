//! A client of the distribution API
//! (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md>), as far as a push needs it: blobs that
//! are there already, taken over from a repository beside it, or sent in one piece; manifests; and the three ways in
//! which registries want to know who asks.

mod auth;
mod blobs;
mod connector;
mod exchange;
mod manifests;
mod redirect;
mod transport;

use std::time::Duration;

use self::{auth::Tokens, transport::Client};
use crate::{credentials::Credentials, error::Error, proxy::Proxy, reference::Repository};

pub(crate) use self::manifests::Manifest;

/// How often something is tried that a registry is not able to.
const TRIES: u32 = 4;

/// All registries that are spoken to.
pub(crate) struct Registries {
    client: Client,
    credentials: Credentials,
    tokens: Tokens,
    /// The host that is spoken to without TLS.
    plain: Option<String>,
    pause: Duration,
}

// === impl Registries ===

impl Registries {
    /// `plain` is the host that is spoken to without TLS, the others are reached through `proxy`; after a failure there
    /// is this pause, and then twice as long a one.
    pub(crate) fn new(
        credentials: Credentials,
        plain: Option<String>,
        proxy: Proxy,
        pause: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new(credentials.authority.as_deref(), proxy)?,
            credentials,
            tokens: Tokens::default(),
            plain,
            pause,
        })
    }

    /// Where a path of a repository's API is.
    fn url(&self, repository: &Repository, path: &str) -> String {
        let host = &repository.host;
        let scheme = if self.plain.as_ref() == Some(host) {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://{host}/v2/{}/{path}", repository.name)
    }

    /// Tries something again while the failure may pass.
    async fn persist<T>(&self, attempt: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let mut pause = self.pause;
        for _ in 1..TRIES {
            match attempt().await {
                Err(error) if error.is_passing() => tokio::time::sleep(pause).await,
                result => return result,
            }
            pause = pause.saturating_mul(2);
        }
        attempt().await
    }
}
