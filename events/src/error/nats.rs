//! What can go wrong with a store in NATS.

use std::{io, path::PathBuf, sync::Arc};

use async_nats::{
    ConnectError,
    jetstream::{
        context::{CreateStreamError, CreateStreamErrorKind, GetStreamError},
        stream::{ConsumerError, DirectGetError, InfoError, RawMessageError},
    },
};

use super::StoreError;

/// Why a store in NATS cannot be opened, or does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A file with a secret or an authority cannot be used.
    #[error("cannot read {}, which {option} names", path.display())]
    File {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The servers let nobody in who shows this, or the way to them is not safe.
    #[error(
        "the servers of NATS let nobody in who shows what this process shows; check --nats-credentials, --nats-user and \
         its file, or --nats-token-file"
    )]
    NotLetIn(#[source] ConnectError),
    /// There is no way to the servers.
    #[error("the servers of NATS cannot be reached")]
    Connect(#[source] ConnectError),
    /// The connection is broken.
    #[error("there is no connection to NATS now")]
    Disconnected,
    /// No answer has come.
    #[error("NATS has not answered in time")]
    Silent,
    /// The server is too old.
    #[error(
        "the server of NATS is version {0}, and this store needs 2.12 or later: only those write several messages or none"
    )]
    TooOld(String),
    /// The server takes small messages only.
    #[error(
        "the server of NATS takes messages of {has} bytes; set its max_payload to {needs} or more"
    )]
    TooSmall {
        /// What it takes.
        has: usize,
        /// What it has to take.
        needs: usize,
    },
    /// The stream is there, and is another.
    #[error(
        "the stream {stream} is there with {found}, and this store needs {needed}; choose another with --nats-stream, or \
         change it"
    )]
    OtherStream {
        /// Its name.
        stream: String,
        /// What it has.
        found: String,
        /// What it has to have.
        needed: String,
    },
    /// There is no stream, and none can be made.
    #[error(
        "the stream {0} cannot be made; check that JetStream is enabled for this account, with room for it and as many \
         servers as --nats-replicas, and that it may use its API"
    )]
    Create(String, #[source] CreateStreamError),
    /// The stream cannot be looked at.
    #[error("the stream cannot be looked at")]
    Stream(#[source] GetStreamError),
    /// How the stream stands is not told.
    #[error("NATS does not say how the stream stands")]
    Info(#[source] InfoError),
    /// The stream cannot be read.
    #[error("the stream cannot be read")]
    Consumer(#[source] ConsumerError),
    /// The stream cannot be read to its end.
    #[error("the stream cannot be read to its end")]
    Messages(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A message cannot be read.
    #[error("a message cannot be read")]
    Get(#[source] DirectGetError),
    /// A message cannot be read by whoever leads.
    #[error("a message cannot be read by the leader of the stream")]
    GetByLeader(#[source] RawMessageError),
    /// Nothing can be sent.
    #[error("nothing can be sent to NATS")]
    Publish(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server does not take it.
    #[error("NATS refuses it: {description} ({code})")]
    Refused {
        /// Its number.
        code: u64,
        /// Its sentence.
        description: String,
    },
    /// More changes than a server writes all or none of.
    #[error("it is {messages} messages, and NATS writes at most {most} or none")]
    TooMany {
        /// How many there would be.
        messages: usize,
        /// How many there may be.
        most: usize,
    },
    /// What a message says makes no sense.
    #[error("the message {0} of the stream makes no sense")]
    Senseless(u64),
    /// Another process is the one that writes.
    #[error("another process has the store now")]
    Taken,
}

// === impl NatsError ===

impl NatsError {
    /// Whether it may be otherwise after a while.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::File { .. }
            | Self::NotLetIn(_)
            | Self::TooOld(_)
            | Self::TooSmall { .. }
            | Self::OtherStream { .. } => false,
            // Servers that are just coming up say 5xx.
            Self::Create(_, error) => !matches!(
                error.kind(),
                CreateStreamErrorKind::JetStream(cause) if cause.code() < 500
            ),
            _ => true,
        }
    }
}

/// What somebody is told who wanted to read.
pub(crate) fn read(error: NatsError) -> StoreError {
    match error {
        NatsError::Taken => StoreError::Taken,
        error => StoreError::Read(Arc::new(error)),
    }
}

impl From<NatsError> for StoreError {
    fn from(error: NatsError) -> Self {
        match error {
            NatsError::Taken => Self::Taken,
            error => Self::Write(Arc::new(error)),
        }
    }
}
