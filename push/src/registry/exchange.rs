//! One request and its answer: who asks is found out, redirects are followed, and what is against it becomes an
//! error with a sentence.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Deserialize;

use super::{
    Registries, redirect,
    transport::{self, Body},
};
use crate::{error::Error, reference::Repository};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// The most that is read of what a registry says against something.
const MOST_SAID: usize = 16 << 10;

/// The most that is told of it, in characters.
const MOST_TOLD: usize = 200;

/// What is asked of a repository.
pub(super) struct Ask<'a> {
    pub(super) repository: &'a Repository,
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// In words, for errors.
    pub(super) what: &'a str,
    /// What the answer may be.
    pub(super) accepts: &'a [StatusCode],
    /// The rights it takes, as token services have them.
    pub(super) scopes: Vec<String>,
}

/// What is sent.
pub(super) enum Payload {
    /// It can be sent again.
    Bytes(Bytes),
    /// It can be sent once.
    Stream(Body),
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    errors: Vec<SaidOne>,
}

#[derive(Deserialize)]
struct SaidOne {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

// === impl Registries ===

impl Registries {
    /// Asks once. What is a stream has to be asked anew where the registry wants to know who asks.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Response<Incoming>, Error> {
        let Ask {
            repository,
            method,
            mut url,
            headers,
            mut payload,
            what,
            accepts,
            scopes,
        } = ask;
        let host = &repository.host;
        let own = self.url(repository, "");
        let mut identified = false;
        let mut redirects = 0;
        loop {
            let trusted = redirect::same_server(&own, &url);
            let token = self.tokens.of(repository).filter(|_| trusted);
            let request = self.request(
                method.clone(),
                &url,
                token.as_deref(),
                headers.clone(),
                what,
                host,
            )?;
            let (body, again) = match payload {
                Payload::Bytes(bytes) => (whole(bytes.clone()), Some(bytes)),
                Payload::Stream(body) => (body, None),
            };
            let answer = self.client.send(request.map(|()| body), what).await?;
            let status = answer.status();
            if accepts.contains(&status) {
                return Ok(answer);
            }
            if status == StatusCode::UNAUTHORIZED && trusted && !identified {
                identified = true;
                if self.identify(repository, answer.headers(), &scopes).await? {
                    let Some(bytes) = again else {
                        let said = "it wants to know again who asks".to_owned();
                        return Err(Error::Unable {
                            host: host.clone(),
                            what: what.to_owned(),
                            said,
                        });
                    };
                    payload = Payload::Bytes(bytes);
                    continue;
                }
            }
            let leads_on = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            if let (true, Some(bytes), true) = (
                leads_on,
                again,
                method == Method::GET || method == Method::HEAD,
            ) {
                redirects += 1;
                let place = answer
                    .headers()
                    .get(LOCATION)
                    .and_then(|place| place.to_str().ok());
                let place = place.and_then(|place| redirect::follow(&url, place));
                match place {
                    Some(place) if redirects <= REDIRECTS => {
                        url = place.into();
                        payload = Payload::Bytes(bytes);
                        continue;
                    }
                    _ => {
                        let said = "it leads elsewhere, too often or out of TLS".to_owned();
                        return Err(Error::Answer {
                            host: host.clone(),
                            what: what.to_owned(),
                            said,
                        });
                    }
                }
            }
            // What it says matters more than why that cannot be read.
            let said = transport::read(answer.into_body(), MOST_SAID, host, what)
                .await
                .unwrap_or_default();
            return Err(failure(host, what, status, &said));
        }
    }

    /// The head of a request.
    pub(super) fn request(
        &self,
        method: Method,
        url: &str,
        authorization: Option<&str>,
        headers: HeaderMap,
        what: &str,
        host: &str,
    ) -> Result<Request<()>, Error> {
        let not_understood = |said: &str| Error::Answer {
            host: host.to_owned(),
            what: what.to_owned(),
            said: said.to_owned(),
        };
        let uri: Uri = url
            .parse()
            .map_err(|_| not_understood("the address is none"))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let agent = HeaderValue::from_static(concat!("fermata-push/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        if let Some(authorization) = authorization {
            let mut value: HeaderValue = authorization
                .parse()
                .map_err(|_| not_understood("who asks cannot be written into a header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What an answer means that nobody wants.
pub(super) fn failure(host: &str, what: &str, status: StatusCode, body: &[u8]) -> Error {
    let (host, what) = (host.to_owned(), what.to_owned());
    let said = said(status, body);
    match status.as_u16() {
        401 => Error::Refused {
            host,
            what,
            said,
            way_out: "give the Secret for the registry (builds.pushSecretName of the chart) in the function's namespace a name and a password that may",
        },
        403 => Error::Refused {
            host,
            what,
            said,
            way_out: "give the account of the Secret for the registry the right to pull and push there",
        },
        408 | 429 | 500..=599 => Error::Unable { host, what, said },
        _ => Error::Answer { host, what, said },
    }
}

/// The registry's own sentence, short and in one line.
fn said(status: StatusCode, body: &[u8]) -> String {
    let parsed: Option<Said> = serde_json::from_slice(body).ok();
    let first = parsed.and_then(|said| said.errors.into_iter().next());
    let sentence = first.map(|one| {
        if one.message.is_empty() {
            one.code
        } else {
            one.message
        }
    });
    let sentence = sentence.unwrap_or_default();
    let sentence: String = sentence
        .chars()
        .filter(|character| !character.is_control())
        .take(MOST_TOLD)
        .collect();
    if sentence.is_empty() {
        status.to_string()
    } else {
        format!("{sentence} ({})", status.as_u16())
    }
}
