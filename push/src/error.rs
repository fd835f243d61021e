//! Why nothing was pushed. Each sentence names what it is about, and the way out.

use std::{io, path::PathBuf};

/// Why nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A setting is missing or wrong.
    #[error("{name}: {why}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong, and what it should be.
        why: String,
    },
    /// The Secret cannot be used.
    #[error(
        "the Secret for the registry cannot be used: {why}; it is of the type kubernetes.io/dockerconfigjson (kubectl create secret docker-registry)"
    )]
    Credentials {
        /// What is wrong.
        why: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be in an image.
    #[error("{} cannot be in an image: {why}", path.display())]
    Content {
        /// The file, relative to its folder.
        path: PathBuf,
        /// Why, and the way out.
        why: &'static str,
    },
    /// There is too much.
    #[error(
        "the files of {what} are too many or too large: more than {most} {unit}; leave out what is not needed"
    )]
    TooMuch {
        /// The dependencies or the code.
        what: &'static str,
        /// The limit.
        most: u64,
        /// Of what.
        unit: &'static str,
    },
    /// A layer cannot be written.
    #[error("cannot write {}; is there room for it?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The image that everything is made on cannot be used.
    #[error("the Runtime's image {image} cannot be used: {why}")]
    Base {
        /// The image.
        image: String,
        /// Why, and the way out.
        why: String,
    },
    /// The layer that was to be used again is not there.
    #[error(
        "{repository} has the layer {digest} no more, which was to be used again; it has to be built anew"
    )]
    LayerGone {
        /// The repository.
        repository: String,
        /// The layer.
        digest: String,
    },
    /// A registry does not answer.
    #[error("the registry {host} cannot be reached ({what})")]
    Unreachable {
        /// The registry.
        host: String,
        /// What was asked of it.
        what: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A registry does not answer in time.
    #[error("the registry {host} has not answered in time ({what}); it is tried again")]
    Silent {
        /// The registry.
        host: String,
        /// What was asked of it.
        what: String,
    },
    /// A registry is there, but not able to.
    #[error("the registry {host} cannot do it now ({what}: {said}); it is tried again")]
    Unable {
        /// The registry.
        host: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        said: String,
    },
    /// What came is not what was asked for.
    #[error("what the registry {host} sent as {digest} is something else; it is tried again")]
    Corrupt {
        /// The registry.
        host: String,
        /// What was asked for.
        digest: String,
    },
    /// A registry refuses.
    #[error("the registry {host} refuses {what}: {said}; {way_out}")]
    Refused {
        /// The registry.
        host: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        said: String,
        /// What to do.
        way_out: &'static str,
    },
    /// A registry answers in a way that is not known.
    #[error("the registry {host} answers {what} in a way that is not understood: {said}")]
    Answer {
        /// The registry.
        host: String,
        /// What was asked of it.
        what: String,
        /// What it said.
        said: String,
    },
    /// It takes too long.
    #[error(
        "pushing to {repository} took longer than {seconds} s and was ended; it is tried again"
    )]
    Timeout {
        /// The repository.
        repository: String,
        /// The limit.
        seconds: u64,
    },
    /// The result cannot be told.
    #[error("cannot write the result to {}", file.display())]
    Result {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing can be done at all.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}

// === impl Error ===

impl Error {
    /// What the program ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::LayerGone { .. } => 66,
            Self::Refused { .. } | Self::Credentials { .. } => 77,
            // Who runs the registry, or the node, has to mend these; what is pushed is not at fault.
            Self::Answer { .. }
            | Self::Base { .. }
            | Self::Write { .. }
            | Self::Result { .. }
            | Self::Runtime(_) => 77,
            _ if self.is_passing() => 75,
            _ => 65,
        }
    }

    /// Whether another try may go better.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Silent { .. }
                | Self::Unable { .. }
                | Self::Corrupt { .. }
                | Self::Timeout { .. }
        )
    }
}
