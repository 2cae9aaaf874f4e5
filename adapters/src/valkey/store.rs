//! The two verbs of the port, on servers.

use super::counts::{Asked, Came};
use super::link::{Answered, Batch, Failure};
use super::near_cache::Wanted;
use super::nodes::{Lane, Node};
use super::outcome::{Meaning, is_redirection, meaning};
use super::refusal::{Refusal, quoted};
use super::resp::{Value, command};
use super::script::{Call, LANDED, Sealed, first};
use super::{Inner, Valkey};
use portcullis_domain::fresh::Stamp;
use portcullis_domain::hash;
use portcullis_domain::key::Key;
use portcullis_domain::operation::{Fact, Facts, Keys, Landed, Write};
use portcullis_domain::record::{Record, Sealer};
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Clock, Entropy, Outcome, Seen, Store, Unavailable};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Instant;
use tokio::sync::oneshot;

impl Store for Valkey {
    async fn load(&self, keys: Keys) -> Result<Facts, Unavailable> {
        let (begun, inner) = (Instant::now(), &self.0);
        let read = if inner.is_admitted() { inner.read(&keys).await } else { Err(NoReading::Away) };
        if let Ok(facts) = &read {
            // A commit whose outcome nobody knew may be found here: what is near by must not say anything else from now on.
            inner.near.cache.seen(facts);
        }
        inner.counts.count(Asked::Load, came_of(&read), begun.elapsed());
        read.map_err(|_| Unavailable)
    }

    async fn recall(&self, keys: Keys) -> Result<Facts, Unavailable> {
        let (begun, inner) = (Instant::now(), &self.0);
        let read = if inner.is_admitted() { self.read_to_keep(&keys).await } else { Err(NoReading::Away) };
        let remembered = match &read {
            Err(NoReading::Lost | NoReading::Away) if inner.is_admitted() => {
                inner.near.cache.stale(&keys, inner.near.now())
            }
            _ => None,
        };
        let came = if remembered.is_some() { Came::Remembered } else { came_of(&read) };
        inner.counts.count(Asked::Recall, came, begun.elapsed());
        read.ok().or(remembered).ok_or(Unavailable)
    }

    fn at_hand(&self, keys: &Keys) -> Option<Facts> {
        if self.0.is_admitted() { self.0.near.cache.at_hand(keys, self.0.near.now()) } else { None }
    }

    async fn commit(&self, seen: Seen, writes: Vec<Write>) -> Outcome {
        let (begun, inner) = (Instant::now(), &self.0);
        let outcome = if inner.is_admitted() {
            // Until the outcome is known, and then again, before anybody hears of it.
            let _barred = inner.near.cache.barred(writes.iter().map(|write| write.key));
            inner.write(&inner.sealer, &seen, writes).await
        } else {
            Outcome::Away
        };
        let came = match outcome {
            Outcome::Landed(_) => Came::Landed,
            Outcome::Stale => Came::Stale,
            Outcome::Full => Came::Full,
            Outcome::Away => Came::Away,
            Outcome::Undurable => Came::Undurable,
            Outcome::Unknown => Came::Unknown,
        };
        inner.counts.count(Asked::Commit, came, begun.elapsed());
        outcome
    }
}

fn came_of(read: &Result<Facts, NoReading>) -> Came {
    match read {
        Ok(_) => Came::Read,
        Err(NoReading::Lost) => Came::Lost,
        Err(NoReading::Away) => Came::Away,
        Err(NoReading::Damaged) => Came::Damaged,
    }
}

/// Why a reading came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoReading {
    /// The connection ended before the answer.
    Lost,
    /// The store does not answer now.
    Away,
    /// What it says cannot be believed.
    Damaged,
}

impl Valkey {
    /// Reads for a question, and keeps what comes.
    async fn read_to_keep(&self, keys: &Keys) -> Result<Facts, NoReading> {
        let (parts, wanted) = (self.0.parts(keys), Arc::new(self.0.near.cache.want(keys)));
        joined(together(parts.iter().map(|part| self.recall_part(*part, &wanted))).await)
    }

    /// Reads keys that one server has, for a question.
    async fn recall_part(&self, keys: Keys, wanted: &Arc<Wanted>) -> Result<Facts, NoReading> {
        let Self(inner) = self;
        let partition = keys.iter().next().ok_or(NoReading::Damaged)?.partition();
        let batch = inner.reading(&keys).map_err(|Unavailable| NoReading::Damaged)?;
        let mut read = Err(NoReading::Lost);
        for _ in 0..2 {
            let node = inner.keeper(partition).ok_or(NoReading::Away)?;
            read = self.read_near(node, keys, batch.clone(), wanted).await;
            // A reading changes nothing: one whose connection has died is made once more on the next.
            if !matches!(read, Err(NoReading::Lost)) {
                break;
            }
        }
        match read {
            // It is looked for where the slot is by now, or is on its way to: that is used once, and not kept.
            Err(NoReading::Lost | NoReading::Away) if inner.cluster.is_some() => {
                let answered = inner.ask(partition, Lane::Questions, batch).await;
                inner.facts(&inner.sealer, &keys, answered, Lane::Questions)
            }
            read => read,
        }
    }

    /// Reads over the link on which the server tells of changes, and keeps what comes for as long as it does not change.
    async fn read_near(&self, node: Node, keys: Keys, batch: Batch, wanted: &Arc<Wanted>) -> Result<Facts, NoReading> {
        let (caller, answer) = oneshot::channel();
        let (inner, wanted, watch) = (Arc::clone(&self.0), Arc::clone(wanted), Arc::clone(node.watch()));
        node.link(Lane::Questions).send_then(batch, move |answered| {
            let facts = match &answered {
                Ok(Answered { value, .. }) if is_redirection(value) => Err(NoReading::Away),
                _ => inner.facts(&inner.sealer, &keys, answered, Lane::Questions),
            };
            if let (Ok(facts), Some(line)) = (&facts, watch.line()) {
                for (key, fact) in facts.iter() {
                    inner.near.cache.arrived(&line, &wanted, key, fact);
                }
            }
            // Whoever asked may be gone: what was read is kept all the same.
            drop(caller.send(facts));
        });
        answer.await.unwrap_or(Err(NoReading::Lost))
    }
}

impl Inner {
    /// Whether this gate may use the store: its ring has been compared with the store's.
    fn is_admitted(&self) -> bool {
        self.admitted.load(Relaxed)
    }

    /// The server's name of a key.
    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What is asked of each server at once: in a cluster, each partition is on a node of its own.
    fn parts(&self, keys: &Keys) -> Vec<Keys> {
        if self.cluster.is_none() {
            return vec![*keys];
        }
        let mut parts: Vec<Keys> = Vec::new();
        for key in keys.iter() {
            match parts.iter_mut().find(|part| part.partition() == Some(key.partition())) {
                Some(part) => *part = part.and(Some(*key)),
                None => parts.push(Keys::of([*key])),
            }
        }
        parts
    }

    /// Reads keys, each where it is; none waits for the others.
    async fn read(&self, keys: &Keys) -> Result<Facts, NoReading> {
        let parts = self.parts(keys);
        joined(together(parts.iter().map(|part| self.read_part(&self.sealer, part))).await)
    }

    /// Reads keys that one server has.
    async fn read_part(&self, sealer: &Sealer, keys: &Keys) -> Result<Facts, NoReading> {
        let batch = self.reading(keys).map_err(|Unavailable| NoReading::Damaged)?;
        let partition = keys.iter().next().ok_or(NoReading::Damaged)?.partition();
        // A reading changes nothing: one whose connection has died is made once more on the next.
        let answered = match self.ask(partition, Lane::Operations, batch.clone()).await {
            Err(Failure::Lost) => self.ask(partition, Lane::Operations, batch).await,
            answered => answered,
        };
        self.facts(sealer, keys, answered, Lane::Operations)
    }

    /// The command that reads these keys.
    fn reading(&self, keys: &Keys) -> Result<Batch, Unavailable> {
        let names: Vec<String> = keys.iter().map(|key| self.name(key)).collect();
        let parts: Vec<&[u8]> = std::iter::once(b"MGET".as_slice()).chain(names.iter().map(String::as_bytes)).collect();
        if names.is_empty() { Err(Unavailable) } else { Ok(Batch::one(command(&parts))) }
    }

    /// What its answer says.
    fn facts(
        &self,
        sealer: &Sealer,
        keys: &Keys,
        answered: Result<Answered, Failure>,
        lane: Lane,
    ) -> Result<Facts, NoReading> {
        let Answered { value, epoch } = answered.map_err(|failure| match failure {
            Failure::Lost => NoReading::Lost,
            Failure::NotSent | Failure::OtherEpoch => NoReading::Away,
        })?;
        let values = match &value {
            Value::List(values) if values.len() == keys.len() => values,
            Value::Error(said) => {
                self.refused(said, lane);
                return Err(NoReading::Away);
            }
            _ => return Err(NoReading::Damaged),
        };
        let mut facts = Facts::new(epoch);
        for (key, value) in keys.iter().zip(values) {
            facts.add(*key, self.fact(sealer, key, value).map_err(|Unavailable| NoReading::Damaged)?);
        }
        Ok(facts)
    }

    fn fact(&self, sealer: &Sealer, key: &Key, value: &Value) -> Result<Fact, Unavailable> {
        match value {
            Value::Null => Ok(Fact::Absent),
            Value::Text(bytes) => sealer.open(key, bytes).map_err(|_| {
                if self.said_damaged.may() {
                    tracing::error!(name = %self.name(key), "a record of the store is damaged, or somebody has moved it");
                }
                Unavailable
            }),
            _ => Err(Unavailable),
        }
    }

    async fn write(&self, sealer: &Sealer, seen: &Seen, writes: Vec<Write>) -> Outcome {
        let Some(partition) = writes.first().map(|write| write.key.partition()) else {
            return Outcome::Landed(Landed { acknowledged: 0 });
        };
        let now = self.clock.now();
        let durable = self.wait > 0 && writes.iter().any(|write| write.durable);
        let Some(sealed) = seal(sealer, seen, &writes, now) else { return Outcome::Full };
        let wait = durable.then_some(self.wait);
        let lane = if durable { Lane::Durable } else { Lane::Operations };
        let call = Call::new(seen, sealed, now, |key| self.name(key), wait);
        let mut answered = self.ask(partition, lane, call.short()).await;
        if let Ok(Answered { value, .. }) = &answered
            && let Value::Error(said) = first(value)
            && meaning(said) == Meaning::Unseen
        {
            answered = self.ask(partition, lane, call.long()).await;
        }
        match answered {
            Ok(Answered { value, .. }) => self.outcome(&value, lane),
            Err(Failure::NotSent) => Outcome::Away,
            Err(Failure::Lost) => Outcome::Unknown,
            Err(Failure::OtherEpoch) => Outcome::Stale,
        }
    }

    fn outcome(&self, value: &Value, lane: Lane) -> Outcome {
        match first(value) {
            Value::Text(said) if said == LANDED => match (self.wait, value) {
                (wanted, Value::List(answers)) => {
                    let acknowledged =
                        answers.last().and_then(Value::number).and_then(|count| u32::try_from(count).ok());
                    match acknowledged {
                        Some(acknowledged) if acknowledged >= wanted => Outcome::Landed(Landed { acknowledged }),
                        _ => Outcome::Undurable,
                    }
                }
                _ => Outcome::Landed(Landed { acknowledged: 0 }),
            },
            Value::Text(said) if said == b"STALE" => Outcome::Stale,
            Value::Text(said) if said == b"EPOCH" => {
                // The connection learns of it within a moment, and by then this is decided anew.
                self.probe(lane);
                Outcome::Stale
            }
            Value::Error(said) => {
                self.refused(said, lane);
                if meaning(said) == Meaning::Full { Outcome::Full } else { Outcome::Away }
            }
            // Something else has carried the script out: whether it has, nobody knows.
            _ => Outcome::Unknown,
        }
    }

    /// What follows from an error beyond the answer to whoever asked.
    fn refused(&self, said: &[u8], lane: Lane) {
        match meaning(said) {
            Meaning::Elsewhere => self.leave(lane),
            Meaning::Full | Meaning::Away | Meaning::Wrong if self.said_refused.may() => {
                tracing::error!(
                    said = quoted(said),
                    "the store refuses what it is asked; docs/valkey.md says what to do"
                );
            }
            Meaning::Full | Meaning::Away | Meaning::Wrong | Meaning::Unseen => {}
        }
    }

    /// Compares the master keys of this sealer with those that the store was begun with.
    ///
    /// A ring that opens the store's check shares a key with the ring that wrote it, as during a rotation, and leaves its own
    /// check behind.
    pub(super) async fn compare_rings(&self, sealer: &Sealer, claim: Claim) -> Result<(), Refusal> {
        let unreachable = || Refusal::Unreachable("it does not answer".to_owned());
        let (keys, checks) = (Keys::of([Key::RingCheck]), sealer.checks(self.clock.now()));
        for _ in 0..RING_ROUNDS {
            let facts = self.read_part(sealer, &keys).await.map_err(|_| unreachable())?;
            match facts.of(&Key::RingCheck) {
                Ok(Fact::Unreadable(_)) => return Err(Refusal::OtherRing),
                Ok(Fact::Found(stored)) if is_check(&stored.record, &checks) => return Ok(()),
                Ok(Fact::Found(_) | Fact::Absent) if claim == Claim::No => return Ok(()),
                Ok(Fact::Found(_) | Fact::Absent) => {}
                Err(_) => return Err(unreachable()),
            }
            let stamp =
                self.entropy.draw().map_err(|_| Refusal::Error("the system gives no random bytes".to_owned()))?;
            let write = Write {
                key: Key::RingCheck,
                stamp: Stamp(hash::first(stamp.expose())),
                until: Timestamp::FAR,
                record: Arc::new(Record::RingCheck(checks.clone())),
                durable: false,
            };
            match self.write(sealer, &Seen::of(&facts), vec![write]).await {
                Outcome::Landed(_) => return Ok(()),
                Outcome::Stale | Outcome::Unknown => {}
                Outcome::Full | Outcome::Away | Outcome::Undurable => return Err(unreachable()),
            }
        }
        Err(unreachable())
    }
}

/// Nothing if one of them is too large for any store.
fn seal(sealer: &Sealer, seen: &Seen, writes: &[Write], now: Timestamp) -> Option<Vec<Sealed>> {
    let seal = |write: &Write| {
        let place = seen.iter().position(|(key, _)| *key == write.key)?.checked_add(1)?;
        let bytes = sealer.seal(write, now).ok()?;
        Some(Sealed { place, until: write.until, bytes })
    };
    writes.iter().map(seal).collect()
}

/// All of it, or why a part of it is missing. The first part's epoch is that of all: nothing lands but what was seen in the
/// partition that was asked for first.
fn joined(parts: Vec<Result<Facts, NoReading>>) -> Result<Facts, NoReading> {
    let mut parts = parts.into_iter();
    let mut facts = parts.next().ok_or(NoReading::Damaged)??;
    for part in parts {
        facts.join(part?);
    }
    Ok(facts)
}

/// All answers, in the order of the questions, which wait side by side.
async fn together<T>(asked: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = asked.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        for (future, answer) in &mut waiting {
            if answer.is_none()
                && let Poll::Ready(came) = future.as_mut().poll(cx)
            {
                *answer = Some(came);
            }
        }
        if waiting.iter().all(|(_, answer)| answer.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// Whether the check of this gate's ring is left in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Yes,
    /// Whoever only looks leaves nothing behind.
    No,
}

/// How often the check of the rings is tried while other gates begin at the same moment.
const RING_ROUNDS: usize = 8;

fn is_check(record: &Record, checks: &[[u8; 16]]) -> bool {
    matches!(record, Record::RingCheck(found) if found == checks)
}
