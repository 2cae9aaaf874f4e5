//! Whoever watches sessions, within the process or beyond a webhook: what waits for them has an end, and nobody waits for them.

mod webhook;

pub use webhook::Webhook;

use crate::exposition::Exposition;
use portcullis_domain::lifecycle::Lifecycle;
use portcullis_domain::limits::{WATCHED_BATCH, WATCHED_WAITING_MAX};
use portcullis_domain::oauth::visitor::Visitor;
use portcullis_ports::Watcher;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::Notify;

/// What there is to tell.
#[derive(Clone, Debug)]
pub enum News {
    /// Somebody was let in.
    Authenticated(Arc<Visitor>),
    /// A session has changed.
    Changed(Lifecycle),
}

/// A queue for one that watches: bounded, the oldest gives way.
#[derive(Debug)]
pub struct Watch {
    name: &'static str,
    queue: Mutex<Queue>,
    news: Notify,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<News>,
    closed: bool,
}

impl Watch {
    /// For somebody of this name.
    #[must_use]
    pub fn new(name: &'static str) -> Arc<Self> {
        let (queue, news, lost) = (Mutex::default(), Notify::new(), AtomicU64::new(0));
        Arc::new(Self { name, queue, news, lost })
    }

    /// One more, in the place of the oldest if there are too many.
    pub fn tell(&self, news: News) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if queue.waiting.len() >= WATCHED_WAITING_MAX {
            queue.waiting.pop_front();
            self.lost.fetch_add(1, Relaxed);
        }
        queue.waiting.push_back(news);
        drop(queue);
        self.news.notify_one();
    }

    /// The next ones, as soon as there is one; none once it is closed and all have been taken.
    async fn next(&self) -> Vec<News> {
        loop {
            match self.take() {
                Some(next) => return next,
                // What has come since is remembered, and wakes it at once.
                None => self.news.notified().await,
            }
        }
    }

    /// What waits; nothing if there may be more to wait for.
    fn take(&self) -> Option<Vec<News>> {
        let mut queue = self.lock();
        let most = queue.waiting.len().min(WATCHED_BATCH);
        (most > 0 || queue.closed).then(|| queue.waiting.drain(..most).collect())
    }

    /// Nothing is told any more; what waits is still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    /// So many could not be told.
    fn lose(&self, count: usize) {
        self.lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
    }

    /// Writes how many wait for whom, and how many were lost.
    pub fn write_metrics(watches: &[Arc<Self>], page: &mut Exposition) {
        let mut waiting = page.gauge("watch_waiting", "Events that whoever watches sessions has not taken yet.");
        for watch in watches {
            waiting.of(&[("watcher", watch.name)], watch.lock().waiting.len());
        }
        let mut lost = page.counter("watch_lost_total", "Events that whoever watches sessions was not told.");
        for watch in watches {
            lost.of(&[("watcher", watch.name)], watch.lost.load(Relaxed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a watcher of this process on a thread of its own, until the watch is closed.
///
/// # Errors
/// If the system gives no thread or runtime.
pub fn tell_on_a_thread(watch: Arc<Watch>, watcher: Arc<impl Watcher + ?Sized>) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    std::thread::Builder::new().name("watcher".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                let batch = watch.next().await;
                if batch.is_empty() {
                    return;
                }
                for news in batch {
                    // One panic must not make it deaf. It was printed by the hook.
                    let told = catch_unwind(AssertUnwindSafe(|| match &news {
                        News::Authenticated(visitor) => watcher.authenticated(visitor),
                        News::Changed(change) => watcher.changed(change),
                    }));
                    if told.is_err() {
                        watch.lose(1);
                    }
                }
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::journal::{Event, Happened};
    use portcullis_domain::time::Timestamp;

    pub(super) fn change(millis: u64) -> News {
        let event = Event::new(Happened::TokensIssued);
        News::Changed(Lifecycle::of(Timestamp::from_millis(millis), &event).unwrap())
    }

    fn at(news: &News) -> u64 {
        match news {
            News::Changed(change) => change.at.millis(),
            News::Authenticated(_) => panic!("nobody was let in"),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn t250_what_waits_has_an_end_the_oldest_gives_way_and_the_order_stays() {
        let watch = Watch::new("test");
        let most = u64::try_from(WATCHED_WAITING_MAX).unwrap();
        for number in 0..most + 100 {
            watch.tell(change(number));
        }
        let mut page = Exposition::default();
        Watch::write_metrics(std::slice::from_ref(&watch), &mut page);
        let text = page.into_text();
        assert!(text.contains("portcullis_watch_lost_total{watcher=\"test\"} 100"), "{text}");
        assert!(text.contains(&format!("portcullis_watch_waiting{{watcher=\"test\"}} {most}")), "{text}");
        watch.close();
        watch.tell(change(1));
        let mut taken = Vec::new();
        loop {
            let batch = watch.next().await;
            assert!(batch.len() <= WATCHED_BATCH);
            if batch.is_empty() {
                break;
            }
            taken.extend(batch.iter().map(at));
        }
        assert!(taken.iter().copied().eq(100..most + 100));
    }

    #[test]
    fn m19_a_watcher_that_panics_or_takes_its_time_is_told_the_rest_and_holds_up_nobody() {
        struct Slow(Mutex<Vec<u64>>, Mutex<std::sync::mpsc::Receiver<()>>);
        impl Watcher for Slow {
            fn changed(&self, change: &Lifecycle) {
                if change.at.millis() == 0 {
                    self.1.lock().unwrap().recv().unwrap();
                    panic!("a watcher's own mistake");
                }
                self.0.lock().unwrap().push(change.at.millis());
            }
        }
        let (go, gone) = std::sync::mpsc::channel();
        let slow = Arc::new(Slow(Mutex::default(), Mutex::new(gone)));
        let watch = Watch::new("test");
        let thread = tell_on_a_thread(Arc::clone(&watch), Arc::clone(&slow)).unwrap();
        // It hangs in the first one meanwhile.
        (0..1_000).for_each(|number| watch.tell(change(number)));
        watch.close();
        go.send(()).unwrap();
        thread.join().unwrap();
        assert!(slow.0.lock().unwrap().iter().copied().eq(1..1_000));
        assert_eq!(watch.lost.load(Relaxed), 1);
    }
}
