//! Times as objects carry them.

use jiff::{SignedDuration, Timestamp};

/// Now, to the second, as in `metadata.creationTimestamp`.
pub(crate) fn now() -> String {
    text(Timestamp::now())
}

/// Some seconds from now.
pub(crate) fn after(seconds: i64) -> String {
    let now = Timestamp::now();
    text(
        now.checked_add(SignedDuration::from_secs(seconds))
            .unwrap_or(now),
    )
}

fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
