//! The functions that are called.

use std::{net::SocketAddr, time::Duration};

use fermata_crds::{Function, conditions};
use fermata_tests::{Space, test_function};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::error::SoakError;

/// Always there.
pub(crate) const WARM: &str = "warm";

/// With a hard limit.
pub(crate) const LIMITED: &str = "limited";

/// How many requests at once one of its instances takes.
pub(crate) const LIMIT: usize = 2;

/// At zero between two calls.
pub(crate) const COLD: [&str; 3] = ["cold-1", "cold-2", "cold-3"];

/// How long all may take to become ready.
const READY: Duration = Duration::from_secs(180);

/// What they note, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Functions {
    ledger: SocketAddr,
}

// === impl Functions ===

impl Functions {
    /// Makes them, and waits until they are ready.
    pub(crate) async fn make(space: &Space, ledger: SocketAddr) -> Result<Self, SoakError> {
        let functions = Self { ledger };
        for name in Self::names() {
            let manifest = functions.manifest(name, 0);
            space.try_apply(&manifest).await.map_err(SoakError::SetUp)?;
        }
        let until = Instant::now() + READY;
        for name in Self::names() {
            while !is_ready(space, name).await? {
                if Instant::now() > until {
                    return Err(SoakError::NotReady(name.to_owned(), READY));
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(functions)
    }

    /// All of them.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        [WARM, LIMITED].into_iter().chain(COLD)
    }

    /// One of them, as it is in this round: each round is a Revision.
    pub(crate) fn manifest(&self, name: &str, round: u64) -> Value {
        let scale = match name {
            WARM => json!({"min": 2, "max": 4}),
            LIMITED => json!({"min": 1, "max": 3}),
            _ => json!({"initial": 0, "max": 2, "window": "6s", "idleAfter": "1s"}),
        };
        let mut spec = json!({
            "scale": scale,
            "env": [
                {"name": "LEDGER", "value": self.ledger.to_string()},
                {"name": "ROUND", "value": round.to_string()},
            ],
        });
        if name == LIMITED {
            spec["concurrency"] = LIMIT.into();
        }
        test_function(name, &["serve"], spec)
    }
}

async fn is_ready(space: &Space, name: &str) -> Result<bool, SoakError> {
    let function = space.api::<Function>().get(name).await;
    let status = function.map_err(SoakError::SetUp)?.status;
    let conditions = status.unwrap_or_default().conditions;
    Ok(conditions::find(&conditions, conditions::READY)
        .is_some_and(|condition| condition.status == "True"))
}
