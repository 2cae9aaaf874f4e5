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
//! of them; one that is overrun would be asked as often as there are people. Whoever is not let through is told so at once, and no session
//! is touched: a refusal here is never one by the provider.

use crate::exposition::Exposition;
use crate::pace::jittered;
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
    counted: Counted,
}

/// Calls so far, by what came of them.
#[derive(Clone, Copy, Default)]
struct Counted {
    answered: u64,
    unanswered: u64,
    crowded: u64,
    left_alone: u64,
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
            state.counted.left_alone = state.counted.left_alone.saturating_add(1);
            return Err(Refused::LeftAlone);
        }
        if state.waiting >= PROVIDER_CALLS_MAX {
            state.counted.crowded = state.counted.crowded.saturating_add(1);
            return Err(Refused::Crowded);
        }
        state.waiting = state.waiting.saturating_add(1);
        state.probing |= probe;
        drop(state);
        Ok(Call { patience: self, probe })
    }

    /// Writes how many wait, what came of the others, and whether it is left alone.
    pub(super) fn write_metrics(&self, page: &mut Exposition) {
        let state = self.state();
        let (waiting, left_alone) = (state.waiting, state.failures >= PROVIDER_FAILURES_MAX);
        let Counted { answered, unanswered, crowded, left_alone: not_asked } = state.counted;
        drop(state);
        page.gauge("provider_calls_waiting", "Calls of logins and renewals that wait for the provider.").is(waiting);
        let mut calls =
            page.counter("provider_calls_total", "Calls of logins and renewals to the provider, by what came of them.");
        for (outcome, count) in
            [("answered", answered), ("unanswered", unanswered), ("crowded", crowded), ("left_alone", not_asked)]
        {
            calls.of(&[("outcome", outcome)], count);
        }
        page.gauge("provider_left_alone", "Whether the provider is left alone because it does not answer.")
            .is(u8::from(left_alone));
    }

    /// A state is whole after every step of its change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// The provider has answered, whatever it said. True for the one with which it is not left alone any more.
    pub(super) fn answered(self) -> bool {
        let mut state = self.patience.state();
        let again = state.failures >= PROVIDER_FAILURES_MAX;
        state.failures = 0;
        state.until = None;
        state.counted.answered = state.counted.answered.saturating_add(1);
        again
    }

    /// It has not. True for the one with which it begins to be left alone.
    pub(super) fn unanswered(self, now: Instant) -> bool {
        let mut state = self.patience.state();
        state.failures = state.failures.saturating_add(1);
        state.counted.unanswered = state.counted.unanswered.saturating_add(1);
        if state.failures >= PROVIDER_FAILURES_MAX {
            // Not all replicas find out at one moment.
            state.until = now.checked_add(jittered(self.patience.pause));
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
        assert!(patience.enter(begin + PAUSE * 3 / 4).is_err());
        let (later, much_later) = (begin + PAUSE * 6 / 5, begin + PAUSE * 12 / 5);
        let probe = patience.enter(later).ok().unwrap();
        assert_eq!(patience.enter(later).err(), Some(Refused::LeftAlone), "one finds out for all");
        drop(probe);
        assert_eq!(fail(&patience, later), Some(false), "one who has left has found out nothing");
        assert_eq!(patience.enter(later).err(), Some(Refused::LeftAlone), "another pause");
        assert!(patience.enter(much_later).ok().unwrap().answered(), "it is not left alone any more");
        assert!(!patience.enter(much_later).ok().unwrap().answered());
        let mut page = Exposition::default();
        patience.write_metrics(&mut page);
        let text = page.into_text();
        for line in [
            "portcullis_provider_calls_waiting 0\n",
            "portcullis_provider_calls_total{outcome=\"answered\"} 2\n",
            "portcullis_provider_calls_total{outcome=\"unanswered\"} 6\n",
            "portcullis_provider_calls_total{outcome=\"left_alone\"} 4\n",
            "portcullis_provider_left_alone 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
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
