//! Bundles of functions: who reads them, and which of them stay.

use fermata_listen::{Attended, Seat};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Either;
use hyper::body::Incoming;

use super::{
    super::{
        BUNDLE_HEADER, KEY_PREFIX, READER_HEADER, access, cgi,
        credentials::Credentials,
        repository::Repository,
        request::{self, Asked, Refusal, Service},
    },
    answering::{Body, Server, under_way},
};

// === impl Server ===

impl Server {
    /// Whether the request brings the key by which the bundles of a function are read where it runs. It comes from
    /// within the cluster, where there is no TLS, and is good for nothing else.
    pub(super) fn reads_bundles(
        &self,
        asked: &Asked,
        headers: &HeaderMap,
    ) -> Result<bool, Refusal> {
        if !self.access.is_shared() || !asked.bundles || asked.service != Service::Fetch {
            return Ok(false);
        }
        let unauthorized = |sentence: &str| {
            let sentence = sentence.to_owned();
            Err(request::refused(StatusCode::UNAUTHORIZED, sentence))
        };
        if !headers.contains_key(header::AUTHORIZATION) {
            return unauthorized("bundles are read with the key of the function's Secret");
        }
        let key = access::token(headers).filter(|key| key.starts_with(KEY_PREFIX));
        match key {
            None => Ok(false),
            Some(key) if self.repository(asked).is_read_by(&key) => Ok(true),
            Some(_) => {
                unauthorized("the key reads nothing here any more; deploy the function once more")
            }
        }
    }

    /// Gives a bundle to an instance that starts. Many may start at once, and wait for each other.
    pub(super) async fn give_bundle(
        &self,
        asked: &Asked,
        request: Request<Incoming>,
        seat: &Seat,
    ) -> Result<Response<Attended<Body>>, Refusal> {
        let places = self.places(asked);
        // Of those who wait a few keep their connections, and further ones give way: nobody shuts the others out.
        let line = places.line_up(&asked.namespace);
        let waits = line.is_some().then(|| seat.busy());
        let slot = places.wait_with_all(&asked.namespace).await;
        let busy = waits.unwrap_or_else(|| seat.busy());
        drop(line);
        let slot = slot.ok_or_else(|| {
            let sentence = "too many instances fetch at once; try again later".to_owned();
            request::refused(StatusCode::SERVICE_UNAVAILABLE, sentence)
        })?;
        let ended = async move { drop(slot) };
        let answer = cgi::answer(&self.root, asked, request, Vec::new(), ended, &self.tasks).await;
        answer
            .map(|response| response.map(|body| Attended::new(Either::Right(body), busy)))
            .map_err(|error| request::failed(&error))
    }
}

/// Notes what the one who deploys says of a bundle: that it is about to be used, and which key reads it.
pub(super) async fn note(repository: &Repository, headers: &HeaderMap) -> Result<(), Refusal> {
    let said = |name: &str, digits: usize| {
        let said = headers.get(name)?.to_str().ok()?;
        let is_hexadecimal = said.len() == digits && said.bytes().all(|b| b.is_ascii_hexdigit());
        is_hexadecimal.then_some(said)
    };
    let (reader, commit) = (said(READER_HEADER, 64), said(BUNDLE_HEADER, 40));
    if reader.is_none() && commit.is_none() {
        return Ok(());
    }
    let (reader, commit) = (reader.map(ToOwned::to_owned), commit.map(ToOwned::to_owned));
    let repository = repository.clone();
    let noted = move || -> anyhow::Result<bool> {
        let Some(_held) = repository.lock()? else {
            return Ok(false);
        };
        if let Some(digest) = reader {
            repository.set_reader(&digest)?;
        }
        if let Some(commit) = commit {
            repository.touch(&commit)?;
        }
        Ok(true)
    };
    // git is asked for that.
    let noted = tokio::task::spawn_blocking(noted).await;
    match noted.unwrap_or_else(|error| Err(error.into())) {
        Ok(true) => Ok(()),
        Ok(false) => Err(under_way()),
        Err(error) => Err(request::failed(&error)),
    }
}

/// Removes the bundles of a function that are not used any more. Where the one who pushes may not read what is used, all
/// stay.
pub(super) async fn tidy(asked: &Asked, credentials: &Credentials, repository: &Repository) {
    let used = credentials
        .used_commits(&asked.namespace, &asked.name)
        .await;
    let (used, unknown) = match used {
        Ok(used) => (Some(used), None),
        Err(error) => (None, Some(error)),
    };
    let repository = repository.clone();
    let tidied = tokio::task::spawn_blocking(move || repository.tidy(used.as_ref())).await;
    let tidied = tidied.unwrap_or_else(|error| Err(error.into()));
    for error in unknown.into_iter().chain(tidied.err()) {
        let error = &*error as &dyn std::error::Error;
        tracing::warn!(error, "bundles that are not used any more stay");
    }
}
