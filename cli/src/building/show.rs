//! Shows a build to somebody who waits for the function.

use std::{io, time::Duration};

use fermata_crds::{Function, names};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{self, Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{condition, follow};

/// The most lines of a build that are shown; all of them are in its log.
const MOST_LINES: usize = 1000;

/// How wide a line is shown where no terminal says how wide it is.
const WIDTH: usize = 500;

/// How long the last lines of a build that has ended may take.
const LAST_LINES: Duration = Duration::from_secs(2);

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
    began: Instant,
    over: CancellationToken,
    lines: AbortOnDropHandle<()>,
}

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
        let revision = status.and_then(|status| status.latest_created_revision.as_ref());
        let (Some(built), Some(revision)) = (condition(function), revision) else {
            self.running = None;
            return;
        };
        let is_shown = |running: &Running| running.revision == *revision;
        if !self.running.as_ref().is_some_and(is_shown) {
            self.running = None;
        }
        match built.status.as_str() {
            "True" => {
                if let Some(running) = self.running.take() {
                    let began = running.began;
                    running.end().await;
                    (self.print)(function, &format!("built in {}", time_of(began.elapsed())));
                }
                self.ended = Some(revision.clone());
            }
            "False" => {
                let is_new = self.ended.as_ref() != Some(revision);
                let running = self.running.take();
                let running = running.or_else(|| is_new.then(|| self.start(function, revision)));
                if let Some(running) = running {
                    running.end().await;
                }
                self.ended = Some(revision.clone());
            }
            _ if self.running.is_none() => {
                self.running = Some(self.start(function, revision));
            }
            _ => {}
        }
    }

    fn start(&self, function: &Function, revision: &str) -> Running {
        let namespace = function.namespace().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        let selector = format!("{}={revision}", names::REVISION_LABEL);
        let over = CancellationToken::new();
        let (print, function) = (self.print, function.clone());
        let mut shown = 0;
        let line = move |line: &str| {
            shown += 1;
            match shown {
                ..=MOST_LINES => {
                    // Who calls it by its name has a shorter line.
                    let taken = function.name_any().len() + " build: ".len();
                    let width = width().saturating_sub(taken.max(24));
                    print(&function, &format!("build: {}", shortened(line, width)));
                }
                _ if shown == MOST_LINES + 1 => {
                    let name = function.name_any();
                    print(
                        &function,
                        &format!("build: (`fermata build logs {name}` shows the rest)"),
                    );
                }
                _ => {}
            }
        };
        Running {
            revision: revision.to_owned(),
            began: Instant::now(),
            lines: AbortOnDropHandle::new(tokio::spawn(follow(pods, selector, over.clone(), line))),
            over,
        }
    }
}

// === impl Running ===

impl Running {
    /// Waits for the last lines, though not for long.
    async fn end(self) {
        self.over.cancel();
        let _ = time::timeout(LAST_LINES, self.lines).await;
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

/// How long something took.
fn time_of(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
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
        let times = [1.26, 12.9, 150.0].map(|seconds| time_of(Duration::from_secs_f64(seconds)));
        assert_eq!(times, ["1.3 s", "12 s", "2 min 30 s"]);
    }
}
