//! A wake that a connection need not hear.
//!
//! Whoever takes a piece of a request's body wakes the connection, so that it brings the next. The library does so for the last
//! piece too, and as the handler is a part of the connection's own task, the whole task would have one more turn for nothing:
//! with every request that has a body. Only the reader of the body can tell that nothing is to follow, so a wake that comes from
//! within such a reading is held until it has.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// The waker of a connection's task, as the library is given it.
#[derive(Debug)]
pub(super) struct Ear {
    task: Waker,
    given: Waker,
}

impl Ear {
    /// In front of this task.
    pub(super) fn of(task: &Waker) -> Self {
        Self { task: task.clone(), given: Waker::from(Arc::new(Listener(task.clone()))) }
    }

    /// Lets the connection have a turn in this task, which is another one only if a connection has moved.
    pub(super) fn context(&mut self, task: &Waker) -> Context<'_> {
        if !self.task.will_wake(task) {
            *self = Self::of(task);
        }
        Context::from_waker(&self.given)
    }
}

struct Listener(Waker);

impl Wake for Listener {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A thread that is ending holds nothing.
        let held = HELD.try_with(|held| match held.take() {
            Held::Nothing => {
                held.set(Held::One(Arc::clone(self)));
                true
            }
            other => {
                held.set(other);
                false
            }
        });
        if !held.unwrap_or(false) {
            self.0.wake_by_ref();
        }
    }
}

/// What is held on this thread. Wakes of other threads are never held: what they are for cannot be told here.
#[derive(Default)]
enum Held {
    /// Wakes go where they are meant to.
    #[default]
    Open,
    /// The next one is held.
    Nothing,
    /// This one is.
    One(Arc<Listener>),
}

thread_local! {
    static HELD: Cell<Held> = const { Cell::new(Held::Open) };
}

/// Reads, and lets the first wake that comes from within go on only if it is needed by what was read.
pub(super) fn holding<T>(read: impl FnOnce() -> T, needed: impl FnOnce(&T) -> bool) -> T {
    // Also where the reading panics, wakes go where they are meant to.
    struct Release;
    impl Drop for Release {
        fn drop(&mut self) {
            if let Ok(Held::One(listener)) = HELD.try_with(Cell::take) {
                listener.0.wake_by_ref();
            }
        }
    }
    let _ = HELD.try_with(|held| held.set(Held::Nothing));
    let release = Release;
    let came = read();
    if !needed(&came) {
        let _ = HELD.try_with(Cell::take);
    }
    drop(release);
    came
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// How often a task was woken by what this does with the waker that the library is given.
    fn woken(by: impl FnOnce(Waker)) -> usize {
        let count = Arc::new(Count::default());
        let task = Waker::from(Arc::clone(&count));
        let mut ear = Ear::of(&task);
        by(ear.context(&task).waker().clone());
        count.0.load(SeqCst)
    }

    #[test]
    fn a_wake_is_held_only_from_within_and_only_if_it_is_not_needed() {
        assert_eq!(woken(|waker| waker.wake()), 1);
        assert_eq!(woken(|waker| holding(|| waker.wake_by_ref(), |()| false)), 0);
        assert_eq!(woken(|waker| holding(|| waker.wake_by_ref(), |()| true)), 1);
        assert_eq!(woken(|_| holding(|| (), |()| true)), 0, "nobody called");
        let after = |waker: Waker| {
            holding(|| waker.wake_by_ref(), |()| false);
            waker.wake();
        };
        assert_eq!(woken(after), 1, "what is held is over with the reading");
    }

    #[test]
    fn wakes_of_others_are_not_held() {
        let twice = |waker: &Waker| {
            waker.wake_by_ref();
            waker.wake_by_ref();
        };
        assert_eq!(woken(|waker| holding(|| twice(&waker), |()| false)), 1, "one reading makes one wake needless");
        let elsewhere =
            |waker: Waker| holding(move || std::thread::spawn(move || waker.wake()).join().unwrap(), |()| false);
        assert_eq!(woken(elsewhere), 1, "another thread's");
    }

    #[test]
    fn a_reading_that_panics_holds_nothing_back() {
        let panics = |waker: Waker| {
            let read = AssertUnwindSafe(|| {
                holding(
                    || {
                        waker.wake_by_ref();
                        panic!("within the reading");
                    },
                    |()| false,
                );
            });
            assert!(catch_unwind(read).is_err());
            waker.wake();
        };
        assert_eq!(woken(panics), 2);
    }

    #[test]
    fn a_connection_in_another_task_wakes_that_one() {
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut ear = Ear::of(&Waker::from(Arc::clone(&first)));
        ear.context(&Waker::from(Arc::clone(&second))).waker().wake_by_ref();
        assert_eq!((first.0.load(SeqCst), second.0.load(SeqCst)), (0, 1));
    }
}
