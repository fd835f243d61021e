//! Durations as manifests and command lines write them.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The longest duration that Go's `time.Duration` holds: 2^63 - 1 nanoseconds, about 292 years.
const LONGEST_NANOS: u128 = i64::MAX as u128;

/// Digits of a fraction that count; a nanosecond of an hour is the thirteenth.
const FRACTION_DIGITS: usize = 18;

/// A duration such as 300ms, 1m30s or 1.5h: Go's notation (`time.ParseDuration`), as `metav1.Duration`
/// has it, without a sign. Any text is either read or refused: parsing neither panics nor wraps.
#[derive(Clone, Copy, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct GoDuration(Duration);

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DurationError {
    /// It has no digits where a number has to be.
    #[error("a duration is a number with a unit, such as 300ms, 30s or 1h30m; a number is missing")]
    NoNumber,
    /// It has no known unit where a unit has to be.
    #[error("a duration needs a unit after each number: ns, us, ms, s, m or h, such as 30s")]
    NoUnit,
    /// It is negative.
    #[error("a duration cannot be negative")]
    Negative,
    /// It is longer than 2^63 - 1 nanoseconds.
    #[error("the duration is too long; the longest is 2562047h, about 292 years")]
    TooLong,
}

// === impl GoDuration ===

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = match text.strip_prefix('+') {
            Some(rest) => rest,
            None if text.starts_with('-') => return Err(DurationError::Negative),
            None => text,
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(DurationError::NoNumber);
        }
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let (part, after) = part(rest)?;
            nanos = nanos.saturating_add(part);
            if nanos > LONGEST_NANOS {
                return Err(DurationError::TooLong);
            }
            rest = after;
        }
        let nanos = u64::try_from(nanos).map_err(|_| DurationError::TooLong)?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// The nanoseconds of the first number and unit, at most one more than fit, and the text after them.
fn part(text: &str) -> Result<(u128, &str), DurationError> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::NoNumber);
    }
    let end = rest
        .find(|character: char| character.is_ascii_digit() || character == '.')
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = unit_nanos(unit).ok_or(DurationError::NoUnit)?;
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u128>().unwrap_or(u128::MAX)
    };
    let nanos = whole
        .saturating_mul(unit)
        .saturating_add(fraction_nanos(fraction, unit));
    Ok((nanos.min(LONGEST_NANOS + 1), rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        // The micro sign, and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// The nanoseconds of a fraction of the unit; what is less than one is cut off, as Go does.
fn fraction_nanos(digits: &str, unit: u128) -> u128 {
    let digits = digits.get(..FRACTION_DIGITS).unwrap_or(digits);
    let (number, scale) = digits.bytes().fold((0, 1), |(number, scale), digit| {
        (number * 10 + u128::from(digit - b'0'), scale * 10)
    });
    number * unit / scale
}

impl fmt::Display for GoDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One number with a unit, which Go reads too. Stored templates are compared by this text.
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for GoDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Result<u128, DurationError> {
        text.parse()
            .map(|duration: GoDuration| duration.0.as_nanos())
    }

    #[test]
    fn what_go_reads_is_read_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("0s", 0),
            ("+5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("7us", 7_000),
            ("7\u{b5}s", 7_000),
            ("7\u{3bc}s", 7_000),
            ("1.1ns", 1),
            ("0.000000000000000000000000001h", 0),
            ("9223372036854775807ns", i64::MAX as u128),
        ] {
            assert_eq!(nanos(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, error) in [
            ("", DurationError::NoNumber),
            ("+", DurationError::NoNumber),
            ("s", DurationError::NoNumber),
            (".s", DurationError::NoNumber),
            ("5", DurationError::NoUnit),
            ("5 s", DurationError::NoUnit),
            ("5d", DurationError::NoUnit),
            ("1h5", DurationError::NoUnit),
            ("1\u{661}s", DurationError::NoUnit),
            ("infh", DurationError::NoNumber),
            ("1e9h", DurationError::NoUnit),
            ("-1s", DurationError::Negative),
            ("99999999999999999999h", DurationError::TooLong),
            ("9223372036854775808ns", DurationError::TooLong),
            ("2562047h2562047h", DurationError::TooLong),
        ] {
            assert_eq!(nanos(text), Err(error), "{text}");
        }
        let digits = "9".repeat(10_000);
        assert_eq!(nanos(&format!("{digits}h")), Err(DurationError::TooLong));
        assert_eq!(
            nanos(&format!("{digits}.{digits}ns")),
            Err(DurationError::TooLong)
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "300s",
            "1.5s",
            "250ms",
            "1ns",
            "7\u{b5}s",
            "9223372036.854775807s",
        ] {
            let duration: GoDuration = text.parse().expect("a duration");
            assert_eq!(duration.to_string(), text);
        }
    }
}

#[cfg(test)]
mod fuzz;
