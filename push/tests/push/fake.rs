//! A registry in memory, which notes what it is asked, and does what a test makes it do.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as a registry saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

/// An answer of a test in place of the registry's own.
pub(crate) type Answer = Response<Full<Bytes>>;

type Fault = dyn Fn(&Seen, &mut State) -> Option<Answer> + Send + Sync;

/// What a registry holds.
#[derive(Default)]
pub(crate) struct State {
    /// By repository and digest.
    pub(crate) blobs: HashMap<(String, String), Bytes>,
    /// By repository and tag or digest, with the media type.
    pub(crate) manifests: HashMap<(String, String), (String, Bytes)>,
    pub(crate) seen: Vec<Seen>,
    uploads: u32,
}

/// A registry, as long as this is there.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    /// The certificate to trust, in PEM, where it speaks TLS.
    pub(crate) authority: Option<String>,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

// === impl Fake ===

impl Fake {
    pub(crate) fn start() -> Self {
        Self::with(|_, _| None)
    }

    /// `fault` may answer in place of the registry.
    pub(crate) fn with(
        fault: impl Fn(&Seen, &mut State) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Arc::new(fault), None)
    }

    /// One with TLS.
    pub(crate) fn with_tls() -> Self {
        let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])
            .expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der())
            .expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a configuration");
        let mut fake = Self::serve(
            Arc::new(|_, _| None),
            Some(TlsAcceptor::from(Arc::new(config))),
        );
        fake.authority = Some(own.cert.pem());
        fake
    }

    fn serve(fault: Arc<Fault>, tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, fault, tls) = (shared.clone(), fault.clone(), tls.clone());
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| answer(request, state.clone(), fault.clone()));
                    let server = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is none of the registry's business.
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let _ =
                                    server.serve_connection(TokioIo::new(stream), service).await;
                            }
                        }
                        None => {
                            let _ = server.serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                });
            }
        });
        Self {
            address,
            authority: None,
            state,
            _runtime: runtime,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked with this method, and a path that holds this.
    pub(crate) fn asked(&self, method: &Method, part: &str) -> Vec<Seen> {
        let state = self.state();
        let seen = state
            .seen
            .iter()
            .filter(|seen| seen.method == *method && seen.path.contains(part));
        seen.cloned().collect()
    }
}

impl State {
    /// Puts in a blob and says its digest.
    pub(crate) fn put(&mut self, repository: &str, blob: impl Into<Bytes>) -> String {
        let blob = blob.into();
        let digest = digest(&blob);
        self.blobs
            .insert((repository.to_owned(), digest.clone()), blob);
        digest
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{digits}")
}

pub(crate) fn plain(status: u16) -> http::response::Builder {
    Response::builder().status(StatusCode::from_u16(status).expect("a status"))
}

pub(crate) fn said(status: u16, text: impl Into<String>) -> Answer {
    plain(status)
        .body(Full::new(Bytes::from(text.into())))
        .expect("an answer")
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    fault: Arc<Fault>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = request.into_parts();
    let authorization = head
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let seen = Seen {
        method: head.method.clone(),
        path: head
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        authorization: authorization.map(str::to_owned),
    };
    let kind = head
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let body = body.collect().await?.to_bytes();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.seen.push(seen.clone());
    if let Some(answer) = fault(&seen, &mut state) {
        return Ok(answer);
    }
    Ok(registry(&seen, kind.unwrap_or_default(), body, &mut state))
}

/// What a registry does.
fn registry(seen: &Seen, kind: &str, body: Bytes, state: &mut State) -> Answer {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let parameter = |name: &str| {
        let pairs: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        pairs.get(name).cloned()
    };
    let Some(path) = path.strip_prefix("/v2/") else {
        return said(404, "");
    };
    let found = |found: Option<Bytes>| {
        found.map_or_else(
            || said(404, ""),
            |bytes| plain(200).body(Full::new(bytes)).expect("an answer"),
        )
    };
    if let Some((name, _)) = path.split_once("/blobs/uploads/") {
        if seen.method == Method::POST {
            let mounted = parameter("mount").zip(parameter("from"));
            let known = mounted.and_then(|(digest, from)| {
                Some((digest.clone(), state.blobs.get(&(from, digest))?.clone()))
            });
            if let Some((digest, blob)) = known {
                state.blobs.insert((name.to_owned(), digest), blob);
                return said(201, "");
            }
            state.uploads += 1;
            let place = format!("/v2/{name}/blobs/uploads/{}?state=x", state.uploads);
            return plain(202)
                .header("location", place)
                .body(Full::default())
                .expect("an answer");
        }
        let wanted = parameter("digest").unwrap_or_default();
        if digest(&body) != wanted {
            return said(
                400,
                r#"{"errors": [{"code": "DIGEST_INVALID", "message": "another digest"}]}"#,
            );
        }
        state.blobs.insert((name.to_owned(), wanted), body);
        return said(201, "");
    }
    if let Some((name, wanted)) = path.split_once("/blobs/") {
        return found(
            state
                .blobs
                .get(&(name.to_owned(), wanted.to_owned()))
                .cloned(),
        );
    }
    if let Some((name, version)) = path.split_once("/manifests/") {
        if seen.method == Method::PUT {
            let own = digest(&body);
            for version in [version, &own] {
                state.manifests.insert(
                    (name.to_owned(), version.to_owned()),
                    (kind.to_owned(), body.clone()),
                );
            }
            return plain(201)
                .header("docker-content-digest", own)
                .body(Full::default())
                .expect("an answer");
        }
        let manifest = state.manifests.get(&(name.to_owned(), version.to_owned()));
        return found(manifest.map(|(_, bytes)| bytes.clone()));
    }
    said(404, "")
}
