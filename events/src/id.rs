//! The names of calls.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

/// Digits of a name, without its hyphens.
const DIGITS: usize = 32;

/// The name of a call: a UUID of version 7 (RFC 9562, section 5.7). Later calls have greater names, and nobody guesses
/// one: 74 bits are random. Whoever knows it may see what has become of the call.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Id([u8; 16]);

/// A text that is no name of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the id of a call is a UUID, such as 019ac4f6-9ce0-7000-8000-000000000000")]
pub(crate) struct NotAnId;

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

// === impl Id ===

impl Id {
    /// A new name.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub(crate) fn new(now: Timestamp) -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        if let Some(time) = bytes.first_chunk_mut::<6>()
            && let Some(low) = millis.to_be_bytes().last_chunk::<6>()
        {
            *time = *low;
        }
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Ok(Self(bytes))
    }

    /// The name of these bytes.
    #[must_use]
    pub(crate) fn of(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// When it was made, in milliseconds.
    #[must_use]
    pub(crate) fn accepted_at(&self) -> Timestamp {
        let millis = self
            .0
            .iter()
            .take(6)
            .fold(0, |millis, byte| (millis << 8) | i64::from(*byte));
        Timestamp::from_millisecond(millis).unwrap_or_default()
    }

    /// Its bytes, which have the order of the names.
    #[must_use]
    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&at) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, character) in text.bytes().enumerate() {
            if [8, 13, 18, 23].contains(&at) {
                if character != b'-' {
                    return Err(NotAnId);
                }
                continue;
            }
            let digit = match character {
                b'0'..=b'9' => character - b'0',
                b'a'..=b'f' => character - b'a' + 10,
                _ => return Err(NotAnId),
            };
            let byte = bytes.get_mut(digits / 2).ok_or(NotAnId)?;
            *byte = (*byte << 4) | digit;
            digits += 1;
        }
        if digits == DIGITS {
            Ok(Self(bytes))
        } else {
            Err(NotAnId)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_uuid_that_reads_back() {
        let now: Timestamp = "2026-11-28T06:00:00Z".parse().unwrap();
        let id = Id::new(now).unwrap();
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'7', "{text}");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(Id::of(id.bytes()), id);
        assert_eq!(id.accepted_at(), now);
    }

    #[test]
    fn later_calls_have_greater_names_and_none_has_anothers() {
        let early = Id::new("2026-11-28T06:00:00Z".parse().unwrap()).unwrap();
        let late = Id::new("2026-11-28T06:00:00.001Z".parse().unwrap()).unwrap();
        assert!(early < late);
        assert_ne!(
            early,
            Id::new("2026-11-28T06:00:00Z".parse().unwrap()).unwrap()
        );
    }

    #[test]
    fn other_texts_are_no_names() {
        for other in [
            "",
            "019ac4f6",
            "019ac4f69ce070008000000000000000",
            "019AC4F6-9CE0-7000-8000-000000000000",
            "019ac4f6-9ce0-7000-8000-00000000000",
            "019ac4f6-9ce0-7000-8000-0000000000000",
            "019ac4f6-9ce0-7000-8000-00000000000g",
            "019ac4f6-9ce0-7000-8000+000000000000",
        ] {
            assert_eq!(other.parse::<Id>(), Err(NotAnId), "{other}");
        }
    }
}
