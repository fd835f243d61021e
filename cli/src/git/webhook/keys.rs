//! The keys of deliveries: fields of Secrets, read when they are needed and known for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::{sync::Semaphore, time};

use super::refusal::Refusal;

/// The fields in which a key may be.
const FIELDS: [&str; 2] = ["secret", "token"];

/// For how long what was read counts.
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// The most Secrets that are known at once.
const MOST_KNOWN: usize = 1024;

/// The most questions to the API server at once.
const MOST_ASKED: usize = 8;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads keys.
pub(super) struct Keys {
    client: Client,
    known: Mutex<HashMap<Place, Known>>,
    asked: Semaphore,
}

/// Where a key is; without one it is only asked whether the API server answers.
type Place = Option<(Box<str>, String)>;

/// A key; `None` where there is none to be had.
type Key = Option<Arc<[u8]>>;

struct Known {
    key: Key,
    at: Instant,
}

// === impl Keys ===

impl Keys {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
            asked: Semaphore::new(MOST_ASKED),
        }
    }

    /// The key in a Secret, or `None` if there is none, or it may not be read. Where no Secret is given the API
    /// server is asked all the same, so that nobody learns which functions there are from how it goes.
    ///
    /// # Errors
    ///
    /// When the API server does not answer.
    pub(super) async fn of(&self, namespace: &str, secret: Option<String>) -> Result<Key, Refusal> {
        let place = secret.map(|secret| (namespace.into(), secret));
        if let Some(key) = self.known(&place) {
            return Ok(key);
        }
        let ask = async {
            // The semaphore is never closed.
            let _place = self.asked.acquire().await;
            // Somebody else may have asked meanwhile.
            match self.known(&place) {
                Some(key) => Ok(key),
                None => self.ask(&place).await,
            }
        };
        let key = time::timeout(PATIENCE, ask).await;
        let key = key.unwrap_or(Err(Refusal::Later))?;
        self.know(place, key.clone());
        Ok(key)
    }

    async fn ask(&self, place: &Place) -> Result<Key, Refusal> {
        let Some((namespace, name)) = place else {
            let version = self.client.apiserver_version().await;
            return version.map(|_| None).map_err(|_| Refusal::Later);
        };
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        match secrets.get_opt(name).await {
            Ok(Some(secret)) => {
                let key = key(&secret);
                if key.is_none() {
                    tracing::warn!(%namespace, name, "the Secret of a webhook has neither the field secret nor token");
                }
                Ok(key)
            }
            Ok(None) => {
                tracing::warn!(%namespace, name, "the Secret of a webhook is not there");
                Ok(None)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                tracing::warn!(
                    %namespace,
                    name,
                    "the Secret of a webhook may not be read; name it in git.webhooks.namespaces of the chart: {}",
                    status.message
                );
                Ok(None)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%namespace, name, error, "the Secret of a webhook cannot be read");
                Err(Refusal::Later)
            }
        }
    }

    fn known(&self, place: &Place) -> Option<Key> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(place)?;
        (known.at.elapsed() < KNOWN_FOR).then(|| known.key.clone())
    }

    fn know(&self, place: Place, key: Key) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, known| known.at.elapsed() < KNOWN_FOR);
        }
        // Beyond that it is asked each time.
        if known.len() < MOST_KNOWN {
            let at = Instant::now();
            known.insert(place, Known { key, at });
        }
    }
}

/// The key, without the end of the line that many a tool leaves there.
fn key(secret: &Secret) -> Key {
    let data = secret.data.as_ref()?;
    let key = FIELDS.iter().find_map(|field| data.get(*field))?;
    let key = key.0.strip_suffix(b"\n").unwrap_or(&key.0);
    let key = key.strip_suffix(b"\r").unwrap_or(key);
    (!key.is_empty()).then(|| key.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_in_one_of_two_fields_without_the_end_of_its_line() {
        let key = |data: serde_json::Value| {
            let secret = json!({"metadata": {"name": "hook"}, "data": data});
            key(&serde_json::from_value(secret).unwrap())
        };
        // printf '%s' TEXT | base64
        assert_eq!(
            key(json!({"secret": "d29yZA=="})).as_deref(),
            Some(&b"word"[..])
        );
        assert_eq!(
            key(json!({"token": "d29yZAo="})).as_deref(),
            Some(&b"word"[..])
        );
        assert_eq!(
            key(json!({"token": "d29yZA0K"})).as_deref(),
            Some(&b"word"[..])
        );
        let both = json!({"token": "YQ==", "secret": "Yg=="});
        assert_eq!(key(both).as_deref(), Some(&b"b"[..]));
        assert_eq!(key(json!({"secret": "Cg=="})), None);
        assert_eq!(key(json!({"password": "YQ=="})), None);
    }
}
