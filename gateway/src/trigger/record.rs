//! What is written into a Function's status of triggers and of what waits: each time at the version that was read, so that nobody
//! decides about what another one has changed meanwhile.

use std::time::Duration;

use fermata_crds::{Function, names::GATEWAY_FIELD_MANAGER};
use fermata_daemon::watch::Key;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::random;

/// How long one call of the API may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often somebody else may be faster.
const ATTEMPTS: usize = 8;

/// How long it is waited at most after the first time that somebody else was faster, in milliseconds; it grows.
const CONFLICT_WAIT: usize = 100;

/// How long the last try may take when the gateway stops.
const LAST_TRY: Duration = Duration::from_secs(5);

/// The waits between tries to write what came of a run: about five minutes together.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
const TRIES: usize = 15;

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    /// The API server did not answer in time.
    #[error("no answer from the API server within {CALL_TIMEOUT:?}")]
    Timeout,
    /// The Function changed each time.
    #[error("the function's status has changed {ATTEMPTS} times meanwhile")]
    Contended,
    /// The API server refused, or gave no answer.
    #[error(
        "the API server does not write the function's status; the gateway needs the verbs get on functions and \
         patch on functions/status, and no policy against it"
    )]
    Refused(#[source] Box<kube::Error>),
}

/// Reads the Function, asks which fields of its status are to be others, and writes those. `None` where there is nothing to
/// write, or no such Function any more.
///
/// # Cancel safety
///
/// If the future is dropped, the status may or may not have been written.
pub(super) async fn change<T>(
    client: &Client,
    key: &Key,
    mut decide: impl FnMut(&Function) -> Option<(Value, T)>,
) -> Result<Option<T>, RecordError> {
    let functions: Api<Function> = Api::namespaced(client.clone(), &key.namespace);
    for attempt in 0..ATTEMPTS {
        let Some(function) = within(functions.get_opt(&key.name)).await? else {
            return Ok(None);
        };
        let Some((status, decided)) = decide(&function) else {
            return Ok(None);
        };
        let patch = json!({
            "metadata": { "resourceVersion": function.metadata.resource_version, "uid": function.metadata.uid },
            "status": status,
        });
        let params = PatchParams {
            field_manager: Some(GATEWAY_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        match within(functions.patch_status(&key.name, &params, &patch)).await {
            Ok(_) => return Ok(Some(decided)),
            Err(RecordError::Refused(error)) if code(&error) == Some(404) => return Ok(None),
            // Others write at the same moment: not all of them try again at once.
            Err(RecordError::Refused(error)) if code(&error) == Some(409) => {
                let wait = random::below(CONFLICT_WAIT * (attempt + 1));
                time::sleep(Duration::from_millis(wait as u64)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(RecordError::Contended)
}

/// The same for what must not get lost: tries for some minutes, and not much longer when it is told to stop.
pub(super) async fn persist<T>(
    client: &Client,
    key: &Key,
    stop: &CancellationToken,
    decide: impl FnMut(&Function) -> Option<(Value, T)>,
) -> Result<Option<T>, RecordError> {
    let too_late = async {
        stop.cancelled().await;
        time::sleep(LAST_TRY).await;
    };
    tokio::select! {
        written = tries(client, key, stop, decide) => written,
        () = too_late => Err(RecordError::Timeout),
    }
}

async fn tries<T>(
    client: &Client,
    key: &Key,
    stop: &CancellationToken,
    mut decide: impl FnMut(&Function) -> Option<(Value, T)>,
) -> Result<Option<T>, RecordError> {
    let mut wait = FIRST_WAIT;
    for _ in 1..TRIES {
        match change(client, key, &mut decide).await {
            Err(_) if !stop.is_cancelled() => {
                let _ = time::timeout(wait, stop.cancelled()).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
            written => return written,
        }
    }
    change(client, key, decide).await
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, RecordError> {
    time::timeout(CALL_TIMEOUT, call)
        .await
        .map_err(|_elapsed| RecordError::Timeout)?
        .map_err(|error| RecordError::Refused(Box::new(error)))
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
