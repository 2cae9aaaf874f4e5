//! The system's clocks.

use crate::pace::Seldom;
use portcullis_domain::time::Timestamp;
use portcullis_ports::Clock;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The wall clock and the monotonic clock of the system.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    course: Course,
    said: Seldom,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), course: Course::default(), said: Seldom::default() }
    }
}

/// A clock that stands before 1970 reads as 1970: everything that ends is still in the future then, and everything that was issued
/// in the meantime is refused as too new by nobody but the identity provider's judge.
pub(crate) fn wall() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let wall = wall();
        let now = self.course.at(wall, || self.started.elapsed());
        let ahead = now.since(wall);
        if ahead > SET_BACK && self.said.may() {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the system's clock was set back: this gate goes half as fast until the clock has caught up, so that nothing that has \
                 ended begins again; if the clock was wrong before, restart the gate"
            );
        }
        now
    }

    fn ahead(&self) -> Duration {
        let wall = wall();
        self.course.at(wall, || self.started.elapsed()).since(wall)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(span)
    }
}

/// What is worth a word in the log: less is a correction that every machine makes now and then.
const SET_BACK: Duration = Duration::from_secs(5);

/// The course of time in one process: it never goes back.
///
/// A wall clock that is set forward is followed at once, so nothing lives longer than it may. One that is set back is waited for at
/// half speed: what has ended does not begin again, and what has not lives twice as long at the most.
#[derive(Debug, Default)]
struct Course {
    /// The latest time that was told, in milliseconds.
    latest: AtomicU64,
    /// Since when, by both clocks, the wall clock has been behind.
    behind: Mutex<(Timestamp, Duration)>,
}

impl Course {
    /// The time where the wall clock shows this; the monotonic clock is asked only if that is behind.
    fn at(&self, wall: Timestamp, monotonic: impl FnOnce() -> Duration) -> Timestamp {
        let latest = self.latest.load(Ordering::Relaxed);
        if wall.millis() > latest {
            self.latest.fetch_max(wall.millis(), Ordering::Relaxed);
        }
        if wall.millis() >= latest {
            return wall;
        }
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked for under the lock, so that it is not before what stands there.
        let monotonic = monotonic();
        let (since, began) = *behind;
        let half = monotonic.saturating_sub(began).checked_div(2).unwrap_or_default();
        let mut now = since.plus(half);
        let latest = Timestamp::from_millis(self.latest.load(Ordering::Relaxed));
        if now < latest {
            // The wall clock has led since then, and has been set back again.
            (*behind, now) = ((latest, monotonic), latest);
        }
        self.latest.fetch_max(now.millis(), Ordering::Relaxed);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    /// A course, and the two clocks of a machine.
    struct Machine {
        course: Course,
        monotonic: Duration,
        wall: Timestamp,
    }

    impl Machine {
        fn new() -> Self {
            Self { course: Course::default(), monotonic: Duration::ZERO, wall: Timestamp::from_secs(1_800_000_000) }
        }

        fn now(&self) -> Timestamp {
            self.course.at(self.wall, || self.monotonic)
        }

        /// Both clocks go on.
        fn passes(&mut self, seconds: u64) -> Timestamp {
            let span = Duration::from_secs(seconds);
            (self.monotonic, self.wall) = (self.monotonic.saturating_add(span), self.wall.plus(span));
            self.now()
        }
    }

    #[test]
    fn t279_a_clock_that_is_set_back_brings_nothing_back_that_has_ended() {
        for back in [1, 59, HOUR, 10 * 365 * 24 * HOUR, u64::MAX / 1_000] {
            let mut machine = Machine::new();
            let end = machine.now().plus(Duration::from_secs(60));
            let mut last = machine.passes(61);
            assert!(last > end);
            machine.wall = machine.wall.minus(Duration::from_secs(back));
            assert_eq!(machine.now(), last, "it stands where it was");
            let set_back = last;
            for _ in 0..100 {
                let now = machine.passes(10);
                assert!(now >= last, "{back}");
                last = now;
            }
            assert!(
                last.since(set_back) >= Duration::from_secs(500),
                "{back}: what lives comes to its end all the same"
            );
        }
    }

    #[test]
    fn t279_a_clock_that_is_set_forward_is_followed_at_once_and_back_again_in_twice_the_time() {
        let mut machine = Machine::new();
        machine.now();
        machine.wall = machine.wall.plus(Duration::from_secs(HOUR));
        assert_eq!(machine.now(), machine.wall);
        machine.wall = machine.wall.minus(Duration::from_secs(HOUR));
        for _ in 0..2 * HOUR {
            assert!(machine.passes(1) >= machine.wall);
        }
        assert_eq!(machine.now(), machine.wall, "it has caught up");
        assert_eq!(machine.passes(7), machine.wall);
        // And again, from where it is by then.
        let last = machine.now();
        machine.wall = machine.wall.minus(Duration::from_secs(HOUR));
        assert_eq!(machine.now(), last);
        assert_eq!(machine.passes(10), last.plus(Duration::from_secs(5)));
    }

    #[test]
    fn t279_the_first_and_the_last_of_times_are_told_like_any_other() {
        let mut machine = Machine::new();
        machine.wall = Timestamp::EPOCH;
        assert_eq!(machine.now(), Timestamp::EPOCH);
        machine.wall = Timestamp::FAR;
        assert_eq!(machine.now(), Timestamp::FAR);
        machine.wall = Timestamp::EPOCH;
        assert_eq!(machine.passes(HOUR), Timestamp::FAR);
    }

    #[test]
    fn t279_all_threads_see_one_course() {
        let clock = SystemClock::start();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = clock.now();
                    for _ in 0..20_000 {
                        let now = clock.now();
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
        });
    }
}
