//! Detached tasks on the runtime of the calling thread.

use portcullis_ports::Tasks;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Spawns on the current tokio runtime, and knows how many have not come to their end: a runtime that ends takes its tasks along.
#[derive(Clone, Debug, Default)]
pub struct RuntimeTasks {
    unfinished: Arc<AtomicUsize>,
}

impl RuntimeTasks {
    /// How many there are at any time.
    #[must_use]
    pub fn unfinished(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unfinished)
    }
}

impl Tasks for RuntimeTasks {
    fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        let begun = Begun::new(self.unfinished());
        let task = tokio::spawn(async move {
            let _begun = begun;
            future.await
        });
        async { task.await.ok() }
    }
}

/// One that has not come to its end. Also one that panics, or whose runtime ends, is counted out.
struct Begun(Arc<AtomicUsize>);

impl Begun {
    fn new(unfinished: Arc<AtomicUsize>) -> Self {
        unfinished.fetch_add(1, Relaxed);
        Self(unfinished)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test(flavor = "current_thread")]
    async fn what_nobody_waits_for_runs_to_its_end_and_is_counted_until_then() {
        let tasks = RuntimeTasks::default();
        let left = tasks.unfinished();
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let waiting = tasks.run(async move {
            let _ = gone.await;
            done.send(())
        });
        drop(waiting);
        tokio::task::yield_now().await;
        assert_eq!(left.load(Relaxed), 1);
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok(()));
        tokio::task::yield_now().await;
        assert_eq!(left.load(Relaxed), 0);
        assert_eq!(tasks.run(async { 7 }).await, Some(7));
        assert_eq!(tasks.run(async { panic!("a task panics") }).await, None::<()>);
        assert_eq!(left.load(Relaxed), 0);
    }
}
