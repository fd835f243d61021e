//! Who asks: nobody, a name with a password, or whoever a token service knows
//! (<https://distribution.github.io/distribution/spec/auth/token/>).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, Method, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use url::Url;

use super::{Registries, transport};
use crate::{error::Error, reference::Repository};

/// The largest answer of a token service.
const MOST: usize = 64 << 10;

/// The value of the header Authorization that a repository took last.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Repository, String>>);

/// What a registry wants.
#[derive(Debug, Eq, PartialEq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn of(&self, repository: &Repository) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(repository).cloned()
    }

    fn keep(&self, repository: &Repository, token: String) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(repository.clone(), token);
    }
}

// === impl Registries ===

impl Registries {
    /// Gets what a registry wants after it answered 401. Says whether there is something new to show.
    pub(super) async fn identify(
        &self,
        repository: &Repository,
        headers: &HeaderMap,
        wanted: &[String],
    ) -> Result<bool, Error> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges
            .filter_map(|value| parse(value.to_str().ok()?))
            .next();
        let basic = self.credentials.of(repository).map(str::to_owned);
        let known = self.tokens.of(repository);
        let value = match challenge {
            None => return Ok(false),
            Some(Challenge::Basic) => basic,
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                let token = self
                    .token(repository, &realm, service, scope, wanted, basic)
                    .await?;
                Some(format!("Bearer {token}"))
            }
        };
        match value {
            Some(value) if known.as_ref() != Some(&value) => {
                self.tokens.keep(repository, value);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Asks the token service that the registry names. The password goes there over TLS alone, but for a registry
    /// that is spoken to without.
    async fn token(
        &self,
        repository: &Repository,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        wanted: &[String],
        basic: Option<String>,
    ) -> Result<String, Error> {
        let host = &repository.host;
        let what = "a token";
        let not_understood = |said: String| Error::Answer {
            host: host.clone(),
            what: what.to_owned(),
            said,
        };
        let url = Url::parse(realm).ok().filter(|url| {
            url.scheme() == "https" || url.scheme() == "http" && self.plain.as_ref() == Some(host)
        });
        let mut url = url.ok_or_else(|| {
            not_understood(format!(
                "its token service {realm:?} has no address with https"
            ))
        })?;
        let mut scopes: Vec<&str> = wanted.iter().map(String::as_str).collect();
        // What it asks for beyond that, as for a repository that is mounted from.
        scopes.extend(
            scope
                .iter()
                .flat_map(|scope| scope.split(' '))
                .filter(|scope| !wanted.iter().any(|own| own == scope)),
        );
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.iter().map(|service| ("service", service)));
            query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        }
        let request = self.request(
            Method::GET,
            url.as_str(),
            basic.as_deref(),
            HeaderMap::new(),
            what,
            host,
        )?;
        let body = http_body_util::Empty::new()
            .map_err(|never| match never {})
            .boxed_unsync();
        let answer = self.client.send(request.map(|()| body), what).await?;
        let (head, body) = answer.into_parts();
        let bytes = transport::read(body, MOST, host, what).await?;
        if head.status != StatusCode::OK {
            return Err(super::exchange::failure(host, what, head.status, &bytes));
        }
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|_| not_understood("its token service sends no token".to_owned()))?;
        let token = if answer.token.is_empty() {
            answer.access_token
        } else {
            answer.token
        };
        if token.is_empty() {
            return Err(not_understood(
                "its token service sends no token".to_owned(),
            ));
        }
        Ok(token)
    }
}

/// Reads a challenge: a scheme, and pairs with quotes.
fn parse(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut pairs = HashMap::new();
    let mut rest = rest.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        pairs.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        rest = after.trim_start_matches([',', ' ']);
    }
    Some(Challenge::Bearer {
        realm: pairs.remove("realm")?,
        service: pairs.remove("service"),
        scope: pairs.remove("scope"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        let bearer = parse(
            "Bearer realm=\"https://auth.example/token\",service=\"r.example\",scope=\"repository:a/b:pull,push\"",
        );
        assert_eq!(
            bearer,
            Some(Challenge::Bearer {
                realm: "https://auth.example/token".into(),
                service: Some("r.example".into()),
                scope: Some("repository:a/b:pull,push".into()),
            })
        );
        for other in ["", "Negotiate", "Bearer", "Bearer realm=\"open"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
