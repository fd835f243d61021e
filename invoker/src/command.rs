//! Handlers that are programs: one process for each request, the request's body on its standard
//! input, the answer's body on its standard output.

mod input;
mod line;
pub(crate) mod output;
mod process;
mod variables;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use http::{HeaderValue, Request, Response, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

pub(crate) use line::LineError;

use self::{
    input::Fault,
    output::{First, Output},
};
use crate::{
    body::Body,
    failure::Failure,
    log,
    process::{Running, how},
    request,
    settings::Settings,
};

/// Processes at once when the function sets no limit.
const DEFAULT_CONCURRENCY: usize = 64;

/// A program that is there and can be run.
pub(crate) struct CommandLine {
    program: PathBuf,
    arguments: Vec<String>,
    places: Arc<Semaphore>,
    max_body: usize,
}

/// Why a handler cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// No handler is given.
    #[error(
        "no handler is given; write the command line into source.handler (FERMATA_HANDLER), such as: tr a-z A-Z"
    )]
    Missing,
    /// The command line cannot be read.
    #[error("the handler {handler:?} is no command line")]
    Line {
        /// What was given.
        handler: String,
        /// What is wrong with it.
        #[source]
        source: LineError,
    },
    /// The program does not exist.
    #[error("there is no program {0:?}, neither on the PATH nor in the source")]
    NotFound(String),
    /// The program may not be run.
    #[error("{0:?} is not executable; call it by its interpreter, such as: sh {0}")]
    NotExecutable(String),
}

// === impl CommandLine ===

impl CommandLine {
    /// Reads the handler and looks for its program.
    pub(crate) fn new(settings: &Settings) -> Result<Self, CommandError> {
        let handler = settings.handler.as_deref().ok_or(CommandError::Missing)?;
        let mut words = line::split(handler).map_err(|source| CommandError::Line {
            handler: handler.to_owned(),
            source,
        })?;
        if words.is_empty() {
            return Err(CommandError::Missing);
        }
        let program = process::find(&words.remove(0))?;
        let places = settings
            .concurrency
            .map_or(DEFAULT_CONCURRENCY, std::num::NonZeroUsize::get);
        Ok(Self {
            program,
            arguments: words,
            places: Arc::new(Semaphore::new(places)),
            max_body: settings.max_body,
        })
    }

    /// Runs the program for a request. Dropping the future, or the response's body, kills it and
    /// all it has started.
    pub(crate) async fn call(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Failure> {
        let (parts, mut body) = request.into_parts();
        let declared = body.size_hint().lower();
        if declared > self.max_body as u64 {
            if !request::waits(&parts) {
                request::drain(&mut body).await;
            }
            return Err(Failure::BodyTooLarge(self.max_body));
        }
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await.ok();
        let variables = variables::of(&parts, body.size_hint().exact(), peer);
        let started = process::start(&self.program, &self.arguments, variables);
        let running = started.map_err(|error| {
            log::line(format_args!("cannot start {:?}: {error}", self.program));
            match error.kind() {
                io::ErrorKind::ArgumentListTooLong => Failure::HeadTooLarge,
                _ => Failure::NotStarted,
            }
        })?;
        let Running {
            group,
            stdin: Some(stdin),
            stdout: Some(stdout),
            status,
            ..
        } = running
        else {
            return Err(Failure::NotStarted);
        };
        let input = input::feed(body, stdin, self.max_body);
        match Output::first(stdout, status, group, input, place).await {
            First::Some(first, output) => Ok(answer(first, output)),
            First::None(status) if status.success() => Ok(Response::new(Body::whole(""))),
            First::None(status) => {
                let how = how(status);
                log::line(format_args!("{:?} {how}", self.program));
                Err(Failure::CommandFailed(how))
            }
            First::Fault(Fault::TooLarge) => Err(Failure::BodyTooLarge(self.max_body)),
            First::Fault(Fault::Stalled) => Err(Failure::BodyStalled),
            First::Fault(Fault::Incomplete) => Err(Failure::BodyIncomplete),
        }
    }
}

/// Text is told by its beginning: what is UTF-8 up to there is sent as text.
fn answer(first: bytes::Bytes, output: Output) -> Response<Body> {
    let is_text = match std::str::from_utf8(&first) {
        Ok(_) => true,
        // A character may be cut at the end of the piece.
        Err(error) => error.error_len().is_none(),
    };
    let kind = if is_text {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    };
    let mut response = Response::new(Body::Command(Box::new(output.begin(first))));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
