//! Identifiers and suffixes that nobody can guess.

use rustls::crypto::aws_lc_rs;

/// Characters of generated names: no vowels and nothing that looks like another, so that no words
/// come about.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Characters that `generateName` is followed by.
const SUFFIX: usize = 5;

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .is_err()
    {
        tracing::error!("the operating system gives no random numbers");
    }
    bytes
}

/// A version 4 UUID (RFC 9562).
pub(crate) fn uid() -> String {
    let mut id: [u8; 16] = bytes();
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    let hex = |range: std::ops::Range<usize>| -> String {
        id[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    format!(
        "{}-{}-{}-{}-{}",
        hex(0..4),
        hex(4..6),
        hex(6..8),
        hex(8..10),
        hex(10..16)
    )
}

/// What follows a `generateName`.
pub(crate) fn suffix() -> String {
    bytes::<SUFFIX>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}
