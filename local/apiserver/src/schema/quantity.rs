//! Amounts of resources, such as `500m` and `1.5Gi`
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).

use std::fmt;

/// An amount in billionths, and the family of suffixes it was written with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Quantity {
    nanos: i128,
    family: Family,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Decimal,
    Binary,
    Exponent,
}

const NANO: i128 = 1_000_000_000;

/// The largest amount that is written with a binary suffix.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;

const DECIMAL: &[(&str, i128)] = &[
    ("E", 1_000_000_000_000_000_000 * NANO),
    ("P", 1_000_000_000_000_000 * NANO),
    ("T", 1_000_000_000_000 * NANO),
    ("G", 1_000_000_000 * NANO),
    ("M", 1_000_000 * NANO),
    ("k", 1_000 * NANO),
    ("", NANO),
    ("m", NANO / 1_000),
    ("u", NANO / 1_000_000),
    ("n", 1),
];

const BINARY: &[(&str, i128)] = &[
    ("Ei", (1 << 60) * NANO),
    ("Pi", (1 << 50) * NANO),
    ("Ti", (1 << 40) * NANO),
    ("Gi", (1 << 30) * NANO),
    ("Mi", (1 << 20) * NANO),
    ("Ki", (1 << 10) * NANO),
];

// === impl Quantity ===

impl Quantity {
    pub(crate) const ZERO: Self = Self {
        nanos: 0,
        family: Family::Decimal,
    };

    /// `None` when the text is no quantity.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (scale, family) = scale(suffix)?;
        let negative = number.starts_with('-');
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction)
        {
            return None;
        }
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let nanos = whole
            .checked_mul(scale)?
            .checked_add(part(fraction, scale)?)?;
        let nanos = if negative { -nanos } else { nanos };
        Some(Self::of(nanos, family))
    }

    /// The sum, written in the family of whichever is not zero.
    pub(crate) fn plus(self, other: Self) -> Self {
        let family = if self.nanos == 0 {
            other.family
        } else {
            self.family
        };
        Self::of(self.nanos.saturating_add(other.nanos), family)
    }

    /// An amount, within what its family can have: as in Kubernetes, only the binary one has an end.
    fn of(nanos: i128, family: Family) -> Self {
        let nanos = match family {
            Family::Binary => nanos.clamp(-MAX_BINARY, MAX_BINARY),
            Family::Decimal | Family::Exponent => nanos,
        };
        Self { nanos, family }
    }

    pub(crate) fn exceeds(self, other: Self) -> bool {
        self.nanos > other.nanos
    }
}

impl From<i64> for Quantity {
    fn from(count: i64) -> Self {
        Self {
            nanos: i128::from(count) * NANO,
            family: Family::Decimal,
        }
    }
}

/// The canonical form: no fraction, and the largest suffix that needs none.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let fitting = |scales: &'static [(&'static str, i128)]| {
            scales.iter().find(|(_, scale)| self.nanos % scale == 0)
        };
        let exponents = |scale: i128| {
            let mut exponent = -9_i32;
            let mut rest = scale;
            while rest >= 10 {
                rest /= 10;
                exponent += 1;
            }
            exponent
        };
        // Binary suffixes are for whole numbers of at least 1024; others are written in decimal.
        let binary = (self.family == Family::Binary)
            .then(|| fitting(BINARY))
            .flatten();
        if self.family == Family::Binary && binary.is_none() && self.nanos % NANO == 0 {
            return write!(f, "{}", self.nanos / NANO);
        }
        let Some((suffix, scale)) = binary.or_else(|| fitting(DECIMAL)) else {
            return Ok(());
        };
        let count = self.nanos / scale;
        match (self.family, exponents(*scale)) {
            (Family::Exponent, exponent) if exponent != 0 => write!(f, "{count}e{exponent}"),
            _ => write!(f, "{count}{suffix}"),
        }
    }
}

/// The billionths of a fraction. Finer than that is rounded away from zero.
fn part(digits: &str, scale: i128) -> Option<i128> {
    let (mut part, mut finer) = (0_i128, false);
    for digit in digits.bytes().rev() {
        let tenths = scale
            .checked_mul(i128::from(digit - b'0'))?
            .checked_add(part)?;
        finer |= tenths % 10 != 0;
        part = tenths / 10;
    }
    part.checked_add(i128::from(finer))
}

fn scale(suffix: &str) -> Option<(i128, Family)> {
    let find = |scales: &[(&str, i128)]| {
        scales
            .iter()
            .find(|(name, _)| *name == suffix)
            .map(|(_, scale)| *scale)
    };
    if let Some(scale) = find(DECIMAL) {
        return Some((scale, Family::Decimal));
    }
    if let Some(scale) = find(BINARY) {
        return Some((scale, Family::Binary));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    if !(-9..=18).contains(&exponent) {
        return None;
    }
    let power = u32::try_from(exponent + 9).ok()?;
    Some((10_i128.pow(power), Family::Exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_canonical_form() {
        for (text, canonical) in [
            ("1", "1"),
            ("0", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1000Ki", "1000Ki"),
            ("100Mi", "100Mi"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("12e6", "12e6"),
            ("+.5", "500m"),
            ("-1", "-1"),
            // More than 64 bits hold, and finer than is counted.
            (
                "58326298918060388515839999840988n",
                "58326298918060388515839999840988n",
            ),
            ("00000000000000000000000000001", "1"),
            ("10000000000000000000000", "10000E"),
            ("0.00000000000000000000000001", "1n"),
            ("1.9999999999999999999999999", "2"),
            ("100Ei", "9223372036854775807"),
        ] {
            let parsed = Quantity::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "a", "1x", "1.2.3", "Gi", "--1", "1 Gi", "1e99"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sums_and_comparisons_do_not_mind_the_suffix() {
        let half = Quantity::parse("500m").expect("quantity");
        assert_eq!(half.plus(half), Quantity::parse("1").expect("quantity"));
        assert!(
            Quantity::parse("1Gi")
                .expect("a")
                .exceeds(Quantity::parse("1G").expect("b"))
        );
    }
}

#[cfg(test)]
mod fuzz;
