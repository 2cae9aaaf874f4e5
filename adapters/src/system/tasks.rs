//! Detached tasks on the runtime of the calling thread.

use portcullis_ports::Tasks;
use std::future::Future;

/// Spawns on the current tokio runtime.
#[derive(Debug, Default)]
pub struct RuntimeTasks;

impl Tasks for RuntimeTasks {
    fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        let task = tokio::spawn(future);
        async { task.await.ok() }
    }
}
