//! The last line of a terminal, which tells how far things are and gives way to every line that is printed.

use std::{
    collections::BTreeMap,
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Takes the cursor to the beginning of its line, and erases that (ECMA-48, CR and EL).
const ERASE: &str = "\r\u{1b}[K";

/// What it tells, by what that is about.
static TOLD: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// A part of it. Dropping this takes it back.
#[derive(Debug)]
pub(crate) struct Status {
    about: String,
}

/// Something is printed meanwhile: when this is dropped, the line is there again.
pub(super) struct Away(MutexGuard<'static, BTreeMap<String, String>>);

/// Whether it can be shown: standard error is a terminal that moves its cursor.
pub(crate) fn is_possible() -> bool {
    let plain = env::var_os("TERM").is_none_or(|term| term == "dumb");
    !plain && super::DETACHED.get().is_none() && io::stderr().is_terminal()
}

/// Takes it away while something is printed, if it is there.
pub(super) fn away() -> Option<Away> {
    let told = lock();
    (!told.is_empty()).then(|| {
        draw("");
        Away(told)
    })
}

// === impl Status ===

impl Status {
    /// About this, where it can be shown.
    pub(crate) fn about(about: &str) -> Option<Self> {
        is_possible().then(|| Self {
            about: about.to_owned(),
        })
    }

    /// Tells something in place of what was told.
    pub(crate) fn tell(&self, text: &str) {
        let mut told = lock();
        let text = super::clean_line(text);
        told.insert(self.about.clone(), text);
        draw(&joined(&told));
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        let mut told = lock();
        if told.remove(&self.about).is_some() {
            draw(&joined(&told));
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        draw(&joined(&self.0));
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<String, String>> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All of it, as much as a line holds: one that is longer would go on in the next, and stay there.
fn joined(told: &BTreeMap<String, String>) -> String {
    let all: Vec<String> = told
        .iter()
        .map(|(about, text)| format!("{about} {text}"))
        .collect();
    let width = terminal_size::terminal_size_of(io::stderr());
    let width = width.map_or(80, |(width, _)| usize::from(width.0));
    let all = all.join("; ");
    all.chars().take(width.saturating_sub(1)).collect()
}

fn draw(line: &str) {
    let mut to = io::stderr().lock();
    // A terminal that is gone shows nothing.
    let _ = write!(to, "{ERASE}{line}").and_then(|()| to.flush());
}
