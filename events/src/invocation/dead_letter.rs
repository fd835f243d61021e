//! What is published of a call that has failed.

use serde::{Deserialize, Serialize};

/// How the publication stands.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Burial {
    /// How often it was tried.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Whether it was published, once it is tried no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) published: Option<bool>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

// === impl Burial ===

impl Burial {
    /// Whether it is tried no more.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.published.is_some()
    }

    /// It is tried no more.
    pub(crate) fn end(&mut self, published: bool, message: Option<&str>) {
        self.published = Some(published);
        self.message = message.map(ToOwned::to_owned);
    }

    /// The word for how it stands.
    #[must_use]
    pub(crate) fn word(&self) -> &'static str {
        match self.published {
            Some(true) => "Published",
            Some(false) => "GivenUp",
            None => "Waiting",
        }
    }
}
