//! The key ring that counts now: it can be replaced while the gateway runs.
//!
//! A request may ask for it, so asking takes no lock: each thread keeps the ring that it saw last, and looks at a number to see
//! whether that one still counts. A thread lets go of the ring before when it next asks.

use super::KeyRing;
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The ring that counts now, for everybody who shares this.
pub struct CurrentRing {
    number: AtomicU64,
    held: Mutex<Numbered>,
}

/// Which ring counted when something was worked out: no two have the same in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingNumber(u64);

#[derive(Clone)]
struct Numbered {
    number: RingNumber,
    ring: Arc<KeyRing>,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static SEEN: RefCell<Option<Numbered>> = const { RefCell::new(None) };
}

impl CurrentRing {
    /// This one, to begin with.
    #[must_use]
    pub fn of(ring: KeyRing) -> Arc<Self> {
        let held = Numbered::next(Arc::new(ring));
        Arc::new(Self { number: AtomicU64::new(held.number.0), held: Mutex::new(held) })
    }

    /// The ring as it is now. Whoever does several things that belong together asks once.
    #[must_use]
    pub fn now(&self) -> Arc<KeyRing> {
        let number = self.number();
        SEEN.with_borrow_mut(|seen| match seen {
            Some(seen) if seen.number == number => Arc::clone(&seen.ring),
            seen => {
                let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Arc::clone(&seen.insert(held).ring)
            }
        })
    }

    /// Which one that is. To be asked before the work that is to be good only under this ring: if the ring is replaced meanwhile, the
    /// work counts as done under the one before.
    #[must_use]
    pub fn number(&self) -> RingNumber {
        RingNumber(self.number.load(Ordering::Acquire))
    }

    /// From now on, this one.
    pub fn replace(&self, ring: Arc<KeyRing>) {
        let next = Numbered::next(ring);
        let number = next.number;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = next;
        self.number.store(number.0, Ordering::Release);
    }
}

impl Numbered {
    fn next(ring: Arc<KeyRing>) -> Self {
        Self { number: RingNumber(NEXT.fetch_add(1, Ordering::Relaxed)), ring }
    }
}

impl fmt::Debug for CurrentRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::tests::{master, ring};

    fn keys(current: &CurrentRing) -> usize {
        current.now().count()
    }

    #[test]
    fn whoever_asks_is_given_the_ring_that_counts_also_on_a_thread_that_asked_before() {
        let (one, other) = (CurrentRing::of(ring(&[master(1)])), CurrentRing::of(ring(&[master(1), master(100)])));
        let (ask, asked) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let one = &one;
            let (answer, answers) = std::sync::mpsc::channel();
            scope.spawn(move || {
                for () in asked {
                    answer.send(keys(one)).unwrap();
                }
            });
            let elsewhere = || {
                ask.send(()).unwrap();
                answers.recv().unwrap()
            };
            assert_eq!((keys(one), keys(&other), keys(one), elsewhere()), (1, 2, 1, 1));
            let before = one.number();
            one.replace(Arc::new(ring(&[master(1), master(100), master(200)])));
            assert_eq!((keys(one), keys(&other), elsewhere()), (3, 2, 3));
            assert_ne!(one.number(), before);
            one.replace(other.now());
            assert_eq!((keys(one), elsewhere()), (2, 2));
            assert_ne!(one.number(), other.number(), "the same ring at another place is another one");
            drop(ask);
        });
    }
}
