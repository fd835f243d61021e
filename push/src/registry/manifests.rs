//! Manifests: what an image is made of.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::{
    Registries,
    exchange::{Ask, Payload},
    transport,
};
use crate::{digest, error::Error, reference::Repository};

/// The largest manifest; registries take no larger ones.
const MOST: usize = 4 << 20;

/// All kinds that are understood.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A manifest as it came.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) bytes: Bytes,
    pub(crate) digest: String,
}

// === impl Registries ===

impl Registries {
    /// A manifest by its tag or digest; none if the registry has none.
    pub(crate) async fn manifest(
        &self,
        repository: &Repository,
        version: &str,
    ) -> Result<Option<Manifest>, Error> {
        let what = format!("the manifest {version} of {repository}");
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let attempt = async || {
            let ask = Ask {
                repository,
                method: Method::GET,
                url: self.url(repository, &format!("manifests/{version}")),
                headers: headers.clone(),
                payload: Payload::Bytes(Bytes::new()),
                what: &what,
                accepts: &[StatusCode::OK, StatusCode::NOT_FOUND],
                scopes: vec![format!("repository:{}:pull", repository.name)],
            };
            let answer = self.ask(ask).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let bytes = transport::read(answer.into_body(), MOST, &repository.host, &what).await?;
            let digest = digest::of(&bytes);
            if digest::is_valid(version) && digest != version {
                return Err(Error::Corrupt {
                    host: repository.host.clone(),
                    digest: version.to_owned(),
                });
            }
            Ok(Some(Manifest { bytes, digest }))
        };
        self.persist(attempt).await
    }

    /// Puts a manifest under a tag.
    pub(crate) async fn put_manifest(
        &self,
        repository: &Repository,
        tag: &str,
        kind: &'static str,
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let what = format!("pushing the image to {repository}");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let attempt = async || {
            let ask = Ask {
                repository,
                method: Method::PUT,
                url: self.url(repository, &format!("manifests/{tag}")),
                headers: headers.clone(),
                payload: Payload::Bytes(bytes.clone()),
                what: &what,
                accepts: &[StatusCode::CREATED],
                scopes: super::blobs::push(repository),
            };
            let answer = self.ask(ask).await?;
            let told = answer.headers().get("docker-content-digest");
            match told.and_then(|told| told.to_str().ok()) {
                Some(told) if told != digest::of(bytes) => Err(Error::Answer {
                    host: repository.host.clone(),
                    what: what.clone(),
                    said: format!("it keeps the image as {told}"),
                }),
                _ => Ok(()),
            }
        };
        self.persist(attempt).await
    }
}
