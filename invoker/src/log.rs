//! What the invoker itself says, among the function's own output in the pod's log.

use std::{error::Error, fmt::Display, io::Write as _};

/// Writes one line to standard error. A log that cannot be written is no reason to stop.
pub(crate) fn line(message: impl Display) {
    let _ = writeln!(
        std::io::stderr().lock(),
        "fermata: {}",
        plain(message.to_string())
    );
}

/// The message with control characters as Rust writes them: it may name files, whose names may hold anything.
fn plain(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    let mut plain = String::with_capacity(message.len());
    for character in message.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_make_no_lines_of_their_own() {
        assert_eq!(plain("ä is \"x\"".to_owned()), "ä is \"x\"");
        assert_eq!(plain("a\nb\u{1b}[31m".to_owned()), "a\\nb\\u{1b}[31m");
    }
}
