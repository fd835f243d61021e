//! The tasks that run as long as the gateway does.

use tokio::task::JoinSet;

/// The tasks that run as long as the gateway does.
#[derive(Debug, Default)]
pub(super) struct Tasks(JoinSet<&'static str>);

// === impl Tasks ===

impl Tasks {
    /// Begins one; its name tells which it was that ended.
    pub(super) fn begin(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.spawn(async move {
            work.await;
            name
        });
    }

    /// Waits for the first one that ends, which none should; returns its name.
    pub(super) async fn ended(&mut self) -> &'static str {
        match self.0.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) | None => "background work",
        }
    }

    /// Waits until all have ended.
    pub(super) async fn finish(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}
