//! The last line a crashed container wrote.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::LogParams};
use tokio::time::timeout;
use tracing::debug;

use super::diagnose::Crashed;
use crate::key::Key;

const TIMEOUT: Duration = Duration::from_secs(2);
const MOST_LINES: i64 = 5;
const MOST_BYTES: i64 = 4096;
const LONGEST_LINE: usize = 512;

/// Last lines as they were read, one for each Revision, so that a log is read once for each crash.
#[derive(Default)]
pub(crate) struct Logs {
    read: Mutex<HashMap<Key, Line>>,
}

struct Line {
    pod: String,
    restarts: i32,
    text: Option<String>,
}

// === impl Logs ===

impl Logs {
    /// The last line of the crashed container's log; none if it wrote nothing or its log cannot be
    /// read.
    pub(crate) async fn last_line(
        &self,
        revision: &Key,
        crashed: &Crashed<'_>,
        client: &Client,
    ) -> Option<String> {
        let (pod, crash) = (crashed.pod, crashed.crash);
        {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = read.get(revision)
                && line.pod == pod.uid
                && line.restarts == crash.restarts
            {
                return line.text.clone();
            }
        }
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
        let parameters = LogParams {
            container: Some(crash.container.clone()),
            previous: crash.previous,
            tail_lines: Some(MOST_LINES),
            limit_bytes: Some(MOST_BYTES),
            ..LogParams::default()
        };
        let text = match timeout(TIMEOUT, api.logs(&pod.name, &parameters)).await {
            Ok(Ok(text)) => last_line(&text),
            Ok(Err(error)) => {
                debug!(
                    pod = pod.name,
                    error = &error as &dyn std::error::Error,
                    "cannot read the log of a crashed container"
                );
                None
            }
            Err(_) => {
                debug!(
                    pod = pod.name,
                    "no answer for the log of a crashed container"
                );
                None
            }
        };
        let line = Line {
            pod: pod.uid.clone(),
            restarts: crash.restarts,
            text: text.clone(),
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(revision.clone(), line);
        text
    }

    /// Forgets a Revision that is gone.
    pub(crate) fn forget(&self, revision: &Key) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.remove(revision);
    }
}

fn last_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let end = line.floor_char_boundary(LONGEST_LINE);
    let plain = line[..end]
        .chars()
        .filter(|character| !character.is_control());
    Some(plain.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_taken() {
        let text = "Traceback\n  File x\nNameError: y\n\n";
        assert_eq!(last_line(text).as_deref(), Some("NameError: y"));
        assert_eq!(last_line(" \n\n"), None);
        let long = "ä".repeat(1000);
        assert_eq!(last_line(&long).map(|line| line.len()), Some(LONGEST_LINE));
    }
}
