//! HTTP, with bounds on how long anything may take.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::connector::Connector;
use crate::{error::Error, proxy::Proxy};

/// For a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// For the head of an answer once everything is sent, and for each piece of a body.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A body that is sent.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Connections to all registries.
pub(super) struct Client {
    pool: Pool<HttpsConnector<Connector>, Body>,
}

// === impl Client ===

impl Client {
    /// Trusts what the system trusts, and this authority, in PEM.
    pub(super) fn new(authority: Option<&[u8]>, proxy: Proxy) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = authority {
            let wrong = || Error::Credentials {
                why: "its ca.crt holds no certificates in PEM".to_owned(),
            };
            let own: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let own = own.map_err(|_| wrong())?;
            let (added, _) = roots.add_parsable_certificates(own);
            if added == 0 {
                return Err(wrong());
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Runtime(io::Error::other(error)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(connector, proxy));
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Self { pool })
    }

    /// Sends a request and waits for the head of the answer. A body may take as long as it moves on: whoever makes
    /// one bounds that.
    pub(super) async fn send(
        &self,
        request: Request<Body>,
        what: &str,
    ) -> Result<Response<Incoming>, Error> {
        let host = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let streams = request.body().size_hint_is_large();
        let answer = self.pool.request(request);
        let answer = if streams {
            // The end of the whole push bounds it.
            answer.await
        } else {
            let silent = |_| Error::Silent {
                host: host.clone(),
                what: what.to_owned(),
            };
            tokio::time::timeout(PATIENCE, answer)
                .await
                .map_err(silent)?
        };
        answer.map_err(|source| Error::Unreachable {
            host,
            what: what.to_owned(),
            source: source.into(),
        })
    }
}

/// Whether a body may take longer to send than an answer to come.
trait Large {
    fn size_hint_is_large(&self) -> bool;
}

impl Large for Body {
    fn size_hint_is_large(&self) -> bool {
        http_body::Body::size_hint(self)
            .exact()
            .is_none_or(|size| size > 1 << 20)
    }
}

/// Reads a whole body that is known to be small.
pub(super) async fn read(
    body: Incoming,
    most: usize,
    host: &str,
    what: &str,
) -> Result<Bytes, Error> {
    let body = http_body_util::Limited::new(body, most).collect();
    let silent = |_| Error::Silent {
        host: host.to_owned(),
        what: what.to_owned(),
    };
    let body = tokio::time::timeout(PATIENCE, body).await.map_err(silent)?;
    let body = body.map_err(|source| {
        if source.is::<http_body_util::LengthLimitError>() {
            Error::Answer {
                host: host.to_owned(),
                what: what.to_owned(),
                said: format!("more than {most} bytes"),
            }
        } else {
            Error::Unreachable {
                host: host.to_owned(),
                what: what.to_owned(),
                source,
            }
        }
    })?;
    Ok(body.to_bytes())
}
