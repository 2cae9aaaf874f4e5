//! What was had from an address, what could not be had, and what is on its way.
//!
//! A full table does not forget what it has known within a day for what a stranger asks for: that is then served without being kept,
//! and asked for again by whoever wants it next. Who was there before a flood has its place through it and after it.

use crate::seeded::Seeded;
use portcullis_domain::hash;
use portcullis_domain::limits::{
    DOCUMENT_FAILURE_KEPT, DOCUMENT_FAILURES_MAX, DOCUMENT_FRESH_MAX, DOCUMENTS_MAX, DOCUMENTS_PER_HOST,
    KEYS_REFETCH_PAUSE,
};
use portcullis_domain::oauth::fault::Fault;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// An address, as a key that does not grow with it.
type Place = [u8; 16];

/// The answer that everybody waits for who asked for one address at one time.
type Cell<T> = Arc<OnceCell<Result<Arc<T>, Fault>>>;

/// Judged things by their addresses.
pub(super) struct Cache<T>(Mutex<Table<T>>);

struct Table<T> {
    kept: HashMap<Place, Kept<T>, Seeded>,
    failed: HashMap<Place, Duration, Seeded>,
    flights: HashMap<Place, Cell<T>, Seeded>,
}

struct Kept<T> {
    value: Arc<T>,
    host: Box<str>,
    /// On the clock of whoever asks.
    read_at: Duration,
    fresh: Duration,
}

impl<T> Kept<T> {
    fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.read_at) < self.fresh
    }

    fn is_known(&self, now: Duration) -> bool {
        now.saturating_sub(self.read_at) < DOCUMENT_FRESH_MAX
    }
}

/// What is to be done about an address.
pub(super) enum Found<'c, T> {
    /// Nothing: it is here.
    Fresh(Arc<T>),
    /// Nothing: it could not be had just now.
    Failed,
    /// It has to be fetched, or somebody does that already.
    Flight(Flight<'c, T>),
}

/// A share in one call.
pub(super) struct Flight<'c, T> {
    cache: &'c Cache<T>,
    place: Place,
    cell: Cell<T>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        let seeded = Seeded::new();
        let (kept, failed) = (HashMap::with_hasher(seeded), HashMap::with_hasher(seeded));
        Self(Mutex::new(Table { kept, failed, flights: HashMap::with_hasher(seeded) }))
    }
}

impl<T> Cache<T> {
    /// What is to be done about this address. `allow` is asked before a call for what is not known.
    pub(super) fn find(
        &self,
        url: &str,
        now: Duration,
        allow: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<Found<'_, T>, Fault> {
        let place = place(url);
        let mut table = self.table();
        let kept = table.kept.get(&place);
        if let Some(kept) = kept.filter(|kept| kept.is_fresh(now)) {
            return Ok(Found::Fresh(Arc::clone(&kept.value)));
        }
        let known = kept.is_some_and(|kept| kept.is_known(now));
        if table.failed.get(&place).is_some_and(|at| has_just_failed(*at, now)) {
            return Ok(Found::Failed);
        }
        let cell = match table.flights.get(&place) {
            Some(cell) => Arc::clone(cell),
            None => {
                if !known {
                    allow()?;
                }
                Arc::clone(table.flights.entry(place).or_default())
            }
        };
        Ok(Found::Flight(Flight { cache: self, place, cell }))
    }

    /// The same for who has `known` and needs something newer: what is there if it is another, `known` itself if it was read just
    /// now or cannot be read, else a call.
    pub(super) fn find_newer(&self, url: &str, now: Duration, known: &Arc<T>) -> Found<'_, T> {
        let place = place(url);
        let mut table = self.table();
        let kept = table.kept.get(&place).filter(|kept| kept.is_known(now));
        let too_soon = kept.is_some_and(|kept| now.saturating_sub(kept.read_at) < KEYS_REFETCH_PAUSE);
        if let Some(kept) = kept.filter(|kept| too_soon || !Arc::ptr_eq(&kept.value, known)) {
            return Found::Fresh(Arc::clone(&kept.value));
        }
        if table.failed.get(&place).is_some_and(|at| has_just_failed(*at, now)) {
            return Found::Failed;
        }
        let cell = Arc::clone(table.flights.entry(place).or_default());
        Found::Flight(Flight { cache: self, place, cell })
    }

    /// What was last had from this address, within a day.
    pub(super) fn last(&self, url: &str, now: Duration) -> Option<Arc<T>> {
        self.table().kept.get(&place(url)).filter(|kept| kept.is_known(now)).map(|kept| Arc::clone(&kept.value))
    }

    /// Remembers what was had, if there is room.
    pub(super) fn keep(&self, url: &str, host: &str, value: T, fresh: Duration, now: Duration) -> Arc<T> {
        let (place, value) = (place(url), Arc::new(value));
        let mut table = self.table();
        table.failed.remove(&place);
        if table.kept.contains_key(&place) || table.has_room(host, now) {
            let kept = Kept { value: Arc::clone(&value), host: host.into(), read_at: now, fresh };
            table.kept.insert(place, kept);
        }
        value
    }

    /// Remembers that nothing was had, if there is room.
    pub(super) fn fail(&self, url: &str, now: Duration) {
        let mut table = self.table();
        if table.failed.len() >= DOCUMENT_FAILURES_MAX {
            table.failed.retain(|_, at| has_just_failed(*at, now));
        }
        if table.failed.len() < DOCUMENT_FAILURES_MAX {
            table.failed.insert(place(url), now);
        }
    }

    /// Nothing is left half done in it by a panic elsewhere.
    fn table(&self) -> MutexGuard<'_, Table<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn sizes(&self) -> [usize; 3] {
        let table = self.table();
        [table.kept.len(), table.failed.len(), table.flights.len()]
    }
}

impl<T> Table<T> {
    /// Whether one more of this host fits, after what is no longer known has gone, and of the host itself what is no longer fresh.
    fn has_room(&mut self, host: &str, now: Duration) -> bool {
        if self.kept.len() >= DOCUMENTS_MAX {
            self.kept.retain(|_, kept| kept.is_known(now));
        }
        let of_host = self.kept.values().filter(|kept| *kept.host == *host).count();
        if of_host >= DOCUMENTS_PER_HOST {
            self.kept.retain(|_, kept| *kept.host != *host || kept.is_fresh(now));
        }
        let of_host = self.kept.values().filter(|kept| *kept.host == *host).count();
        self.kept.len() < DOCUMENTS_MAX && of_host < DOCUMENTS_PER_HOST
    }
}

impl<T> Flight<'_, T> {
    /// Makes the call, or waits for who makes it. If that one hangs up, the next one makes it anew.
    pub(super) async fn land(self, call: impl Future<Output = Result<Arc<T>, Fault>>) -> Result<Arc<T>, Fault> {
        self.cell.get_or_init(|| call).await.clone()
    }
}

impl<T> Drop for Flight<'_, T> {
    fn drop(&mut self) {
        let mut table = self.cache.table();
        // The table's own share and this one: whoever comes next begins anew.
        let alone = Arc::strong_count(&self.cell) <= 2;
        if self.cell.initialized() || alone {
            let own = table.flights.get(&self.place).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
            if own {
                table.flights.remove(&self.place);
            }
        }
    }
}

fn has_just_failed(at: Duration, now: Duration) -> bool {
    now.saturating_sub(at) < DOCUMENT_FAILURE_KEPT
}

fn place(url: &str) -> Place {
    hash::first(&hash::sha256(url.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn flight<'c>(cache: &'c Cache<u32>, url: &str) -> Flight<'c, u32> {
        match cache.find(url, NOW, || Ok(())) {
            Ok(Found::Flight(flight)) => flight,
            Ok(_) => panic!("{url} need not be fetched"),
            Err(fault) => panic!("{fault:?}"),
        }
    }

    fn is_kept(cache: &Cache<u32>, url: &str, now: Duration) -> bool {
        matches!(cache.find(url, now, || Ok(())), Ok(Found::Fresh(_)))
    }

    const NOW: Duration = Duration::from_secs(1_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn t115_whoever_comes_together_shares_one_call_and_one_who_hangs_up_does_not_take_it_along() {
        let cache = Cache::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(flight(&cache, "a").land(std::future::pending()));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let mut second = pin!(flight(&cache, "a").land(async { Ok(Arc::new(2)) }));
        assert!(second.as_mut().poll(&mut context).is_pending(), "the call under way is everybody's");
        assert_eq!(cache.sizes(), [0, 0, 1]);
        drop(first);
        assert!(matches!(second.as_mut().poll(&mut context), Poll::Ready(Ok(value)) if *value == 2));
        assert_eq!(cache.sizes(), [0, 0, 0], "and nothing is left of it");
        let mut alone = Box::pin(flight(&cache, "a").land(std::future::pending()));
        assert!(alone.as_mut().poll(&mut context).is_pending());
        drop(alone);
        assert_eq!(cache.sizes(), [0, 0, 0]);
    }

    #[test]
    fn what_is_fresh_is_not_fetched_and_what_was_known_is_the_last_for_a_day() {
        let cache = Cache::default();
        cache.keep("a", "host", 1, HOUR, NOW);
        assert!(is_kept(&cache, "a", NOW));
        let later = NOW + HOUR;
        let asked = cache.find("a", later, || Err(Fault::Internal("counted")));
        assert!(matches!(asked, Ok(Found::Flight(_))), "it is known, so its host is asked without counting");
        drop(asked);
        cache.fail("a", later);
        assert!(matches!(cache.find("a", later, || Ok(())), Ok(Found::Failed)));
        assert_eq!(cache.last("a", later).as_deref(), Some(&1));
        let day = NOW + 24 * HOUR;
        assert_eq!(cache.last("a", day), None);
        assert!(matches!(cache.find("a", day, || Err(Fault::ClientUnknown)), Err(Fault::ClientUnknown)));
        assert_eq!(cache.sizes()[2], 0, "who is not allowed leaves nothing behind");
    }

    #[test]
    fn t115_a_flood_does_not_push_out_who_was_there_before_and_is_to_be_asked_again() {
        let cache = Cache::default();
        cache.keep("honest", "honest.example", 0, HOUR, NOW);
        let flood = |numbers: std::ops::Range<usize>, now| {
            for number in numbers {
                cache.keep(&format!("{number}"), &format!("{number}.example"), 1, 24 * HOUR, now);
            }
        };
        flood(0..DOCUMENTS_MAX, NOW);
        let later = NOW + 2 * HOUR;
        flood(DOCUMENTS_MAX..2 * DOCUMENTS_MAX, later);
        let again = cache.find("honest", later, || Err(Fault::ClientUnknown));
        assert!(matches!(again, Ok(Found::Flight(_))), "its host is asked without counting");
        drop(again);
        cache.keep("honest", "honest.example", 2, HOUR, later);
        assert!(is_kept(&cache, "honest", later), "and it has its place");
        // Of one host what is to be asked again makes room for another: a service may have a document for each of its customers.
        let cache = Cache::default();
        for number in 0..2 * DOCUMENTS_PER_HOST {
            let now = NOW + HOUR * u32::from(number >= DOCUMENTS_PER_HOST);
            cache.keep(&format!("https://one.example/{number}"), "one.example", 1, HOUR, now);
        }
        assert!(is_kept(&cache, "https://one.example/20", NOW + HOUR));
    }

    #[test]
    fn t250_t115_every_table_is_bounded_and_what_is_fresh_is_not_pushed_out() {
        let cache = Cache::default();
        cache.keep("honest", "honest.example", 0, HOUR, NOW);
        for number in 0..DOCUMENTS_PER_HOST + 5 {
            cache.keep(&format!("https://one.example/{number}"), "one.example", 1, 24 * HOUR, NOW);
        }
        assert_eq!(cache.sizes()[0], 1 + DOCUMENTS_PER_HOST, "one host has its share");
        for number in 0..DOCUMENTS_MAX + 5 {
            cache.keep(&format!("{number}"), &format!("{number}.example"), 1, 24 * HOUR, NOW);
        }
        for number in 0..DOCUMENT_FAILURES_MAX + 5 {
            cache.fail(&format!("failed {number}"), NOW);
        }
        assert_eq!(cache.sizes(), [DOCUMENTS_MAX, DOCUMENT_FAILURES_MAX, 0]);
        assert!(is_kept(&cache, "honest", NOW));
        let later = NOW + 25 * HOUR;
        cache.keep("new", "new.example", 2, HOUR, later);
        cache.fail("new failure", later);
        assert_eq!(cache.sizes(), [1, 1, 0], "what has ended makes room");
    }
}
