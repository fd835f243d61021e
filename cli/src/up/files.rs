//! Applies the manifests, now and whenever their files change.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use kube::Client;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{
    bundle::{Bundle, Store},
    errors,
    manifest::{self, Manifest, Stamp},
    output,
};

/// How often the files are looked at. A look costs little, and needs no help from the system that
/// not every file system gives.
const LOOK: Duration = Duration::from_millis(300);

/// How many times as long as a look takes there is none: many files cost a small part of a processor too.
const REST: u32 = 20;

/// Applies the manifests, then those that have changed, until the shutdown. What goes wrong is told
/// once; a manifest that was refused is tried again with every look, since what it needs may come.
/// `seen` is from before `first` was read, so that no change is missed.
pub(super) async fn follow(
    client: Client,
    paths: Vec<PathBuf>,
    mut seen: Stamp,
    first: Vec<Manifest>,
    stop: CancellationToken,
) {
    let mut follower = Follower {
        store: Store::new(client.clone(), None, None),
        client,
        wanted: first,
        applied: Vec::new(),
        complaints: Vec::new(),
    };
    let mut pause = LOOK;
    loop {
        // A bundle is pushed as a whole or not at all, and what is applied is whole too.
        if stop.run_until_cancelled(follower.apply()).await.is_none() {
            return;
        }
        if paths.is_empty() || stop.run_until_cancelled(time::sleep(pause)).await.is_none() {
            return;
        }
        let begin = Instant::now();
        let now = manifest::stamp(&paths);
        pause = LOOK.max(begin.elapsed() * REST);
        if now != seen {
            seen = now;
            follower.read(&paths);
        }
    }
}

/// What the files say and what has become of it.
struct Follower {
    client: Client,
    store: Store,
    wanted: Vec<Manifest>,
    applied: Vec<Manifest>,
    /// What was told about the files as they are, so that it is told once.
    complaints: Vec<String>,
}

// === impl Follower ===

impl Follower {
    fn read(&mut self, paths: &[PathBuf]) {
        self.complaints.clear();
        match manifest::read_what_can_be(paths) {
            Ok(manifests) => self.wanted = manifests,
            Err(error) => self.complain(errors::line(&error)),
        }
        let gone: Vec<Manifest> = self
            .applied
            .extract_if(.., |old| {
                !self.wanted.iter().any(|new| new.title() == old.title())
            })
            .collect();
        for manifest in gone {
            output::note(&format!(
                "{} is no longer in the files; it stays until it is deleted",
                manifest.title()
            ));
        }
    }

    async fn apply(&mut self) {
        if self.applied == self.wanted {
            return;
        }
        let mut applied = Vec::with_capacity(self.wanted.len());
        for manifest in self.wanted.clone() {
            if self.applied.contains(&manifest) {
                applied.push(manifest);
                continue;
            }
            let deployed = manifest.clone();
            match deployed.deploy(&self.client, &self.store, "default").await {
                Ok(_) => {
                    // As long as the files stay as they are it is not brought once more.
                    manifest.bundle.iter().for_each(Bundle::release);
                    applied.push(manifest);
                }
                Err(error) => self.complain(errors::line(&error)),
            }
        }
        self.applied = applied;
    }

    fn complain(&mut self, sentence: String) {
        if !self.complaints.contains(&sentence) {
            output::note(&sentence);
            self.complaints.push(sentence);
        }
    }
}
