//! Lines that a thread of its own writes, so that nobody waits for a pipe that is full or a terminal that
//! stands still.

use std::{
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// What may wait to be written, in bytes. As much again may be in the thread's hands: 1 MiB in all.
const WAITING: usize = 512 * 1024;

/// How much of a buffer is kept for the next lines when its own are written.
const KEPT: usize = 16 * 1024;

/// How long the end of a process waits for its lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The pause before a writer that would block, and does not wait itself, is asked again.
const PAUSE: Duration = Duration::from_millis(5);

/// Takes lines without ever waiting for them to be written. Clones take them for the same writer.
///
/// What finds no room is dropped and counted. Once writing goes on a line says, in the place of those that
/// are missing, how many they are.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Shared>);

/// Owns the thread that writes. When this is dropped, what waits is written for up to two seconds; lines that
/// come later are refused.
#[derive(Debug)]
#[must_use = "nothing is written any more when this is dropped"]
pub struct LineWriter(Arc<Shared>);

/// What a writer of lines does besides writing.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The name of its thread.
    pub thread: &'static str,
    /// The line, with its end, that says how many are missing.
    pub missing: fn(u64) -> String,
    /// What happens when nothing can be written any more; the lines are lost.
    pub broken: fn(&io::Error),
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or an end.
    filled: Condvar,
    /// Everything is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// How many lines found no room since the thread took some.
    missing: u64,
    /// Whether the thread waits for lines.
    idle: bool,
    closed: bool,
}

/// One line, or a part of one, on its way.
#[derive(Debug)]
pub struct Line<'a>(&'a Lines);

// === impl Lines ===

impl Lines {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// When the system grants no thread.
    pub fn start(
        out: impl Write + Send + 'static,
        manner: Manner,
    ) -> io::Result<(Self, LineWriter)> {
        let shared = Arc::<Shared>::default();
        let (lines, writer) = (Self(shared.clone()), LineWriter(shared.clone()));
        thread::Builder::new()
            .name(manner.thread.to_owned())
            .spawn(move || shared.write(out, manner))?;
        Ok((lines, writer))
    }

    /// Takes whole lines, ends included. Says whether somebody still writes: if not, they are the caller's.
    #[must_use]
    pub fn push(&self, lines: &[u8]) -> bool {
        let mut state = self.0.lock();
        if state.closed {
            return false;
        }
        // After the first that is missing all are, until that has its place among those that are written.
        if state.missing > 0 || state.waiting.len() + lines.len() > WAITING {
            state.missing = state.missing.saturating_add(1);
        } else {
            state.waiting.extend_from_slice(lines);
        }
        if std::mem::take(&mut state.idle) {
            self.0.filled.notify_one();
        }
        true
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Who still logs after the end of the log does so in vain.
        let _ = self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl LineWriter ===

impl Drop for LineWriter {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.filled.notify_one();
        let unwritten = |state: &mut State| !state.idle;
        let waited = self
            .0
            .emptied
            .wait_timeout_while(state, LAST_WORDS, unwritten);
        drop(waited);
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what there is until the end.
    fn write(&self, mut out: impl Write, manner: Manner) {
        let mut lines = Vec::new();
        while self.take(&mut lines, manner.missing) {
            if let Err(error) = write_whole(&mut out, &lines) {
                (manner.broken)(&error);
            }
            lines.clear();
            lines.shrink_to(KEPT);
        }
    }

    /// Waits for lines; false if there will be none.
    fn take(&self, lines: &mut Vec<u8>, missing: fn(u64) -> String) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() && state.missing == 0 {
            state.idle = true;
            if state.closed {
                self.emptied.notify_all();
                return false;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        std::mem::swap(lines, &mut state.waiting);
        let count = std::mem::take(&mut state.missing);
        drop(state);
        if count > 0 {
            lines.extend_from_slice(missing(count).as_bytes());
        }
        true
    }
}

/// Writes all of it, also where the other end made the file one that does not wait.
fn write_whole(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, PipeReader, pipe};

    use super::*;

    /// A writer into a pipe that nobody reads yet.
    fn blocked() -> (Lines, LineWriter, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let manner = Manner {
            thread: "lines",
            missing: |count| format!("missing {count}\n"),
            broken: |_| {},
        };
        let (lines, writer) = Lines::start(writer, manner).unwrap();
        (lines, writer, reader)
    }

    #[test]
    fn a_writer_that_blocks_holds_up_nobody_and_what_is_missing_is_told_in_its_place() {
        const COUNT: u64 = 100_000;
        let (lines, writer, reader) = blocked();
        for number in 0..COUNT {
            assert!(lines.push(format!("line {number:>25}\n").as_bytes()));
        }
        let read = thread::spawn(move || {
            let mut next = 0;
            let mut missing = 0;
            for line in BufReader::new(reader).lines() {
                let line = line.unwrap();
                if let Some(count) = line.strip_prefix("missing ") {
                    missing += count.parse::<u64>().unwrap();
                    next += count.parse::<u64>().unwrap();
                } else {
                    let number = line.strip_prefix("line ").unwrap().trim();
                    assert_eq!(number.parse::<u64>().unwrap(), next);
                    next += 1;
                }
            }
            (next, missing)
        });
        drop(writer);
        drop(lines);
        let (told, missing) = read.join().unwrap();
        assert_eq!(told, COUNT);
        let written = (COUNT - missing) * 31;
        assert!(missing > 0 && written > WAITING as u64, "{missing}");
        assert!(written < 3 * WAITING as u64, "{missing} are missing only");
    }

    #[test]
    fn at_the_end_everything_is_written() {
        let (lines, writer, reader) = blocked();
        for _ in 0..1000 {
            assert!(lines.push(b"a line\n"));
        }
        drop(writer);
        assert!(!lines.push(b"too late\n"), "nobody would write it");
        assert_eq!(BufReader::new(reader).lines().count(), 1000);
    }

    #[test]
    fn the_end_does_not_wait_for_ever_for_a_writer_that_blocks() {
        let (lines, writer, reader) = blocked();
        assert!(lines.push(&vec![b'x'; WAITING]));
        drop(writer);
        drop(reader);
    }
}
