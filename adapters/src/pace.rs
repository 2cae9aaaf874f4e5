//! How often things are tried and said.

use portcullis_domain::limits;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A fifth more or less, so that the replicas of a gateway do not all ask at once. This is no secret: the seed of a hasher
/// is chance enough.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(()).checked_rem(41).and_then(|share| u32::try_from(share).ok());
    let percent = share.unwrap_or(20).saturating_add(80);
    pause.saturating_mul(percent).checked_div(100).unwrap_or(pause)
}

/// Something that is said once in a while, however often it happens.
#[derive(Debug)]
pub(crate) struct Seldom {
    begin: Instant,
    /// From which second on it may be said again.
    next: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self { begin: Instant::now(), next: AtomicU64::new(0) }
    }
}

impl Seldom {
    /// Whether it is time to say it, which is then done.
    pub(crate) fn may(&self) -> bool {
        self.may_at(self.begin.elapsed().as_secs())
    }

    fn may_at(&self, now: u64) -> bool {
        let next = self.next.load(Relaxed);
        let again = now.saturating_add(limits::COMPLAINT_PAUSE.as_secs());
        now >= next && self.next.compare_exchange(next, again, Relaxed, Relaxed).is_ok()
    }
}

/// Who takes a place that is taken: one in eight of those who come. Where there are more of them than places, each would otherwise lose
/// its own before it is back, and nobody would be found any more.
#[derive(Debug, Default)]
pub(crate) struct Turn(u8);

impl Turn {
    /// How many come for each that takes a place.
    pub(crate) const EVERY: u8 = 8;

    /// One more comes: whether it is the one.
    pub(crate) fn comes(&mut self) -> bool {
        self.0 = self.0.wrapping_add(1) % Self::EVERY;
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_eight_takes_a_place() {
        let mut turn = Turn::default();
        let taken: Vec<usize> = (1..=24).filter(|_| turn.comes()).collect();
        assert_eq!(taken, [8, 16, 24]);
    }

    #[test]
    fn pauses_are_jittered_by_a_fifth() {
        let second = Duration::from_secs(1);
        let pauses: Vec<Duration> = (0..100).map(|_| jittered(second)).collect();
        assert!(pauses.iter().all(|pause| (second * 4 / 5..=second * 6 / 5).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }

    #[test]
    fn what_happens_all_the_time_is_said_once_a_minute() {
        let seldom = Seldom::default();
        let said = (0..=180).filter(|second| seldom.may_at(*second) || seldom.may_at(*second)).collect::<Vec<_>>();
        assert_eq!(said, [0, 60, 120, 180]);
    }
}
