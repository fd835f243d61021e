//! Why the source files of a Revision are not fetched. Pure.

use super::diagnose::{crash_message, last_line};
use crate::{observed::pod::Crash, reasons};

/// The exit code of the program when the repository could not be reached (EX_TEMPFAIL of sysexits.h).
pub(crate) const TRY_AGAIN: i32 = 75;

/// Why a fetch ended as it did. What it has said last tells it.
pub(super) fn failure(crash: &Crash) -> (&'static str, String) {
    let last = last_line(crash).unwrap_or_else(|| crash_message(crash));
    if crash.exit_code == TRY_AGAIN {
        return (
            reasons::REPOSITORY_UNREACHABLE,
            format!("the source files cannot be fetched now, and it is tried again: {last}"),
        );
    }
    (
        reasons::FETCH_FAILED,
        format!("the source files cannot be fetched: {last}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_that_is_away_is_no_mistake_of_the_function() {
        let crash = |exit_code| Crash {
            container: "fermata-fetch".into(),
            exit_code,
            reason: None,
            message: Some("a\nfermata: fatal: no\n".into()),
        };
        assert_eq!(failure(&crash(75)).0, reasons::REPOSITORY_UNREACHABLE);
        let (reason, message) = failure(&crash(66));
        assert_eq!(reason, reasons::FETCH_FAILED);
        assert!(message.ends_with("fermata: fatal: no"), "{message}");
    }
}
