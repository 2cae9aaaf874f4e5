//! Drives an [`Operation`]: load, decide, commit, and only then the reply.
//!
//! ```text
//!         ┌──────────────────────────────── Stale: take the partition's turnstile ──┐
//!         ▼                                                                          │
//!   load own ──► mine landed? ──► consult ──► decide ──┬─ Commit ──► commit ─────────┤
//!         ▲          │ yes                             │               │ Landed      │ Unknown: remember
//!         │          ▼                                 ▼               ▼             │ stamps and reply
//!         │     that reply                          Answer        this reply         │
//!         └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What is to be on replicas before it is acknowledged, and was found that way, is written once more: nobody has said that they have
//! it.
//!
//! The loser of a race decides again on new facts, and finds in them what it has become: a replay, a repetition, a refusal. A
//! round whose outcome is unknown is remembered with its stamps: if one of them turns up in a later load, that round landed,
//! and its reply is the answer. The whole drive runs detached, so a caller that hangs up neither interrupts a commit nor keeps
//! an event from the journal.

use crate::deadline::within;
use crate::{Clock, Entropy, Journal, Outcome, Seen, Store, Tasks, Turnstiles, World};
use portcullis_domain::fresh::Fresh;
use portcullis_domain::journal::Event;
use portcullis_domain::limits::{TRANSACT_DEADLINE, UNKNOWN_PAUSE};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::operation::{Decision, Facts, Keys, Landed, Operation, Sealed, Write};
use portcullis_domain::secret::Secret;
use portcullis_domain::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Carries a state change out, and answers.
///
/// # Errors
/// Whatever the operation refuses with; [`Fault::StoreUnavailable`], [`Fault::Contended`] or [`Fault::Full`] if it could not be
/// carried out in time. After [`Fault::StoreUnavailable`] it may or may not have happened.
pub async fn transact<W: World, O: Operation>(world: &Arc<W>, operation: O) -> Result<O::Reply, Fault> {
    let driver = Driver::new(Arc::clone(world), operation);
    let driven = world.tasks().run(async move { driver?.drive().await });
    driven.await.unwrap_or(Err(Fault::Internal("a state change did not come to its end")))
}

struct Driver<W: World, O: Operation> {
    world: Arc<W>,
    operation: O,
    keys: Keys,
    drawn: Secret<32>,
    deadline: Duration,
    /// Rounds that may have landed.
    unknown: Vec<Round<O::Reply>>,
}

/// One round's commit, as it is remembered.
struct Round<R> {
    writes: Vec<Write>,
    reply: Sealed<Result<R, Fault>>,
    events: Vec<Event>,
    at: Timestamp,
}

/// What a round came to.
enum Turn<R> {
    Done(Result<R, Fault>),
    Stale,
    Unknown,
}

impl<W: World, O: Operation> Driver<W, O> {
    fn new(world: Arc<W>, operation: O) -> Result<Self, Fault> {
        let keys = operation.reads();
        keys.partition().ok_or(Fault::Internal("an operation reads one partition"))?;
        let drawn = world.entropy().draw().map_err(|_| Fault::Internal("no randomness to be had"))?;
        let deadline = world.clock().monotonic().saturating_add(TRANSACT_DEADLINE);
        Ok(Self { world, operation, keys, drawn, deadline, unknown: Vec::new() })
    }

    async fn drive(mut self) -> Result<O::Reply, Fault> {
        let world = Arc::clone(&self.world);
        let mut pass = None;
        let mut round = 0_u32;
        while world.clock().monotonic() < self.deadline {
            match self.turn(round).await? {
                Turn::Done(reply) => return reply,
                Turn::Stale if pass.is_none() => {
                    let partition = self.keys.partition().ok_or(Fault::Internal("an operation reads one partition"))?;
                    pass = within(world.clock(), self.deadline, world.turnstiles().enter(partition)).await;
                }
                Turn::Stale => {}
                Turn::Unknown => world.clock().sleep(UNKNOWN_PAUSE).await,
            }
            round = round.saturating_add(1);
        }
        if self.unknown.is_empty() {
            return Err(Fault::Contended);
        }
        Err(self.in_doubt())
    }

    async fn turn(&mut self, round: u32) -> Result<Turn<O::Reply>, Fault> {
        let world = Arc::clone(&self.world);
        // Before anything is read: what begins now must not look younger than a cut that it could not see.
        let now = world.clock().now();
        let Some(own) = load(&*world, self.deadline, self.keys).await else { return self.unavailable() };
        let fresh = Fresh::new(&self.drawn, round);
        if let Some(landed) = self.landed(&own) {
            return self.settle(landed, &own, fresh).await;
        }
        let consults = self.operation.consults(&own);
        let mut facts = own.clone();
        if !consults.is_empty() {
            let Some(consulted) = load(&*world, self.deadline, consults).await else { return self.unavailable() };
            facts.join(consulted);
        }
        match self.operation.decide(&facts, now, &fresh) {
            Decision::Answer { reply, events } => {
                self.note(now, &events);
                Ok(Turn::Done(reply))
            }
            Decision::Commit { writes, reply, events } => {
                self.check(&writes)?;
                let commit = world.store().commit(Seen::of(&own), writes.clone());
                match within(world.clock(), self.deadline, commit).await {
                    Some(Outcome::Landed(landed)) => {
                        self.note(now, &events);
                        Ok(Turn::Done(reply.open(&landed)))
                    }
                    Some(Outcome::Stale) => Ok(Turn::Stale),
                    Some(Outcome::Full) if self.unknown.is_empty() => Err(Fault::Full),
                    Some(Outcome::Full) => Err(self.in_doubt()),
                    Some(Outcome::Away) => self.unavailable(),
                    // It has happened, and nobody may rely on its lasting: whoever asks again finds it done, or does it again.
                    Some(Outcome::Undurable) => {
                        self.note(now, &events);
                        Err(Fault::StoreUnavailable)
                    }
                    Some(Outcome::Unknown) | None => {
                        self.unknown.push(Round { writes, reply, events, at: now });
                        Ok(Turn::Unknown)
                    }
                }
            }
        }
    }

    /// The store does not answer: the end of it, unless a commit is still in doubt, whose reply may yet be found.
    const fn unavailable(&self) -> Result<Turn<O::Reply>, Fault> {
        if self.unknown.is_empty() { Err(Fault::StoreUnavailable) } else { Ok(Turn::Unknown) }
    }

    /// The end of it, with commits that may have landed: the journal is told of them, and that they are in doubt.
    fn in_doubt(&mut self) -> Fault {
        // All of them are rounds of one state change: at most one has landed, and one line is enough to say so.
        if let Some(Round { events, at, .. }) = self.unknown.pop() {
            let events: Vec<Event> = events.into_iter().map(Event::in_doubt).collect();
            self.note(at, &events);
        }
        Fault::StoreUnavailable
    }

    /// The round in doubt whose stamp stands in the store.
    fn landed(&mut self, own: &Facts) -> Option<Round<O::Reply>> {
        let seen = Seen::of(own);
        let place = self.unknown.iter().position(|round| round.writes.iter().any(|write| stands(write, &seen)))?;
        let mut round = self.unknown.swap_remove(place);
        self.note(round.at, &std::mem::take(&mut round.events));
        Some(round)
    }

    /// Answers with the reply of a round that has landed, as soon as what is to last is known to.
    async fn settle(&mut self, mut round: Round<O::Reply>, own: &Facts, fresh: Fresh) -> Result<Turn<O::Reply>, Fault> {
        let seen = Seen::of(own);
        let lasting = round.writes.iter().filter(|write| write.durable && stands(write, &seen));
        let again: Vec<Write> =
            lasting.map(|write| Write { stamp: fresh.stamp(&write.key), ..write.clone() }).collect();
        if again.is_empty() {
            return Ok(Turn::Done(round.reply.open(&Landed { acknowledged: 0 })));
        }
        let world = Arc::clone(&self.world);
        let turn = match within(world.clock(), self.deadline, world.store().commit(seen, again.clone())).await {
            Some(Outcome::Landed(landed)) => return Ok(Turn::Done(round.reply.open(&landed))),
            Some(Outcome::Undurable | Outcome::Full | Outcome::Away) => return Err(Fault::StoreUnavailable),
            Some(Outcome::Stale) => Turn::Stale,
            Some(Outcome::Unknown) | None => {
                round.writes.extend(again);
                Turn::Unknown
            }
        };
        self.unknown.push(round);
        Ok(turn)
    }

    /// An operation that writes what it has not read has not been judged on it: our own mistake.
    fn check(&self, writes: &[Write]) -> Result<(), Fault> {
        let read = |write: &Write| self.keys.iter().any(|key| *key == write.key);
        if writes.iter().all(read) { Ok(()) } else { Err(Fault::Internal("an operation writes what it reads")) }
    }

    fn note(&self, at: Timestamp, events: &[Event]) {
        for event in events {
            self.world.journal().note(at, event);
        }
    }
}

/// Whether what was written is what is there.
fn stands(write: &Write, seen: &Seen) -> bool {
    seen.iter().any(|(found, at)| *found == write.key && at == Some(write.stamp))
}

async fn load<W: World>(world: &W, deadline: Duration, keys: Keys) -> Option<Facts> {
    within(world.clock(), deadline, world.store().load(keys)).await.and_then(Result::ok)
}
