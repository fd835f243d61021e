//! Whether the cluster is still there.

use std::time::Duration;

use kube::Client;
use tokio::time::{Instant, sleep, timeout};

use crate::error::SoakError;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the API may not answer.
const AWAY: Duration = Duration::from_secs(60);

/// Returns when the API has not answered for a minute.
pub(crate) async fn watch(client: &Client) -> SoakError {
    let mut heard = Instant::now();
    loop {
        let look = timeout(PATIENCE, client.apiserver_version()).await;
        if let Ok(Ok(_)) = look {
            heard = Instant::now();
        } else if heard.elapsed() > AWAY {
            return SoakError::Gone(heard.elapsed(), look.ok().and_then(Result::err));
        }
        sleep(PAUSE).await;
    }
}
