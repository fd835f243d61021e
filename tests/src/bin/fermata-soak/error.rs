//! What ends it before its time.

use std::{error::Error, fmt::Write as _, time::Duration};

/// Why it ended before its time.
#[derive(Debug)]
pub(crate) enum SoakError {
    /// There is no room for a folder.
    Folder(std::io::Error),
    /// Nothing listens for what the functions note.
    Ledger(std::io::Error),
    /// The functions cannot be made.
    SetUp(kube::Error),
    /// A function did not become ready in time.
    NotReady(String, Duration),
    /// The API has not answered for this long; what it said last, if it said anything.
    Gone(Duration, Option<kube::Error>),
    /// The environment names no cluster.
    NoCluster,
}

impl std::fmt::Display for SoakError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(_) => f.write_str("no folder for the platform can be made"),
            Self::Ledger(_) => f.write_str(
                "the ledger cannot listen where the API server does; does it run on this machine?",
            ),
            Self::SetUp(_) => f.write_str("the functions cannot be made"),
            Self::NotReady(name, time) => write!(
                f,
                "the function {name} is not ready after {time:?}; fermata describe {name} says why"
            ),
            Self::Gone(time, _) => write!(
                f,
                "the cluster has gone: its API has not answered for {time:?}"
            ),
            Self::NoCluster => f.write_str(
                "KUBECONFIG and FERMATA_TEST_GATEWAY name no cluster; cargo xtask soak sets one up, and --embedded needs none",
            ),
        }
    }
}

impl Error for SoakError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Folder(error) | Self::Ledger(error) => Some(error),
            Self::SetUp(error) | Self::Gone(_, Some(error)) => Some(error),
            Self::NotReady(..) | Self::Gone(_, None) | Self::NoCluster => None,
        }
    }
}

/// An error with what it came from.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
