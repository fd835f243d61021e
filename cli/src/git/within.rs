//! How hooks reach the server that runs them: by a listener for them alone, and with a secret that nobody else has.
//!
//! The way by the gateway is none for them. Their push has a place already, and would wait for a second one; and a
//! server that stops listens there no more, while pushes that are under way still deploy.

use std::{env, net::SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;

use super::told;
use crate::random;

/// The header with the secret.
const HEADER: &str = "fermata-within";

/// Where a server takes bundles of its hooks.
pub(crate) struct Within {
    /// The beginning of the URLs that are pushed to.
    pub(crate) url: String,
    secret: String,
}

// === impl Within ===

impl Within {
    /// A listener at this address of the machine itself, with a new secret.
    ///
    /// # Errors
    ///
    /// When this machine has no random numbers.
    pub(super) fn at(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            url: format!("http://{address}"),
            secret: random::secret()?,
        })
    }

    /// What a hook was told; `None` in any other process.
    pub(crate) fn of_environment() -> Option<Self> {
        Some(Self {
            url: env::var(told::SERVER).ok()?,
            secret: env::var(told::SECRET).ok()?,
        })
    }

    /// How it is told, in the environment of a process.
    pub(super) fn told(&self) -> [(&'static str, String); 2] {
        [
            (told::SERVER, self.url.clone()),
            (told::SECRET, self.secret.clone()),
        ]
    }

    /// What is sent with a request, `NAME: VALUE`.
    pub(crate) fn header(&self) -> String {
        format!("{HEADER}: {}", self.secret)
    }

    /// Whether a request brings the secret. How long that takes says nothing of it.
    pub(super) fn is_brought(&self, headers: &HeaderMap) -> bool {
        let mut said = headers.get_all(HEADER).iter();
        let (Some(said), None) = (said.next(), said.next()) else {
            return false;
        };
        verify_slices_are_equal(said.as_bytes(), self.secret.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn who_has_the_secret_is_within() {
        let within = Within::at(([127, 0, 0, 1], 9).into()).unwrap();
        assert_eq!(within.url, "http://127.0.0.1:9");
        let headers = |said: &[&str]| {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append(HEADER, HeaderValue::from_str(said).unwrap());
            }
            headers
        };
        let header = within.header();
        let secret = header.strip_prefix("fermata-within: ").unwrap();
        assert_eq!(secret.len(), 64);
        assert!(within.is_brought(&headers(&[secret])));
        let other = Within::at(([127, 0, 0, 1], 9).into()).unwrap();
        for wrong in [
            &[][..],
            &[""],
            &[&secret[1..]],
            &[secret, secret],
            &[&other.secret],
        ] {
            assert!(!within.is_brought(&headers(wrong)), "{wrong:?}");
        }
    }
}
