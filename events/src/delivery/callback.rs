//! Tells somebody what became of a call: a POST of the answer, as OpenFaaS has it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use fermata_crds::{conditions::shortened, names::REASON_HEADER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};
use tokio_util::task::AbortOnDropHandle;

use super::{attempt::chain, decide::pause};
use crate::{
    allow::{AllowedHost, Target},
    id::Id,
    invocation::{Answer, Invocation, later},
};

/// How long a callback may take, from the look-up of the host to the head of the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is tried: for about a quarter of an hour.
const ATTEMPTS: u32 = 10;

/// The pauses between attempts: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The longest message that is kept of a failure, in characters.
const MOST_TOLD: usize = 200;

/// What was answered about the connection, or is the gateway's own: it is not for who is called back.
const NOT_TOLD: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// It was taken.
    Delivered,
    /// It may be taken later; why not now.
    Later(String),
    /// No attempt will be taken, and why.
    Never(String),
}

/// Makes callbacks.
#[derive(Clone)]
pub(super) struct Teller {
    allowed: Arc<[AllowedHost]>,
    tls: Option<TlsConnector>,
}

/// A connection, with TLS or without.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

// === impl Teller ===

impl Teller {
    /// Calls these hosts back, and trusts the authorities that this system trusts.
    pub(super) fn new(allowed: &[AllowedHost]) -> Self {
        // They are looked for where they are needed: there are images without any.
        let tls = (!allowed.is_empty()).then(connector).flatten();
        Self {
            allowed: allowed.into(),
            tls,
        }
    }

    /// Makes one attempt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks the attempt off; whether it was taken is not known then.
    pub(super) async fn tell(
        &self,
        id: Id,
        invocation: &Invocation,
        answer: Option<Answer>,
    ) -> Told {
        let url = invocation.callback.as_ref().map(|callback| &*callback.url);
        let target = match Target::read(url.unwrap_or_default(), &self.allowed) {
            Ok(target) => target,
            Err(refused) => return Told::Never(refused.to_string()),
        };
        let Some(request) = request(&target, id, invocation, answer) else {
            return Told::Never("it cannot be sent".to_owned());
        };
        let told = time::timeout(PATIENCE, self.send(&target, request)).await;
        told.unwrap_or_else(|_| Told::Later(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    async fn send(&self, target: &Target, request: Request<Full<Bytes>>) -> Told {
        let stream = match self.connect(target).await {
            Ok(stream) => stream,
            Err(told) => return told,
        };
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // It ends with the answer, or when nobody waits for that any more: nothing behind its head is read.
            let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
            let answered = sender.send_request(request).await;
            answered.map(|response| response.status())
        };
        match exchange.await {
            Ok(status) => meaning(status),
            Err(error) => Told::Later(format!("it broke off: {}", chain(&error))),
        }
    }

    /// A connection to an address that the host resolves to and that it may have: this one, and not what it resolves to
    /// when it is asked again.
    async fn connect(&self, target: &Target) -> Result<Box<dyn Connection>, Told> {
        let found = lookup_host((&*target.host, target.port)).await;
        let found = found
            .map_err(|error| Told::Later(format!("{} is not to be found: {error}", target.host)))?;
        let addresses = allowed_of(target, found, &self.allowed)?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.wrap(target, stream).await,
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(String::new, |error| error.to_string());
        Err(Told::Later(format!(
            "{} takes no connection: {why}",
            target.authority
        )))
    }

    async fn wrap(&self, target: &Target, stream: TcpStream) -> Result<Box<dyn Connection>, Told> {
        if !target.tls {
            return Ok(Box::new(stream));
        }
        let none = || {
            Told::Never(
                "this system trusts no authorities, so that nobody is called back by https"
                    .to_owned(),
            )
        };
        let connector = self.tls.as_ref().ok_or_else(none)?;
        let name = ServerName::try_from(target.host.to_string());
        let name = name.map_err(|error| Told::Never(error.to_string()))?;
        let wrapped: io::Result<_> = connector.connect(name, stream).await;
        match wrapped {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Told::Later(format!(
                "{} is not to be trusted: {}",
                target.authority,
                chain(&error)
            ))),
        }
    }
}

/// Those of the addresses that a target may have; why there are none otherwise.
fn allowed_of(
    target: &Target,
    found: impl Iterator<Item = SocketAddr>,
    allowed: &[AllowedHost],
) -> Result<Vec<SocketAddr>, Told> {
    let mut refused = None;
    let addresses: Vec<SocketAddr> = found
        .filter(|address| {
            let may_be = target.may_be_at(address.ip(), allowed);
            if !may_be {
                refused = Some(address.ip());
            }
            may_be
        })
        .collect();
    if !addresses.is_empty() {
        return Ok(addresses);
    }
    Err(match refused {
        Some(ip) => Told::Never(format!(
            "{} is {ip}, which is nobody's but this network's or this machine's; an address is called back if \
             --callback-allow names it",
            target.host
        )),
        None => Told::Later(format!("{} has no address", target.host)),
    })
}

/// Says how the call stands after an attempt of its callback. Pure; `random` is between 0 and 1.
pub(super) fn decide(invocation: &mut Invocation, told: Told, now: Timestamp, random: f64) {
    let Some(callback) = &mut invocation.callback else {
        return;
    };
    callback.attempts = callback.attempts.saturating_add(1);
    let again = matches!(told, Told::Later(_)) && callback.attempts < ATTEMPTS;
    callback.message = match &told {
        Told::Delivered => None,
        Told::Later(why) | Told::Never(why) => Some(shortened(why, MOST_TOLD).into_owned()),
    };
    if again {
        let pause = pause(PAUSES, callback.attempts, random);
        invocation.next_attempt_at = Some(later(now, pause));
    } else {
        callback.delivered = Some(told == Told::Delivered);
        invocation.go_on(now);
    }
}

fn meaning(status: StatusCode) -> Told {
    match status.as_u16() {
        200..=299 => Told::Delivered,
        408 | 425 | 429 | 500.. => Told::Later(format!("it has answered {status}")),
        300..=399 => Told::Never(format!(
            "it has answered {status}; redirects are not followed, name the last URL"
        )),
        _ => Told::Never(format!("it has answered {status}")),
    }
}

fn request(
    target: &Target,
    id: Id,
    invocation: &Invocation,
    answer: Option<Answer>,
) -> Option<Request<Full<Bytes>>> {
    let mut headers = HeaderMap::new();
    let (mut body, mut status) = (Bytes::new(), invocation.code);
    if let Some(answer) = answer {
        answer.head.headers.add_to(&mut headers);
        for name in NOT_TOLD {
            headers.remove(name);
        }
        status = Some(answer.head.status);
        if answer.head.cut {
            headers.insert(REASON_HEADER, HeaderValue::from_static("NoResult"));
        }
        body = answer.body;
    }
    let seconds = invocation.ended.as_ref()?.took;
    let own = [
        ("host", target.authority.to_string()),
        ("user-agent", "fermata-events".to_owned()),
        ("x-call-id", id.to_string()),
        (
            "x-function-name",
            format!("{}.{}", invocation.function, invocation.namespace),
        ),
        // Nobody has answered: it was too late.
        ("x-function-status", status.unwrap_or(504).to_string()),
        (
            "x-duration-seconds",
            format!("{}.{:03}", seconds / 1000, seconds % 1000),
        ),
    ];
    for (name, value) in own {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::try_from(value).ok()?,
        );
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&*target.path)
        .body(Full::new(body))
        .ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

fn connector() -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        tracing::warn!("this system trusts no authorities: nobody is called back by https");
        return None;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(tls)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_name_resolves_to_only_what_it_may_be_is_connected_to() {
        let allowed = ["hooks.example.com".parse().unwrap()];
        let target = Target::read("http://hooks.example.com/", &allowed).unwrap();
        let chosen = |found: &[&str]| {
            let found = found
                .iter()
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), 80));
            allowed_of(&target, found, &allowed)
        };
        let global: SocketAddr = "93.184.216.34:80".parse().unwrap();
        assert_eq!(chosen(&["10.0.0.1", "93.184.216.34"]), Ok(vec![global]));
        assert!(matches!(chosen(&["127.0.0.1", "::1"]), Err(Told::Never(_))));
        assert!(matches!(chosen(&[]), Err(Told::Later(_))));
    }
}
