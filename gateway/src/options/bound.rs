//! A number, or one that follows from what there is.

use std::{fmt, num::NonZeroUsize, str::FromStr};

/// A bound: `auto`, or a number from 1 on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Bound {
    /// As the machine allows.
    #[default]
    Auto,
    /// This many.
    Of(NonZeroUsize),
}

/// Neither `auto` nor a number from 1 on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("neither auto nor a number from 1 on")]
pub struct NotABound;

// === impl Bound ===

impl Bound {
    /// This many, at least 1.
    #[must_use]
    pub fn of(number: usize) -> Self {
        Self::Of(NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN))
    }

    /// The number that is given, or else the other one.
    #[must_use]
    pub fn or(self, automatic: usize) -> usize {
        match self {
            Self::Auto => automatic,
            Self::Of(number) => number.get(),
        }
    }
}

impl FromStr for Bound {
    type Err = NotABound;

    fn from_str(text: &str) -> Result<Self, NotABound> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Of).map_err(|_| NotABound)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Of(number) => number.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_reads_as_it_is_written() {
        for text in ["auto", "1", "65536"] {
            assert_eq!(text.parse::<Bound>().unwrap().to_string(), text);
        }
        for bad in ["", "0", "-1", "AUTO", "1k"] {
            assert_eq!(bad.parse::<Bound>(), Err(NotABound), "{bad}");
        }
        assert_eq!(Bound::Auto.or(7), 7);
        assert_eq!(Bound::of(3).or(7), 3);
    }
}
