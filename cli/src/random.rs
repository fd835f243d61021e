//! Secrets that nobody can guess.

use std::fmt::Write as _;

use anyhow::Context as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// In bytes.
const LENGTH: usize = 32;

/// A new secret, in hexadecimal digits.
///
/// # Errors
///
/// When this machine has no random numbers.
pub(crate) fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new()
        .fill(&mut bytes)
        .context("this machine has no random numbers")?;
    let mut secret = String::with_capacity(2 * LENGTH);
    for byte in bytes {
        write!(secret, "{byte:02x}")?;
    }
    Ok(secret)
}
