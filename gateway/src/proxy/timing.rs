//! Where the time of one request went.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

/// The header (<https://www.w3.org/TR/server-timing/>).
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The phases of one request until the head of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// When the request's head was read.
    pub(crate) arrived: Instant,
    /// Waiting for an instance to become free.
    pub(crate) queue: Duration,
    /// Waiting for an instance to start.
    pub(crate) start: Duration,
    /// Connecting to the instance.
    pub(crate) connect: Duration,
    /// From the request's head to the response's.
    pub(crate) function: Duration,
}

// === impl Timing ===

impl Timing {
    /// A request that arrives now.
    #[must_use]
    pub(crate) fn begin() -> Self {
        Self {
            arrived: Instant::now(),
            queue: Duration::ZERO,
            start: Duration::ZERO,
            connect: Duration::ZERO,
            function: Duration::ZERO,
        }
    }

    /// The phases in milliseconds, as the value of `Server-Timing`.
    #[must_use]
    pub(crate) fn header(&self) -> HeaderValue {
        let mut text = String::with_capacity(72);
        let phases = [
            ("queue;dur=", self.queue),
            (", start;dur=", self.start),
            (", connect;dur=", self.connect),
            (", function;dur=", self.function),
        ];
        for (name, duration) in phases {
            text.push_str(name);
            push_millis(&mut text, duration);
        }
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Milliseconds with two decimals. Done by hand, for the machinery of formatting would cost more than
/// all else in the header.
fn push_millis(text: &mut String, duration: Duration) {
    let hundredths = duration.as_micros() / 10;
    if hundredths == 0 {
        text.push('0');
    } else {
        push_number(text, hundredths / 100);
        text.push('.');
        push_number(text, hundredths / 10 % 10);
        push_number(text, hundredths % 10);
    }
}

fn push_number(text: &mut String, number: u128) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn milliseconds_with_two_decimals() {
        let timing = Timing {
            start: Duration::from_micros(12_345),
            function: Duration::from_secs(2),
            ..Timing::begin()
        };
        assert_eq!(
            timing.header(),
            "queue;dur=0, start;dur=12.34, connect;dur=0, function;dur=2000.00"
        );
    }
}
