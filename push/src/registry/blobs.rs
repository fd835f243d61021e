//! Blobs: layers and configurations.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;
use url::Url;

use super::{
    Registries,
    exchange::{Ask, Payload},
    redirect,
    transport::{self, Body, PATIENCE},
};
use crate::{digest, error::Error, reference::Repository};

/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// Where the bytes of a blob come from.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Bytes(&'a Bytes),
    File(&'a Path),
    Repository(&'a Repository),
}

/// The rights that a push takes.
pub(super) fn push(repository: &Repository) -> Vec<String> {
    vec![format!("repository:{}:pull,push", repository.name)]
}

// === impl Registries ===

impl Registries {
    /// Whether a repository has a blob.
    pub(crate) async fn has_blob(
        &self,
        repository: &Repository,
        digest: &str,
    ) -> Result<bool, Error> {
        let what = format!("looking for {digest} in {repository}");
        let attempt = async || {
            let ask = Ask {
                repository,
                method: Method::HEAD,
                url: self.url(repository, &format!("blobs/{digest}")),
                headers: HeaderMap::new(),
                payload: Payload::Bytes(Bytes::new()),
                what: &what,
                accepts: &[StatusCode::OK, StatusCode::NOT_FOUND],
                scopes: push(repository),
            };
            Ok(self.ask(ask).await?.status() == StatusCode::OK)
        };
        self.persist(attempt).await
    }

    /// A small blob.
    pub(crate) async fn blob(
        &self,
        repository: &Repository,
        digest: &str,
        most: usize,
    ) -> Result<Bytes, Error> {
        let what = format!("{digest} of {repository}");
        let attempt = async || {
            let answer = self.open(repository, digest, &what).await?;
            let bytes = transport::read(answer.into_body(), most, &repository.host, &what).await?;
            if digest::of(&bytes) == digest {
                Ok(bytes)
            } else {
                Err(Error::Corrupt {
                    host: repository.host.clone(),
                    digest: digest.to_owned(),
                })
            }
        };
        self.persist(attempt).await
    }

    /// Sends a small blob.
    pub(crate) async fn put_bytes(
        &self,
        repository: &Repository,
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let digest = digest::of(bytes);
        self.put(
            repository,
            &digest,
            bytes.len() as u64,
            Source::Bytes(bytes),
        )
        .await
    }

    /// Sends a blob that is in a file.
    pub(crate) async fn put_file(
        &self,
        repository: &Repository,
        digest: &str,
        size: u64,
        file: &Path,
    ) -> Result<(), Error> {
        self.put(repository, digest, size, Source::File(file)).await
    }

    /// Takes a blob over from another repository: on the same registry without sending it, if that can do so.
    pub(crate) async fn copy(
        &self,
        repository: &Repository,
        digest: &str,
        size: u64,
        from: &Repository,
    ) -> Result<(), Error> {
        self.put(repository, digest, size, Source::Repository(from))
            .await
    }

    async fn put(
        &self,
        repository: &Repository,
        digest: &str,
        size: u64,
        source: Source<'_>,
    ) -> Result<(), Error> {
        if self.has_blob(repository, digest).await? {
            return Ok(());
        }
        let what = format!("pushing a layer to {repository}");
        self.persist(async || {
            let Some(place) = self.begin(repository, digest, source, &what).await? else {
                return Ok(());
            };
            let mut headers = HeaderMap::new();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            );
            headers.insert(CONTENT_LENGTH, size.into());
            let ask = Ask {
                repository,
                method: Method::PUT,
                url: place.into(),
                headers,
                payload: self.payload(digest, size, source).await?,
                what: &what,
                accepts: &[StatusCode::CREATED, StatusCode::NO_CONTENT],
                scopes: push(repository),
            };
            self.ask(ask).await.map(|_| ())
        })
        .await
    }

    /// Begins to send a blob: where to, or nowhere if the registry took it over from another repository.
    async fn begin(
        &self,
        repository: &Repository,
        digest: &str,
        source: Source<'_>,
        what: &str,
    ) -> Result<Option<Url>, Error> {
        let mut url = self.url(repository, "blobs/uploads/");
        let mut scopes = push(repository);
        if let Source::Repository(from) = source
            && from.host == repository.host
            && from.name != repository.name
        {
            url = format!("{url}?mount={digest}&from={}", from.name);
            scopes.push(format!("repository:{}:pull", from.name));
        }
        let ask = Ask {
            repository,
            method: Method::POST,
            url: url.clone(),
            headers: HeaderMap::new(),
            payload: Payload::Bytes(Bytes::new()),
            what,
            accepts: &[StatusCode::ACCEPTED, StatusCode::CREATED],
            scopes,
        };
        let answer = self.ask(ask).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let place = answer
            .headers()
            .get(LOCATION)
            .and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| redirect::follow(&url, place));
        let mut place = place.ok_or_else(|| Error::Answer {
            host: repository.host.clone(),
            what: what.to_owned(),
            said: "it does not say where to send it, or leads out of TLS".to_owned(),
        })?;
        place.query_pairs_mut().append_pair("digest", digest);
        Ok(Some(place))
    }

    async fn payload(&self, digest: &str, size: u64, source: Source<'_>) -> Result<Payload, Error> {
        match source {
            Source::Bytes(bytes) => Ok(Payload::Bytes(bytes.clone())),
            Source::File(path) => {
                let unreadable = |source| Error::Read {
                    path: path.to_owned(),
                    source,
                };
                let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
                let pieces = ReaderStream::with_capacity(file, PIECE);
                let frames = pieces.map(|piece| piece.map(Frame::data));
                Ok(Payload::Stream(sized(
                    StreamBody::new(frames).boxed_unsync(),
                    size,
                )))
            }
            Source::Repository(from) => {
                let what = format!("{digest} of {from}");
                let answer = self.open(from, digest, &what).await?;
                let checked = checked(
                    answer.into_body(),
                    from.host.clone(),
                    digest.to_owned(),
                    size,
                );
                Ok(Payload::Stream(sized(checked, size)))
            }
        }
    }

    async fn open(
        &self,
        repository: &Repository,
        digest: &str,
        what: &str,
    ) -> Result<http::Response<hyper::body::Incoming>, Error> {
        let ask = Ask {
            repository,
            method: Method::GET,
            url: self.url(repository, &format!("blobs/{digest}")),
            headers: HeaderMap::new(),
            payload: Payload::Bytes(Bytes::new()),
            what,
            accepts: &[StatusCode::OK],
            scopes: vec![format!("repository:{}:pull", repository.name)],
        };
        self.ask(ask).await
    }
}

/// A body that fails where it is not what its digest says, or comes no more.
fn checked(body: hyper::body::Incoming, host: String, digest: String, size: u64) -> Body {
    struct State {
        body: hyper::body::Incoming,
        hash: Sha256,
        left: u64,
        host: String,
        digest: String,
    }
    impl State {
        fn corrupt(&self) -> io::Error {
            io::Error::other(Error::Corrupt {
                host: self.host.clone(),
                digest: self.digest.clone(),
            })
        }
    }
    let state = State {
        body,
        hash: Sha256::new(),
        left: size,
        host,
        digest,
    };
    let pieces = futures::stream::try_unfold(state, |mut state| async move {
        loop {
            let frame = tokio::time::timeout(PATIENCE, state.body.frame()).await;
            let frame = frame.map_err(|_| stalled())?;
            let Some(frame) = frame else {
                let whole = state.left == 0 && digest::text(state.hash.clone()) == state.digest;
                return if whole {
                    Ok(None)
                } else {
                    Err(state.corrupt())
                };
            };
            let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else {
                continue;
            };
            let Some(left) = state.left.checked_sub(piece.len() as u64) else {
                return Err(state.corrupt());
            };
            state.left = left;
            state.hash.update(&piece);
            // The last piece goes on only when it is known that all of it is right.
            if left == 0 && digest::text(state.hash.clone()) != state.digest {
                return Err(state.corrupt());
            }
            return Ok(Some((Frame::data(piece), state)));
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn stalled() -> io::Error {
    let seconds = Duration::as_secs(&PATIENCE);
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("nothing came for {seconds} s"),
    )
}

/// Says how long a body is, so that it is sent in one piece and not in chunks.
fn sized(body: Body, size: u64) -> Body {
    Sized { body, size }.boxed_unsync()
}

struct Sized {
    body: Body,
    size: u64,
}

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = std::pin::Pin::new(&mut self.body).poll_frame(context);
        if let std::task::Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.size = self.size.saturating_sub(data.len() as u64);
        }
        frame
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.size)
    }
}
