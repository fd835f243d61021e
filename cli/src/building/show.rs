//! Shows a build to somebody who waits for the function.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fermata_crds::{Function, names};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{self, Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Build, Stage, follow, newest, progress::Progress, stage};
use crate::output::Status;

/// The most lines of a build that are shown; all of them are in its log.
const MOST_LINES: usize = 1000;

/// How wide a line is shown where no terminal says how wide it is.
const WIDTH: usize = 500;

/// How long the last lines of a build that has ended may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How often it is told how far a build is.
const TICK: Duration = Duration::from_secs(1);

/// What prints a sentence about a function.
pub(crate) type Print = fn(&Function, &str);

/// The builds of one function, as they come.
pub(crate) struct Show {
    client: Client,
    print: Print,
    running: Option<Running>,
    /// The Revision whose build has ended, so that its lines are not shown again.
    ended: Option<String>,
}

struct Running {
    revision: String,
    pods: Api<Pod>,
    over: CancellationToken,
    lines: AbortOnDropHandle<Option<Build>>,
    /// Tells how far it is, until this is dropped.
    ticks: AbortOnDropHandle<()>,
}

/// How far a build is, for those who read its lines and those who look at the clock.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<(Progress, Option<Instant>)>>);

// === impl Show ===

impl Show {
    pub(crate) fn new(client: Client, print: Print) -> Self {
        Self {
            client,
            print,
            running: None,
            ended: None,
        }
    }

    /// Takes notice of how the function is now: begins to show a build that has begun, and gives the
    /// last lines of one that has ended, which may take a moment.
    pub(crate) async fn see(&mut self, function: &Function) {
        let status = function.status.as_ref();
        let Some(revision) = status.and_then(|status| status.latest_created_revision.as_ref())
        else {
            return;
        };
        let is_shown = |running: &Running| running.revision == *revision;
        if !self.running.as_ref().is_some_and(is_shown) {
            self.running = None;
        }
        match stage(function) {
            Stage::Nothing => self.running = None,
            Stage::UnderWay if self.running.is_none() => {
                self.running = Some(self.start(function, revision));
            }
            Stage::UnderWay => {}
            Stage::Done => {
                if let Some(running) = self.running.take()
                    && let Some(time) = running.end().await
                {
                    (self.print)(function, &format!("built in {}", time_of(time)));
                }
                self.ended = Some(revision.clone());
            }
            Stage::Failed => {
                let is_new = self.ended.as_ref() != Some(revision);
                let running = self.running.take();
                let running = running.or_else(|| is_new.then(|| self.start(function, revision)));
                if let Some(running) = running {
                    running.end().await;
                }
                self.ended = Some(revision.clone());
            }
        }
    }

    fn start(&self, function: &Function, revision: &str) -> Running {
        let namespace = function.namespace().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        let over = CancellationToken::new();
        let watched = Watched::default();
        let line = lines(self.print, function.clone(), watched.clone());
        let ticks = ticks(self.print, function.clone(), watched);
        let lines = follow(pods.clone(), of_revision(revision), over.clone(), line);
        Running {
            revision: revision.to_owned(),
            pods,
            lines: AbortOnDropHandle::new(tokio::spawn(lines)),
            over,
            ticks: AbortOnDropHandle::new(tokio::spawn(ticks)),
        }
    }
}

// === impl Running ===

impl Running {
    /// Waits for the last lines, though not for long, and tells how long the build took that they are of.
    async fn end(mut self) -> Option<Duration> {
        // The last line of a terminal is free before anything else is printed.
        self.ticks.abort();
        let _ = (&mut self.ticks).await;
        self.over.cancel();
        let shown = time::timeout(LAST_LINES, self.lines).await;
        let shown = shown.ok()?.ok()??;
        let newest = newest(&self.pods, &of_revision(&self.revision)).await;
        let ended = newest.ok()?.filter(|newest| newest.pod == shown.pod)?;
        ended.took
    }
}

fn of_revision(revision: &str) -> String {
    format!("{}={revision}", names::REVISION_LABEL)
}

// === impl Watched ===

impl Watched {
    /// Gives how far it is, and how much time has passed since this was asked first.
    fn with<T>(&self, use_it: impl FnOnce(&mut Progress, Duration) -> T) -> T {
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = *both.1.get_or_insert_with(Instant::now);
        use_it(&mut both.0, begin.elapsed())
    }

    /// Whether a line has come.
    fn has_begun(&self) -> bool {
        let both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        both.1.is_some()
    }
}

/// Tells how far a build is: in the last line of a terminal, else now and then in a line of its own.
async fn ticks(print: Print, function: Function, watched: Watched) {
    let status = Status::about(&function.name_any());
    let mut ticks = time::interval(TICK);
    loop {
        ticks.tick().await;
        if !watched.has_begun() {
            continue;
        }
        match &status {
            Some(status) => {
                let line = watched.with(|progress, at| progress.line(at));
                status.tell(&format!("build: {line}"));
            }
            None => {
                let line = watched.with(Progress::heartbeat);
                if let Some(line) = line {
                    print(&function, &format!("build: {line}"));
                }
            }
        }
    }
}

/// What prints the lines of a build, as many as are shown.
fn lines(print: Print, function: Function, watched: Watched) -> impl FnMut(&str) + Send {
    // Who calls it by its name alone has a shorter beginning of the line than a table of names.
    let taken = (function.name_any().len() + " build: ".len()).max(24);
    let mut shown = 0;
    move |line| {
        shown += 1;
        // A line that is not shown breaks no silence.
        let is_shown = shown <= MOST_LINES + 1;
        watched.with(|progress, at| progress.take(line, is_shown.then_some(at)));
        if shown <= MOST_LINES {
            let width = width().saturating_sub(taken);
            print(&function, &format!("build: {}", shortened(line, width)));
        } else if shown == MOST_LINES + 1 {
            let name = function.name_any();
            print(
                &function,
                &format!("build: (`fermata build logs {name}` shows the rest)"),
            );
        }
    }
}

/// How wide lines are shown.
fn width() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(WIDTH, |(width, _)| usize::from(width.0))
}

/// The line, as what is left of it on a terminal, in as many characters.
fn shortened(line: &str, width: usize) -> String {
    // A bar that grows is written over and over.
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let cut: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// How long something took, in whole seconds, as clusters tell it.
fn time_of(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_a_terminal_shows_of_it() {
        assert_eq!(shortened("Collecting x", 20), "Collecting x");
        assert_eq!(shortened("äöü and more", 5), "äöü …");
        assert_eq!(shortened("10 %\r50 %\r100 %\r", 20), "100 %");
    }

    #[test]
    fn times_are_short() {
        let times = [1, 12, 150].map(|seconds| time_of(Duration::from_secs(seconds)));
        assert_eq!(times, ["1 s", "12 s", "2 min 30 s"]);
    }
}
