//! What the invoker itself says, among the function's own output in the pod's log.

use std::{error::Error, fmt::Display, io::Write as _};

/// Writes one line to standard error. A log that cannot be written is no reason to stop.
pub(crate) fn line(message: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "fermata: {message}");
}

/// Writes an error with its causes in one line.
pub(crate) fn error(error: &dyn Error) {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    line(message);
}
