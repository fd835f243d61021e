//! How many files, connections among them, this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What stands for no limit at all.
pub const UNLIMITED: u64 = u64::MAX;

/// Open files of the process, as getrlimit(2) has them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenFiles {
    /// The limit that the process was started with, which programs that it starts should get.
    pub inherited: u64,
    /// The limit that holds now.
    pub limit: u64,
}

/// Raises the limit of open files as far as the system lets this process, which is to the hard limit.
/// The soft one is low, mostly 1024, only for programs that use select(2).
///
/// To be called once, when the process starts; programs that it starts inherit the new limit.
#[must_use]
pub fn raise() -> OpenFiles {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let inherited = current.unwrap_or(UNLIMITED);
    // Nothing is lost where the system refuses: the bounds follow from what holds.
    let _ = setrlimit(Resource::Nofile, raised);
    OpenFiles {
        inherited,
        limit: limit(),
    }
}

/// The limit of open files that holds now; [`UNLIMITED`] if there is none.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// Sets the limit of open files, for the programs that this process starts from now on. Does nothing
/// where the system refuses.
pub fn lower(to: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if to < current.unwrap_or(UNLIMITED) {
        let lowered = Rlimit {
            current: Some(to),
            maximum,
        };
        let _ = setrlimit(Resource::Nofile, lowered);
    }
}

/// One part in `parts` of a limit, and no more than `most`; at least 8, or nobody could be served.
#[must_use]
pub fn share(limit: u64, parts: u64, most: usize) -> usize {
    let share = usize::try_from(limit / parts.max(1)).unwrap_or(usize::MAX);
    share.min(most).max(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_bounded_on_both_sides() {
        assert_eq!(share(1024, 4, 65_536), 256);
        assert_eq!(share(1_048_576, 4, 65_536), 65_536);
        assert_eq!(share(UNLIMITED, 4, 512), 512);
        assert_eq!(share(4, 4, 512), 8);
    }

    #[test]
    fn the_limit_is_raised_to_what_the_system_allows() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(UNLIMITED);
        let files = raise();
        assert_eq!(files.limit, hard);
        assert!(files.inherited <= files.limit);
        assert_eq!(raise().inherited, files.limit, "it was raised before");
    }
}
