//! Why the program cannot begin, or does not go on.

#[cfg(feature = "nats")]
pub(crate) mod nats;

use std::{error, io, net::SocketAddr, path::PathBuf, sync::Arc};

#[cfg(feature = "nats")]
pub use nats::NatsError;

/// Why something has failed, for all who have waited for it.
pub(crate) type Cause = Arc<dyn error::Error + Send + Sync>;

/// Why the program cannot begin, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be had.
    #[error("cannot listen on {address} for {purpose}; choose another address with {option}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What for.
        purpose: &'static str,
        /// How another one is chosen.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What was kept cannot be read.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// What was kept in NATS cannot be read.
    #[cfg(feature = "nats")]
    #[error("cannot open the store in the stream {stream} of NATS")]
    OpenStream {
        /// The stream.
        stream: String,
        /// Why.
        source: OpenError,
    },
    /// An address of NATS cannot be taken.
    #[cfg(feature = "nats")]
    #[error("--nats-url is not taken")]
    NatsUrl(#[source] crate::options::NotForNats),
    /// Another process has the store.
    #[error("another process has taken the store over: start this one again, and it stands by")]
    Taken,
    /// The metrics cannot be told.
    #[error("the metrics cannot be told")]
    Metrics(#[source] prometheus::Error),
    /// A part has ended that is to go on.
    #[error("the {0} has ended")]
    TaskEnded(&'static str),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made.
    #[error("the folder cannot be made; check the rights on it and the room on its disk")]
    Folder(#[source] io::Error),
    /// There is no thread for it.
    #[error("the system grants no thread")]
    Thread(#[source] io::Error),
    /// Another process has it open.
    #[error("another process has it open; one store is for one process")]
    InUse,
    /// The file is damaged.
    #[error(
        "it is damaged; restore it from a backup, or remove it and with it the calls that wait"
    )]
    Damaged(#[source] redb::Error),
    /// It cannot be read or written.
    #[error("it cannot be read and written; check the rights on it and the room on its disk")]
    Database(#[source] redb::Error),
    /// It was written by another version.
    #[error(
        "it has format {found}, and this version reads format {known}; use the version that has written it"
    )]
    Format {
        /// What it has.
        found: u64,
        /// What this version reads.
        known: u64,
    },
    /// It is in NATS, and that is the matter.
    #[cfg(feature = "nats")]
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The system has no random numbers.
    #[error("no name can be found for this process")]
    Randomness(#[source] crate::id::NoRandomness),
    /// A row makes no sense.
    #[error("its row {row} cannot be read")]
    Row {
        /// Its key.
        row: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Why the store has not done what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Nothing can be written.
    #[error("the store cannot be written to")]
    Write(#[source] Cause),
    /// Something cannot be read.
    #[error("the store cannot be read")]
    Read(#[source] Cause),
    /// What is there makes no sense.
    #[error("the store holds something that cannot be read")]
    Content(#[source] Arc<serde_json::Error>),
    /// There is no room for it.
    #[cfg_attr(
        not(feature = "nats"),
        allow(dead_code, reason = "a file has none of it")
    )]
    #[error("the store has no room")]
    Full(#[source] Cause),
    /// Another process has it.
    #[cfg_attr(
        not(feature = "nats"),
        allow(dead_code, reason = "a file has none of it")
    )]
    #[error("another process has the store now")]
    Taken,
    /// It stops.
    #[error("the store is closing")]
    Closed,
}
