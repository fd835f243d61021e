//! Output for people and for programs.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

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

/// Prints a line to standard output. A reader that has gone away, as `head` does, ends the program
/// without a complaint.
pub(crate) fn line(text: &str) {
    raw(text.as_bytes());
    raw(b"\n");
}

/// Prints bytes to standard output as they are.
pub(crate) fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line to standard error: progress, which is not the command's result.
#[allow(clippy::print_stderr, reason = "progress is for people")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
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

/// Prints a table with columns as wide as they need to be, as kubectl does.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        line(padded.join("   ").trim_end());
    };
    print(&mut header.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
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
}
