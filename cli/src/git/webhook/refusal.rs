//! Why a delivery is not taken.

use super::delivery::PATH;

/// The largest body.
pub(super) const MOST_MEBIBYTES: u64 = 25;

/// Why a delivery is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    /// The path is that of no function.
    #[error("deliveries go to {PATH}/NAMESPACE/NAME")]
    NotHere,
    /// It is another method.
    #[error("deliveries are sent by POST")]
    NoPost,
    /// It is not signed, or not with the key; or there is no such function, which nobody is told.
    #[error("this is not signed with the key of a webhook that is here")]
    Unsigned,
    /// The body broke off.
    #[error("the body is not whole")]
    Broken,
    /// The body does not come.
    #[error("the body takes too long")]
    Slow,
    /// The body is too large.
    #[error("a delivery has at most {MOST_MEBIBYTES} MiB")]
    TooLarge,
    /// The API server does not answer.
    #[error("it cannot be told now whether this is signed; deliver it again")]
    Later,
}
