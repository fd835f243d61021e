//! The log of a program: lines of JSON or of text on standard output. Writing them holds up nobody.

mod json_events;
mod lines;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fs::File,
    io,
    os::fd::AsFd,
    panic,
};

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::json;
use tracing_subscriber::EnvFilter;

pub use lines::{Line, LineWriter, Lines, Manner};

use self::json_events::JsonEvents;
use crate::watch::QUIET;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// An object each, for programs.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Begins the log of this process: what RUST_LOG says, or from level `info` on. Panics go into it too. It ends
/// when what is returned is dropped.
///
/// # Errors
///
/// When the system grants no thread or no file descriptor.
pub fn start(format: Format) -> io::Result<LineWriter> {
    let manner = Manner {
        thread: "log",
        missing: match format {
            Format::Json => missing_json,
            Format::Text => missing_text,
        },
        // There is nowhere left to say so.
        broken: |_| {},
    };
    let (lines, writer) = Lines::start(unbuffered(&io::stdout())?, manner)?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = match QUIET.parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines);
    // A subscriber that is there already was put there by somebody who wants it.
    let _ = match format {
        Format::Json => log.json().event_format(JsonEvents).try_init(),
        Format::Text => log.with_ansi(has_colours(&io::stdout())).try_init(),
    };
    panic::set_hook(Box::new(log_panic));
    Ok(writer)
}

/// A stream of the process as a file: whoever writes to it holds no lock that others need.
///
/// # Errors
///
/// When the system grants no file descriptor.
pub fn unbuffered(stream: &impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// Whether a stream takes colours: a terminal does, unless `NO_COLOR` says no (<https://no-color.org>).
#[must_use]
pub fn has_colours(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Standard error may be read as a log too, and may be a pipe that is full.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured)
        .then(|| tracing::field::display(backtrace));
    tracing::error!(
        thread = thread.name(),
        location = info.location().map(tracing::field::display),
        backtrace,
        panic = info.payload_as_str(),
        "panicked"
    );
}

fn missing_json(count: u64) -> String {
    let line = json!({
        "timestamp": Timestamp::now(),
        "level": "WARN",
        "fields": { "message": missing(count), "missing": count },
        "target": module_path!(),
    });
    format!("{line}\n")
}

fn missing_text(count: u64) -> String {
    let (now, target) = (Timestamp::now(), module_path!());
    format!("{now}  WARN {target}: {}\n", missing(count))
}

fn missing(count: u64) -> String {
    format!("{count} lines are missing here: they came faster than they could be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_as_a_line_of_the_log() {
        let line: serde_json::Value = serde_json::from_str(&missing_json(3)).unwrap();
        assert_eq!(line["fields"]["missing"], 3);
        assert_eq!(line["level"], "WARN");
        assert!(missing_text(3).ends_with("written\n"));
    }
}
