//! Whom it is told what became of a call.

use serde::{Deserialize, Serialize};

/// A callback, and how it stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Callback {
    /// Where the answer is sent.
    pub(crate) url: Box<str>,
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
