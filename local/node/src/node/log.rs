//! A container's log: what its process prints, line by line, in the format of the container
//! runtime interface (`<time> stdout|stderr F <text>`), which the API serves.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, BufReader},
    sync::broadcast,
};

/// A line longer than this is cut into several.
const LONGEST_LINE: usize = 16 * 1024;

/// A log larger than this begins anew; the old one is kept beside it until the next time.
const LARGEST_LOG: u64 = 16 * 1024 * 1024;

/// How much of its end is remembered for the termination message, as the kubelet does
/// (<https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>).
const TAIL_LINES: usize = 80;
const TAIL_BYTES: usize = 2048;

/// How many lines wait for who listens too slowly; then he misses some.
const MAX_UNHEARD: usize = 64;

/// One container's log for one of its runs.
#[derive(Clone)]
pub(super) struct Log {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    path: PathBuf,
    file: File,
    size: u64,
    tail: VecDeque<String>,
    /// Those who listen; made for the first of them.
    listeners: Option<broadcast::Sender<Line>>,
}

/// A line that has just been written.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) stream: &'static str,
    /// With its end.
    pub(super) text: Bytes,
}

// === impl Log ===

impl Log {
    /// Opens the log of the given run and removes those older than the run before it.
    pub(super) fn open(dir: &Path, run: i32) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)?.flatten() {
            let name = entry.file_name();
            let older = name
                .to_str()
                .and_then(|name| name.split('.').next()?.parse::<i32>().ok());
            if older.is_some_and(|older| older < run - 1) {
                fs::remove_file(entry.path())?;
            }
        }
        let path = dir.join(format!("{run}.log"));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            inner: Arc::new(Mutex::new(Inner {
                path,
                file,
                size,
                tail: VecDeque::new(),
                listeners: None,
            })),
        })
    }

    /// Copies a stream into the log until it ends.
    pub(super) async fn copy(self, stream: &'static str, from: impl AsyncRead + Unpin) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(read_line(&mut from, &mut line).await, Ok(true)) {
            self.write(stream, &String::from_utf8_lossy(&line));
            line.clear();
        }
    }

    /// Adds one line.
    pub(super) fn write(&self, stream: &'static str, text: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tell(stream, text);
        if let Err(error) = inner.write(stream, text) {
            tracing::warn!(path = %inner.path.display(), error = &error as &dyn std::error::Error, "cannot write a container's log");
        }
    }

    /// The lines that are written from now on, until the log is gone.
    pub(super) fn listen(&self) -> broadcast::Receiver<Line> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = inner
            .listeners
            .get_or_insert_with(|| broadcast::Sender::new(MAX_UNHEARD));
        listeners.subscribe()
    }

    /// The end of the log, for the termination message.
    pub(super) fn tail(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<&str> = Vec::new();
        let mut size = 0;
        for line in inner.tail.iter().rev() {
            size += line.len() + 1;
            if size > TAIL_BYTES && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        lines.reverse();
        lines.join("\n")
    }
}

// === impl Inner ===

impl Inner {
    fn tell(&mut self, stream: &'static str, text: &str) {
        let Some(listeners) = &self.listeners else {
            return;
        };
        let text = Bytes::from(format!("{text}\n"));
        if listeners.send(Line { stream, text }).is_err() {
            // The last one has gone.
            self.listeners = None;
        }
    }

    fn write(&mut self, stream: &str, text: &str) -> io::Result<()> {
        if self.size > LARGEST_LOG {
            fs::rename(&self.path, self.path.with_extension("log.old"))?;
            self.file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&self.path)?;
            self.size = 0;
        }
        let line = format!("{:.9} {stream} F {text}\n", Timestamp::now());
        self.file.write_all(line.as_bytes())?;
        self.size += line.len() as u64;
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text.to_owned());
        Ok(())
    }
}

/// Reads up to the end of a line or [`LONGEST_LINE`]; `false` at the end of the stream.
async fn read_line(from: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let buffered = from.fill_buf().await?;
        if buffered.is_empty() {
            return Ok(!line.is_empty());
        }
        let room = buffered.len().min(LONGEST_LINE - line.len());
        let end = buffered[..room].iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(room);
        line.extend_from_slice(&buffered[..taken]);
        from.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() || line.len() == LONGEST_LINE {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_kept_with_their_stream_and_long_ones_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), 3).unwrap();
        let long = "x".repeat(LONGEST_LINE + 1);
        log.clone()
            .copy("stdout", format!("one\r\n\n{long}\nlast").as_bytes())
            .await;
        let text = fs::read_to_string(dir.path().join("3.log")).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.split_once(" stdout F ").unwrap().1)
            .collect();
        assert_eq!(lines, ["one", "", &long[1..], "x", "last"]);
        assert!(
            text.lines()
                .all(|line| line.split(' ').next().unwrap().parse::<Timestamp>().is_ok())
        );
        assert_eq!(log.tail(), "x\nlast");
    }

    #[test]
    fn only_the_run_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for run in 0..4 {
            Log::open(dir.path(), run).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["2.log", "3.log"]);
    }
}
