//! Rows in a stream of NATS JetStream, which one process has at a time and the next one takes over.

mod catalog;
mod line;
mod load;
mod message;
mod owner;
mod publish;
mod read;
mod settings;
mod stream;
mod sweep;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use async_nats::jetstream;
use tokio::{runtime::Handle, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::backend::{Backend, Change, Rows};
use crate::{
    error::{self, OpenError, StoreError},
    id::{Id, NoRandomness},
    invocation::Invocation,
};

use line::Line;
use load::Loaded;
use publish::Post;

pub(crate) use settings::Settings;

/// What stays free in the stream, in bytes, or a tenth of it if that is less.
const RESERVED: u64 = 64 * 1024 * 1024;

/// The pauses before the store is looked for again that could not be opened.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The rows. Other processes have to wait until this is dropped and nothing was heard of it for long enough, or until it
/// is [released](Self::release).
pub(crate) struct Nats {
    line: Arc<Line>,
    runtime: Handle,
    /// What was found when the store was taken, until somebody asks.
    found: Mutex<Vec<(Id, Invocation)>>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

// === impl Nats ===

impl Nats {
    /// Takes the store as soon as nobody has it; nothing if it is to stop. It does so again and again until NATS is there.
    ///
    /// # Errors
    ///
    /// When it never will: the credentials are refused, the stream is another one's, the server cannot do what is needed,
    /// or a row makes no sense.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the store may have been taken; then another one takes it after a while.
    pub(crate) async fn open(
        settings: &Settings,
        stop: &CancellationToken,
    ) -> Result<Option<Arc<Self>>, OpenError> {
        let mut pause = PAUSES.0;
        loop {
            let begun = Instant::now();
            match Self::try_open(settings, stop).await {
                Ok(opened) => return Ok(opened.map(Arc::new)),
                Err(OpenError::Nats(error)) if error.may_pass() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the store cannot be opened now"
                    );
                }
                Err(error) => return Err(error),
            }
            if begun.elapsed() > PAUSES.1 {
                pause = PAUSES.0;
            }
            let waited = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            if waited.is_none() {
                return Ok(None);
            }
            pause = (2 * pause).min(PAUSES.1);
        }
    }

    async fn try_open(
        settings: &Settings,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, OpenError> {
        let client = settings.connect().await?;
        let context = jetstream::new(client.clone());
        let stream = stream::ensure(&context, settings).await?;
        let mut post = Post::new(client.clone(), &settings.stream).await?;
        let holder = holder().map_err(OpenError::Randomness)?;
        let taken = owner::take(&stream, &mut post, settings, &holder, stop).await?;
        let Some(end) = taken else {
            return Ok(None);
        };
        let line = Line::new(client, stream, holder, post, end);
        let line = Arc::new(line);
        // From now on: it may take long to load.
        let renewing = renew(line.clone(), settings.renew);
        let renewing = AbortOnDropHandle::new(tokio::spawn(renewing));
        let found = match Self::load(&line, end).await {
            Ok(found) => found,
            Err(error) => {
                // Nobody has to wait for who cannot do anything with it.
                let _ = line.renew(true).await;
                return Err(error);
            }
        };
        let sweeping = line.clone();
        let sweeping = tokio::spawn(async move { sweeping.sweep().await });
        tracing::info!(
            stream = settings.stream,
            calls = found.len(),
            "the store is taken"
        );
        Ok(Some(Self {
            line,
            runtime: Handle::current(),
            found: Mutex::new(found),
            _tasks: [renewing, AbortOnDropHandle::new(sweeping)],
        }))
    }

    /// All calls there are in the stream up to this message, in the order of their names.
    async fn load(line: &Line, end: u64) -> Result<Vec<(Id, Invocation)>, OpenError> {
        let Loaded {
            catalog,
            invocations,
        } = load::load(&line.stream, end).await?;
        *line.catalog() = catalog;
        let mut found = Vec::with_capacity(invocations.len());
        for (id, row) in invocations {
            let row = match row {
                Some(row) => Some(row),
                None => line.row(Rows::Invocations, id).await?,
            };
            let Some(row) = row else { continue };
            let invocation = serde_json::from_slice(&row).map_err(|source| OpenError::Row {
                row: id.to_string(),
                source,
            })?;
            found.push((id, invocation));
        }
        Ok(found)
    }

    /// Cancelled when another process has the store: nothing is written here any more.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.line.lost.clone()
    }

    /// Lets go of the store, so that another process takes it at once. Nothing is to be written any more.
    pub(crate) async fn release(&self) {
        if let Err(error) = self.line.renew(true).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "another process has to wait for the store"
            );
        }
    }
}

impl Backend for Nats {
    fn is_short(&self) -> bool {
        self.line.short.load(Ordering::Relaxed)
    }

    fn invocations(&self) -> Result<Vec<(Id, Invocation)>, OpenError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *found))
    }

    fn rows(&self, table: Rows, ids: &[Id]) -> Result<Vec<(Id, Vec<u8>)>, StoreError> {
        let rows = self.runtime.block_on(self.line.rows(table, ids));
        rows.map_err(error::nats::read)
    }

    fn get(&self, table: Rows, id: Id) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.runtime.block_on(self.line.row(table, id));
        row.map_err(error::nats::read)
    }

    fn write(&self, writes: &[Vec<Change>]) -> Vec<Result<(), StoreError>> {
        self.runtime.block_on(self.line.write(writes))
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Nats").finish_non_exhaustive()
    }
}

/// Says again and again that this process has the store, and notes how much room there is.
async fn renew(line: Arc<Line>, every: Duration) {
    while !line.lost.is_cancelled() {
        tokio::time::sleep(every).await;
        if let Err(error) = line.renew(false).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "NATS cannot be told that this process has the store"
            );
            continue;
        }
        if let Ok(info) = line.stream.get_info().await {
            let most = u64::try_from(info.config.max_bytes).unwrap_or_default();
            let left = most.saturating_sub(info.state.bytes);
            line.note_room(most > 0 && left < RESERVED.min(most / 10));
        }
    }
}

/// A name for this process that no other one has.
fn holder() -> Result<String, NoRandomness> {
    Ok(Id::new(jiff::Timestamp::now())?.to_string())
}
