//! The API: everything that requests work on.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::token::Signer, resource::registry::Registry, store::Store, streaming::StreamingRuntime,
};

/// Changes a pod while it is created or, with the pod as it is, updated, after defaulting and before validation. An
/// error refuses the pod with that sentence.
pub type Mutator = Arc<dyn Fn(&mut Value, Option<&Value>) -> Result<(), String> + Send + Sync>;

/// Everything that requests work on.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) registry: ArcSwap<Registry>,
    /// Held while a definition is written, so that what is served follows what is stored.
    pub(crate) definitions: Mutex<()>,
    pub(crate) mutators: Vec<Mutator>,
    pub(crate) logs_dir: PathBuf,
    /// What signs the tokens of ServiceAccounts.
    pub(crate) tokens: Signer,
    /// The way into containers, where there is a node that has one.
    pub(crate) streaming: Option<Arc<dyn StreamingRuntime>>,
    /// One for each command that may run.
    pub(crate) executions: Arc<Semaphore>,
    /// One for each client that may forward ports of a pod.
    pub(crate) forwards: Arc<Semaphore>,
    /// One for each connection to a port that there may be, of all clients together.
    pub(crate) forwarded: Arc<Semaphore>,
    /// The tasks that go on with connections which have switched protocols.
    pub(crate) sessions: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

#[cfg(test)]
impl Api {
    /// One in memory that knows the built-in kinds and has no objects.
    pub(crate) fn empty() -> Self {
        use aws_lc_rs::{
            rand::SystemRandom,
            signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
        };

        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let key = key.expect("a key");
        let one = || Arc::new(Semaphore::new(1));
        Self {
            store: Store::ephemeral(),
            registry: ArcSwap::from_pointee(Registry::builtin()),
            definitions: Mutex::default(),
            mutators: Vec::new(),
            logs_dir: PathBuf::from("logs"),
            tokens: Signer::new(key.as_ref()).expect("a signer"),
            streaming: None,
            executions: one(),
            forwards: one(),
            forwarded: one(),
            sessions: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        }
    }
}
