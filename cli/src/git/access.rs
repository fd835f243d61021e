//! Who may push and clone.

mod token;
mod user;

use http::HeaderMap;

pub(super) use self::{
    token::{Tokens, token},
    user::{User, belongs_to_user},
};
use super::{
    credentials::Credentials,
    request::{self, Asked, Refusal},
};

/// By what it is known who asks.
pub(super) enum Access {
    /// By the connection: the user of `fermata up`.
    User(User),
    /// By a token of the cluster.
    Token(Tokens),
}

// === impl Access ===

impl Access {
    /// Looks at what comes before the question. `is_own` says whether this user's processes sent the request.
    ///
    /// # Errors
    ///
    /// When nothing is answered to whoever asks so.
    pub(super) async fn admit(&self, headers: &HeaderMap, is_own: bool) -> Result<(), Refusal> {
        request::check_no_page(headers)?;
        match self {
            Self::User(user) => user.admit(headers, is_own).await,
            Self::Token(tokens) => tokens.admit(headers),
        }
    }

    /// With what the function is read, and deployed.
    ///
    /// # Errors
    ///
    /// When whoever asks may not do that.
    pub(super) async fn grant(
        &self,
        asked: &Asked,
        headers: &HeaderMap,
    ) -> Result<Credentials, Refusal> {
        match self {
            Self::User(user) => user.grant(asked),
            Self::Token(tokens) => tokens.grant(asked, headers).await,
        }
    }

    /// With what functions are deployed when nobody asks; `None` where everything is done for the one who asks.
    pub(super) fn own(&self) -> Option<Credentials> {
        match self {
            Self::User(user) => Some(Credentials::Kubeconfig(user.kubeconfig.clone())),
            Self::Token(_) => None,
        }
    }

    /// Whether many share the repositories, who are to be kept from each other.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Token(_))
    }
}
