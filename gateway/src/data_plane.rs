//! The threads that serve requests. Only what belongs to a request, a connection or a probe runs on
//! them: watching, scaling and waking have the threads of the caller, so that the work which one
//! function makes there delays no request of another.

use std::io;

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

/// A runtime of its own. Dropping it ends at once whatever still runs on it.
#[derive(Debug)]
pub(crate) struct DataPlane {
    runtime: Option<Runtime>,
    handle: Handle,
}

// === impl DataPlane ===

impl DataPlane {
    /// Starts one thread for each processor that the process may use.
    ///
    /// # Errors
    ///
    /// When the system grants no threads or no file descriptors.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("data-plane")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// What spawns tasks on it.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Spawns a task on it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(work)
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not be waited for in asynchronous code.
            runtime.shutdown_background();
        }
    }
}
