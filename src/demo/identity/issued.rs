//! What the demonstration provider has issued and remembers: a bounded shelf, the oldest falls off.

use portcullis_domain::limits::DEMO_ISSUED_MAX;
use portcullis_domain::secret::{SecretText, same};
use portcullis_domain::time::Timestamp;
use ring::digest::{Digest, SHA256, digest};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Things under names that only their owner knows; kept are the names' digests.
pub(super) struct Shelf<T> {
    life: Duration,
    things: Mutex<VecDeque<Thing<T>>>,
}

struct Thing<T> {
    name: Digest,
    until: Timestamp,
    what: T,
}

impl<T: Clone> Shelf<T> {
    pub(super) const fn new(life: Duration) -> Self {
        Self { life, things: Mutex::new(VecDeque::new()) }
    }

    pub(super) fn put(&self, name: &SecretText, what: T, now: Timestamp) {
        let mut things = self.lock();
        if things.len() >= DEMO_ISSUED_MAX {
            things.pop_front();
        }
        things.push_back(Thing { name: digest_of(name.expose()), until: now.plus(self.life), what });
    }

    /// Takes it away: nobody finds it a second time.
    pub(super) fn take(&self, name: &str, now: Timestamp) -> Option<T> {
        let mut things = self.lock();
        let place = find(&things, name, now)?;
        things.remove(place).map(|thing| thing.what)
    }

    /// Looks at it.
    pub(super) fn look(&self, name: &str, now: Timestamp) -> Option<T> {
        let things = self.lock();
        things.get(find(&things, name, now)?).map(|thing| thing.what.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Thing<T>>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<T>(things: &VecDeque<Thing<T>>, name: &str, now: Timestamp) -> Option<usize> {
    let name = digest_of(name);
    things.iter().position(|thing| now < thing.until && same(thing.name.as_ref(), name.as_ref()))
}

fn digest_of(name: &str) -> Digest {
    digest(&SHA256, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> SecretText {
        SecretText::new(format!("name {number}"))
    }

    #[test]
    fn t250_one_more_than_fits_pushes_out_the_oldest() {
        let shelf = Shelf::new(Duration::from_secs(60));
        for number in 0..=DEMO_ISSUED_MAX {
            shelf.put(&name(number), number, Timestamp::EPOCH);
        }
        assert_eq!(shelf.lock().len(), DEMO_ISSUED_MAX);
        assert_eq!(shelf.look("name 0", Timestamp::EPOCH), None);
        assert_eq!(shelf.look("name 1", Timestamp::EPOCH), Some(1));
    }

    #[test]
    fn what_is_taken_or_over_is_gone() {
        let shelf = Shelf::new(Duration::from_secs(60));
        shelf.put(&name(1), (), Timestamp::EPOCH);
        shelf.put(&name(2), (), Timestamp::EPOCH);
        assert_eq!(shelf.take("name 1", Timestamp::from_secs(59)), Some(()));
        assert_eq!(shelf.take("name 1", Timestamp::from_secs(59)), None);
        assert_eq!(shelf.take("name 2", Timestamp::from_secs(60)), None);
    }
}
