//! A disk without room: that is nobody's mistake who has written the files, and passes.

use std::{error::Error, io};

/// What programs say, in lower case.
const WORDS: [&str; 2] = ["no space left on device", "disk quota exceeded"];

/// Whether a line of a tool says that there is no room.
pub(crate) fn is_missed_in(line: &str) -> bool {
    let line = line.to_lowercase();
    WORDS.iter().any(|words| line.contains(words))
}

/// Whether an error is for want of room, or one of its causes is.
pub(crate) fn is_missed(error: &(dyn Error + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(error) = link {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(
            kind,
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        ) {
            return true;
        }
        link = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_say_of_a_full_disk_is_understood() {
        for line in [
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "npm error nospc ENOSPC: no space left on device, write",
            "go: writing go.mod cache: write /x: no space left on device",
            "cp: error writing '/x': Disk quota exceeded",
        ] {
            assert!(is_missed_in(line), "{line}");
        }
        assert!(!is_missed_in(
            "ENOSPC: System limit for number of file watchers reached"
        ));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_missed(&full));
        assert!(!is_missed(&io::Error::from(io::ErrorKind::NotFound)));
    }
}
