//! How a container has ended, in words. Pure.

use fermata_crds::names;

use crate::{observed::pod::Crash, reasons};

/// How many characters of a container's last line are told.
const LONGEST_LINE: usize = 512;

/// The exit code of a program that could not reach a registry or a repository (EX_TEMPFAIL of sysexits.h).
pub(crate) const TRY_AGAIN: i32 = 75;

/// The exit code of a program that found no room on a disk (EX_IOERR).
pub(crate) const NO_ROOM: i32 = 74;

/// Where a Function says how much memory its build may use.
const RESOURCES: &str = "source.build.resources";

/// The last thing that a container has said.
fn last_line(crash: &Crash) -> Option<String> {
    // The pod asks for the end of its log as termination message; its last line is the one that
    // matters.
    let said = crash.message.as_deref().unwrap_or_default();
    let line = said.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(LONGEST_LINE).collect())
}

/// The last thing that a container has said, or how it ended.
pub(super) fn last_words(crash: &Crash) -> String {
    let line = last_line(crash);
    let line = line.map(|line| line.trim_start_matches("fermata: ").to_owned());
    line.unwrap_or_else(|| sentence(crash))
}

/// How a container ended, in a sentence.
pub(super) fn sentence(crash: &Crash) -> String {
    let who = if crash.container == names::CONTAINER {
        "the function".to_owned()
    } else {
        format!("the container {}", crash.container)
    };
    let why = crash
        .reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    let mut message = format!("{who} ends with exit code {}{why}", crash.exit_code);
    if let Some(line) = last_line(crash) {
        message.push_str("; its last words: ");
        message.push_str(&line);
    }
    message
}

/// Why an installation ended as it did. What it has said last is the tool's own telling line.
pub(super) fn build_failure(crash: &Crash) -> (&'static str, String) {
    let last = last_line(crash).unwrap_or_else(|| sentence(crash));
    let passing = match crash.exit_code {
        TRY_AGAIN => Some(reasons::REGISTRY_UNREACHABLE),
        NO_ROOM => Some(reasons::DISK_FULL),
        _ => None,
    };
    if let Some(reason) = passing {
        return (
            reason,
            format!("the function cannot be built now, and it is tried again: {last}"),
        );
    }
    let killed = crash.reason.as_deref() == Some("OOMKilled");
    // Where the kernel has spared what runs the tool, that has said it already.
    let why = if killed && !last.contains(RESOURCES) {
        format!(
            "it has used more memory than it may (OOMKilled); give it more in {RESOURCES}; its last words: {last}"
        )
    } else {
        last
    };
    (
        reasons::BUILD_FAILED,
        format!("the function cannot be built: {why}"),
    )
}

/// Why a fetch ended as it did. What it has said last tells it.
pub(super) fn fetch_failure(crash: &Crash) -> (&'static str, String) {
    let last = last_line(crash).unwrap_or_else(|| sentence(crash));
    let passing = match crash.exit_code {
        TRY_AGAIN => Some(reasons::REPOSITORY_UNREACHABLE),
        NO_ROOM => Some(reasons::DISK_FULL),
        _ => None,
    };
    if let Some(reason) = passing {
        return (
            reason,
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
    fn a_failure_tells_what_the_tool_said_last() {
        let crash = |exit_code| Crash {
            container: "fermata-build".into(),
            exit_code,
            reason: None,
            message: Some("a\nERROR: No matching distribution found for foo==9\n".into()),
        };
        let (reason, message) = build_failure(&crash(1));
        assert_eq!(reason, reasons::BUILD_FAILED);
        assert!(
            message.ends_with("ERROR: No matching distribution found for foo==9"),
            "{message}"
        );
        let killed = Crash {
            reason: Some("OOMKilled".into()),
            ..crash(137)
        };
        let (reason, message) = build_failure(&killed);
        assert_eq!(reason, reasons::BUILD_FAILED);
        assert!(
            message.contains("give it more in source.build.resources; its last words: ERROR: No"),
            "{message}"
        );
        let told = "fermata: pip, or what it had started, was killed; give the build more in source.build.resources";
        let spared = Crash {
            message: Some(told.into()),
            ..killed
        };
        let (_, message) = build_failure(&spared);
        assert_eq!(message, format!("the function cannot be built: {told}"));
        assert_eq!(build_failure(&crash(75)).0, reasons::REGISTRY_UNREACHABLE);
        assert_eq!(build_failure(&crash(74)).0, reasons::DISK_FULL);
    }

    #[test]
    fn a_repository_that_is_away_is_no_mistake_of_the_function() {
        let crash = |exit_code| Crash {
            container: "fermata-fetch".into(),
            exit_code,
            reason: None,
            message: Some("a\nfermata: fatal: no\n".into()),
        };
        assert_eq!(fetch_failure(&crash(75)).0, reasons::REPOSITORY_UNREACHABLE);
        assert_eq!(fetch_failure(&crash(74)).0, reasons::DISK_FULL);
        let (reason, message) = fetch_failure(&crash(66));
        assert_eq!(reason, reasons::FETCH_FAILED);
        assert!(message.ends_with("fermata: fatal: no"), "{message}");
    }
}
