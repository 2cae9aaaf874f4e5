//! How many calls wait for a provider at a time, and when it is not asked because it does not answer.
//!
//! ```text
//!            PROVIDER_FAILURES_MAX calls in a row without an answer
//!   asked ────────────────────────────────────────────────────────► left alone for a pause
//!     ▲                                                               │        ▲
//!     │ answered                                                      ▼        │ not answered
//!     └─────────────────────────────────────────────────────── one call at a time
//! ```
//!
//! A provider that hangs would otherwise hold everybody who logs in for as long as a call may take, and a task and a connection for each
//! of them. Whoever is not let through is told so at once, and no session is touched: a refusal here is never one by the provider.

use portcullis_domain::limits::{PROVIDER_CALLS_MAX, PROVIDER_FAILURES_MAX};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is known of the calls to one provider.
pub(super) struct Patience {
    state: Mutex<State>,
    pause: Duration,
}

#[derive(Default)]
struct State {
    /// Calls under way.
    waiting: usize,
    /// Calls without an answer since the last one with one.
    failures: u32,
    /// Until when it is left alone.
    until: Option<Instant>,
    /// Somebody is finding out whether it answers again.
    probing: bool,
}

/// Why no call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many wait already.
    Crowded,
    /// It has not answered for a while.
    LeftAlone,
}

/// One call that may be made. Dropped without a word, because whoever wanted it has left, it says nothing about the provider.
pub(super) struct Call<'a> {
    patience: &'a Patience,
    probe: bool,
}

impl Patience {
    pub(super) fn new(pause: Duration) -> Self {
        Self { state: Mutex::default(), pause }
    }

    /// Lets a call through.
    pub(super) fn enter(&self, now: Instant) -> Result<Call<'_>, Refused> {
        let mut state = self.state();
        let probe = state.failures >= PROVIDER_FAILURES_MAX;
        if probe && (state.probing || state.until.is_some_and(|until| now < until)) {
            return Err(Refused::LeftAlone);
        }
        if state.waiting >= PROVIDER_CALLS_MAX {
            return Err(Refused::Crowded);
        }
        state.waiting = state.waiting.saturating_add(1);
        state.probing |= probe;
        drop(state);
        Ok(Call { patience: self, probe })
    }

    /// A state is whole after every step of its change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// The provider has answered, whatever it said.
    pub(super) fn answered(self) {
        let mut state = self.patience.state();
        state.failures = 0;
        state.until = None;
    }

    /// It has not. True for the one with which it begins to be left alone.
    pub(super) fn unanswered(self, now: Instant) -> bool {
        let mut state = self.patience.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= PROVIDER_FAILURES_MAX {
            state.until = now.checked_add(self.patience.pause);
        }
        state.failures == PROVIDER_FAILURES_MAX
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.patience.state();
        state.waiting = state.waiting.saturating_sub(1);
        state.probing &= !self.probe;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn fail(patience: &Patience, now: Instant) -> Option<bool> {
        patience.enter(now).ok().map(|call| call.unanswered(now))
    }

    #[test]
    fn t201_after_so_many_silences_one_at_a_time_finds_out_whether_it_answers() {
        let (patience, begin) = (Patience::new(PAUSE), Instant::now());
        for number in 1..=PROVIDER_FAILURES_MAX {
            assert_eq!(fail(&patience, begin), Some(number == PROVIDER_FAILURES_MAX), "{number}");
        }
        assert_eq!(patience.enter(begin).err(), Some(Refused::LeftAlone));
        let (later, much_later) = (begin + PAUSE, begin + PAUSE * 2);
        let probe = patience.enter(later).ok().unwrap();
        assert_eq!(patience.enter(later).err(), Some(Refused::LeftAlone), "one finds out for all");
        drop(probe);
        assert_eq!(fail(&patience, later), Some(false), "one who has left has found out nothing");
        assert_eq!(patience.enter(later).err(), Some(Refused::LeftAlone), "another pause");
        patience.enter(much_later).ok().unwrap().answered();
        for _ in 1..PROVIDER_FAILURES_MAX {
            assert_eq!(fail(&patience, much_later), Some(false), "the count begins anew");
        }
        assert!(patience.enter(much_later).is_ok());
    }

    #[test]
    fn t250_so_many_wait_and_no_more() {
        let (patience, now) = (Patience::new(PAUSE), Instant::now());
        let mut calls: Vec<Call<'_>> = (0..PROVIDER_CALLS_MAX).map(|_| patience.enter(now).ok().unwrap()).collect();
        assert_eq!(patience.enter(now).err(), Some(Refused::Crowded));
        calls.pop();
        assert!(patience.enter(now).is_ok());
    }
}
