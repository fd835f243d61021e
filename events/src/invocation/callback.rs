//! Whom it is told what became of a call.

use serde::{Deserialize, Serialize};

use super::State;

/// A callback, and how it stands. Until it is made or given up its call is not over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Callback {
    /// Where the answer is sent.
    pub(crate) url: Box<str>,
    /// What became of the call itself; then the callback is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<State>,
    /// How long the function took, in milliseconds.
    #[serde(default)]
    pub(crate) took: u64,
    /// How much room the answer takes, in bytes.
    #[serde(default)]
    pub(crate) answer_bytes: u64,
    /// How often it was tried.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Whether it was made, once it is tried no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<bool>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

// === impl Callback ===

impl Callback {
    /// One that is to be made.
    #[must_use]
    pub(crate) fn to(url: &str) -> Self {
        Self {
            url: url.into(),
            outcome: None,
            took: 0,
            answer_bytes: 0,
            attempts: 0,
            delivered: None,
            message: None,
        }
    }

    /// The same, of which nothing was tried.
    #[must_use]
    pub(crate) fn anew(&self) -> Self {
        Self::to(&self.url)
    }

    /// The word for how it stands.
    #[must_use]
    pub(crate) fn word(&self) -> &'static str {
        match self.delivered {
            Some(true) => "Delivered",
            Some(false) => "GivenUp",
            None => "Waiting",
        }
    }
}
