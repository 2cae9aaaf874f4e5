//! One queue per partition, over all threads of the process; a queue exists only while somebody stands in it.

use portcullis_domain::key::Partition;
use portcullis_ports::Turnstiles;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

type Queues = Arc<Mutex<HashMap<Partition, Arc<Queue<()>>>>>;

/// The queues. Only rounds that lost a race come here, so one lock over the map is enough.
#[derive(Debug, Default)]
pub struct ProcessTurnstiles {
    queues: Queues,
}

impl ProcessTurnstiles {
    /// How many partitions have a queue.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// One's turn in a partition.
#[derive(Debug)]
pub struct Pass {
    place: Place,
    turn: Option<OwnedMutexGuard<()>>,
}

/// A place in a queue, taken or waited for: leaving it, the last one clears the queue away.
#[derive(Debug)]
struct Place {
    partition: Partition,
    queue: Option<Arc<Queue<()>>>,
    queues: Queues,
}

impl Turnstiles for ProcessTurnstiles {
    type Pass = Pass;

    fn enter(&self, partition: Partition) -> impl Future<Output = Pass> + Send {
        let queues = Arc::clone(&self.queues);
        let queue = {
            let mut map = queues.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(map.entry(partition).or_default())
        };
        let place = Place { partition, queue: Some(Arc::clone(&queue)), queues };
        async move {
            let turn = queue.lock_owned().await;
            Pass { place, turn: Some(turn) }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // The turn goes first: it holds the queue too, and the place counts who still does.
        self.turn = None;
        debug_assert!(self.place.queue.is_some(), "a place is left once");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut map = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        self.queue = None;
        // Under the map's lock nobody can come in, so a queue that only the map holds is empty.
        if map.get(&self.partition).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            map.remove(&self.partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ONE: Partition = Partition([1; 16]);

    #[tokio::test]
    async fn one_at_a_time_in_one_partition_and_no_queue_is_left() {
        let turnstiles = Arc::new(ProcessTurnstiles::default());
        let first = turnstiles.enter(ONE).await;
        let waiting = tokio::spawn({
            let turnstiles = Arc::clone(&turnstiles);
            async move { turnstiles.enter(ONE).await }
        });
        let other = tokio::time::timeout(Duration::from_secs(1), turnstiles.enter(Partition([2; 16]))).await;
        assert!(other.is_ok(), "another partition is another queue");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap());
        drop(other);
        assert_eq!(turnstiles.queues(), 0);
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_leaves_no_queue() {
        let turnstiles = ProcessTurnstiles::default();
        let held = turnstiles.enter(ONE).await;
        assert!(tokio::time::timeout(Duration::from_millis(10), turnstiles.enter(ONE)).await.is_err());
        drop(held);
        assert_eq!(turnstiles.queues(), 0);
        drop(turnstiles.enter(ONE));
        assert_eq!(turnstiles.queues(), 0);
    }
}
