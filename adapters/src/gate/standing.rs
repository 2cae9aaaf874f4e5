//! Answers that are still open, asked again and again whether their session stands.
//!
//! Every admitted request is put down here; most are answered, and forgotten, before anybody looks. What is still open after
//! [`STANDING_STEPS`] is asked about, from memory, and closed when its session has ended: connection, upstream and all. One
//! task per core goes through its answers in small steps, so that many of them never hold up a request.

use super::Gate;
use crate::http::Sever;
use portcullis_domain::limits::{STANDING_STEP, STANDING_STEPS};
use portcullis_domain::oauth::fault::Fault;
use portcullis_ports::World;
use portcullis_ports::gateway::Bearer;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// One core's open answers, in the order in which they are due.
#[derive(Default)]
pub(crate) struct Standing {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    step: u64,
    answers: VecDeque<Answer>,
}

/// An answer that was begun.
struct Answer {
    bearer: Bearer,
    overrun: Duration,
    sever: Sever,
    due: u64,
    /// Since when the store has not said anything.
    unheard: Option<Instant>,
}

/// What ended open answers, counted.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    session: AtomicU64,
    token: AtomicU64,
    store: AtomicU64,
}

impl Ended {
    /// The counts with their labels.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        [("session", &self.session), ("token", &self.token), ("store", &self.store)]
            .map(|(name, count)| (name, count.load(Relaxed)))
    }

    fn count(&self, fault: Fault) {
        let count = match fault {
            Fault::TokenExpired => &self.token,
            Fault::StoreUnavailable => &self.store,
            _ => &self.session,
        };
        count.fetch_add(1, Relaxed);
    }
}

impl Standing {
    /// A list that is gone through for as long as somebody holds it. To be called inside the core's runtime.
    pub(crate) fn watched<W: World>(gate: &Arc<Gate<W>>) -> Arc<Self> {
        let standing = Arc::new(Self::default());
        tokio::spawn(go_through(Arc::downgrade(&standing), Arc::clone(gate)));
        standing
    }

    /// Puts down an answer that is about to begin. It may go on for `overrun` after its token's own end.
    pub(crate) fn begin(&self, bearer: Bearer, overrun: Duration, sever: Sever) {
        let mut open = self.open();
        // Most are over a moment later. For each that comes two of those go, so that what they hold does not wait for its step.
        for _ in 0..2 {
            let _ = open.answers.pop_front_if(|answer| !answer.sever.is_open());
        }
        let due = open.due();
        open.answers.push_back(Answer { bearer, overrun, sever, due, unheard: None });
    }

    /// The answers that are due now and still open. Those that have ended are forgotten.
    fn step(&self) -> Vec<Answer> {
        let mut open = self.open();
        open.step = open.step.saturating_add(1);
        let step = open.step;
        let mut due = Vec::new();
        while let Some(answer) = open.answers.pop_front_if(|answer| answer.due <= step) {
            if answer.sever.is_open() {
                due.push(answer);
            }
        }
        due
    }

    fn keep(&self, answers: impl Iterator<Item = Answer>) {
        let mut open = self.open();
        let due = open.due();
        open.answers.extend(answers.map(|answer| Answer { due, ..answer }));
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn due(&self) -> u64 {
        self.step.saturating_add(u64::from(STANDING_STEPS))
    }
}

/// Answers that are asked about before others on the core have their turn: some tens of microseconds.
const SLICE: usize = 64;

async fn go_through<W: World>(standing: Weak<Standing>, gate: Arc<Gate<W>>) {
    let mut interval = tokio::time::interval(STANDING_STEP);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(standing) = standing.upgrade() else { return };
        let mut due = standing.step();
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(SLICE));
            standing.keep(due.into_iter().filter_map(|answer| judge(&gate, &standing, answer)));
            due = rest;
            tokio::task::yield_now().await;
        }
    }
}

/// The answer, if it may go on. Where the store has to be asked for that, it comes back by itself.
fn judge<W: World>(gate: &Arc<Gate<W>>, standing: &Arc<Standing>, answer: Answer) -> Option<Answer> {
    if let Some(verdict) = gate.gateway.stands_at_hand(&answer.bearer, answer.overrun) {
        return conclude(gate, answer, verdict);
    }
    let (gate, standing) = (Arc::clone(gate), Arc::clone(standing));
    tokio::spawn(async move {
        let verdict = gate.gateway.stands(&answer.bearer, answer.overrun).await;
        standing.keep(conclude(&gate, answer, verdict).into_iter());
    });
    None
}

fn conclude<W: World>(gate: &Gate<W>, answer: Answer, verdict: Result<(), Fault>) -> Option<Answer> {
    let fault = match verdict {
        Ok(()) => return Some(Answer { unheard: None, ..answer }),
        Err(Fault::StoreUnavailable) => {
            let since = answer.unheard.unwrap_or_else(Instant::now);
            if since.elapsed() < gate.streams.stale_for {
                return Some(Answer { unheard: Some(since), ..answer });
            }
            Fault::StoreUnavailable
        }
        Err(fault) => fault,
    };
    gate.metrics.ended.count(fault);
    answer.sever.close();
    None
}
