//! Output for people and for programs.

mod status;

use std::{
    borrow::Cow,
    io::{self, Write as _},
    sync::OnceLock,
};

use anyhow::Context as _;
use clap::ValueEnum;
use fermata_crds::Function;
use fermata_daemon::log::{self, LineWriter, Lines, Manner};
use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

pub(crate) use self::status::Status;

/// How objects are printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kind and name, one a line.
    Name,
}

/// How the objects that a command has worked on are printed, for programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Structure {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kind and name, one a line.
    Name,
}

/// Both streams, once lines are written by threads of their own.
static DETACHED: OnceLock<Detached> = OnceLock::new();

struct Detached {
    out: Lines,
    err: Lines,
}

/// Has what is printed from now on written by threads of their own: who prints waits for no terminal that
/// stands still, and for no pipe that is full. What finds no room is missing, and a line says so. Holds until
/// what is returned is dropped, which waits for a moment until everything is written.
pub(crate) fn detach() -> anyhow::Result<[LineWriter; 2]> {
    let start = |thread, stream, broken| {
        let manner = Manner {
            thread,
            missing: |count| format!("({count} more lines came too fast to be shown)\n"),
            broken,
        };
        Lines::start(stream, manner)
    };
    let begin = || {
        let gone: fn(&io::Error) = |_| std::process::exit(0);
        let (out, out_writer) = start("stdout", log::unbuffered(&io::stdout())?, gone)?;
        let (err, err_writer) = start("stderr", log::unbuffered(&io::stderr())?, |_| {})?;
        let _ = DETACHED.set(Detached { out, err });
        io::Result::Ok([out_writer, err_writer])
    };
    begin().context("cannot begin to print")
}

/// Where log lines go: to standard error.
pub(crate) fn log_writer() -> BoxMakeWriter {
    match DETACHED.get() {
        Some(detached) => BoxMakeWriter::new(detached.err.clone()),
        None => BoxMakeWriter::new(io::stderr),
    }
}

/// Prints a line to standard output. A reader that has gone away, as `head` does, ends the program
/// without a complaint.
pub(crate) fn line(text: &str) {
    let line = format!("{text}\n");
    match DETACHED.get() {
        // What comes after the end is lost: it is nobody's last word, and nobody may wait for it.
        Some(detached) => {
            let _ = detached.out.push(line.as_bytes());
        }
        None => raw(line.as_bytes()),
    }
}

/// Prints bytes to standard output as they are.
pub(crate) fn raw(bytes: &[u8]) {
    let _away = status::away();
    let mut out = io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line to standard error: progress, which is not the command's result.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn note(text: &str) {
    let text = clean(text);
    let _away = status::away();
    let detached = DETACHED.get();
    if !detached.is_some_and(|detached| detached.err.push(format!("{text}\n").as_bytes())) {
        eprintln!("{text}");
    }
}

/// The text without what a terminal would obey: control characters, but for the ends of lines. Messages
/// of functions come to people in many ways, and are whatever a function writes.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let obeyed = |character: char| character.is_control() && character != '\n';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = |character: char| match character {
        '\t' => ' ',
        character if obeyed(character) => char::REPLACEMENT_CHARACTER,
        character => character,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// The name of a file in a sentence, on one line: control characters as Rust writes them.
pub(crate) fn name(name: &str) -> Cow<'_, str> {
    if !name.contains(char::is_control) {
        return Cow::Borrowed(name);
    }
    let shown = name.chars().map(|character| {
        if character.is_control() {
            character.escape_default().to_string()
        } else {
            character.to_string()
        }
    });
    Cow::Owned(shown.collect())
}

/// The same in one line.
pub(crate) fn clean_line(text: &str) -> String {
    clean(text).replace('\n', " ")
}

/// Prints something as JSON or YAML.
pub(crate) fn structured(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    let text = if format == Format::Json {
        serde_json::to_string_pretty(value).context("cannot be written as JSON")?
    } else {
        serde_saphyr::to_string(value).context("cannot be written as YAML")?
    };
    line(text.trim_end());
    Ok(())
}

/// Prints functions that a command has worked on.
pub(crate) fn objects(structure: Structure, functions: &[Function]) -> anyhow::Result<()> {
    let format = match structure {
        Structure::Name => {
            for function in functions {
                line(&reference(&function.name_any()));
            }
            return Ok(());
        }
        Structure::Json => Format::Json,
        Structure::Yaml => Format::Yaml,
    };
    match functions {
        [one] => structured(format, one),
        several => structured(format, &list(several)),
    }
}

/// A function as kubectl writes it in commands.
pub(crate) fn reference(name: &str) -> String {
    format!(
        "{}.{}/{name}",
        Function::kind(&()).to_lowercase(),
        fermata_crds::GROUP
    )
}

/// Objects of any kinds as one, as kubectl does.
pub(crate) fn list(items: &(impl Serialize + ?Sized)) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Prints a table with columns as wide as they need to be, as kubectl does.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let widths = widths(header, rows);
    row(
        &header
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>(),
        &widths,
    );
    for cells in rows {
        row(cells, &widths);
    }
}

/// How wide the columns of a table are.
pub(crate) fn widths(header: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    (0..header.len()).map(width).collect()
}

/// Prints one row of a table.
pub(crate) fn row(cells: &[String], widths: &[usize]) {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{:<width$}", clean_line(cell)))
        .collect();
    line(padded.join("   ").trim_end());
}

/// How long ago something was, as kubectl writes it: 5s, 3m, 2h, 4d.
pub(crate) fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let Some(since) = since else {
        return "<unknown>".to_owned();
    };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let at = |seconds: i64| {
            age(
                Some(Timestamp::UNIX_EPOCH),
                Timestamp::from_second(seconds).unwrap(),
            )
        };
        assert_eq!(
            [at(5), at(300), at(10_000), at(400_000)],
            ["5s", "5m", "2h", "4d"]
        );
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "<unknown>");
    }

    #[test]
    fn a_terminal_is_given_nothing_to_obey() {
        assert_eq!(clean("plain ä\nline"), "plain ä\nline");
        assert_eq!(
            clean("a\u{1b}[31mb\u{9b}c\r"),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}"
        );
        assert_eq!(clean_line("a\n\tb"), "a  b");
        assert_eq!(name("a\u{1b}[31m\nb ä"), "a\\u{1b}[31m\\nb ä");
    }
}
