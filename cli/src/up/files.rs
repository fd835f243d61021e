//! Applies the manifests, now and whenever their files change.

use std::{path::PathBuf, time::Duration};

use kube::Client;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::{
    manifest::{self, Manifest},
    output,
};

/// How often the files are looked at. Reading them is cheap, and needs no help from the system that
/// not every file system gives.
const LOOK: Duration = Duration::from_millis(300);

/// Applies the manifests, then those that have changed, until the shutdown. What goes wrong is told
/// and tried again when the files change.
pub(super) async fn follow(
    client: Client,
    paths: Vec<PathBuf>,
    first: Vec<Manifest>,
    stop: CancellationToken,
) {
    let mut applied: Vec<Manifest> = Vec::new();
    let mut complaint = String::new();
    let mut wanted = Ok(first);
    loop {
        match wanted {
            Ok(manifests) => {
                if !complaint.is_empty() {
                    complaint.clear();
                }
                for manifest in &manifests {
                    if !applied.contains(manifest) {
                        apply(&client, manifest).await;
                    }
                }
                for gone in applied
                    .iter()
                    .filter(|old| !manifests.iter().any(|new| new.title() == old.title()))
                {
                    output::note(&format!(
                        "{} is no longer in the files; it stays until it is deleted",
                        gone.title()
                    ));
                }
                applied = manifests;
            }
            Err(error) => {
                let text = format!("{error:#}");
                if text != complaint {
                    output::note(&text);
                    complaint = text;
                }
            }
        }
        if paths.is_empty() || stop.run_until_cancelled(time::sleep(LOOK)).await.is_none() {
            return;
        }
        wanted = manifest::read(&paths);
    }
}

async fn apply(client: &Client, manifest: &Manifest) {
    if let Err(error) = manifest.apply(client, "default").await {
        output::note(&format!("{error:#}"));
    }
}
