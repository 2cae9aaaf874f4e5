//! The clauses of the store's contract, one function each. They need no runtime of any kind, and a store of their own.
//!
//! Values are marks, told apart by their `until`.

use portcullis_domain::fresh::Stamp;
use portcullis_domain::key::{GrantId, Key, Person};
use portcullis_domain::operation::{Fact, Facts, Keys, Landed, Write};
use portcullis_domain::record::Record;
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Outcome, Seen, Store};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// All clauses that one caller can see.
pub(crate) async fn all(store: &impl Store) {
    what_was_never_written_is_absent(store).await;
    what_landed_is_loaded(store).await;
    a_commit_writes_all(store).await;
    a_commit_writes_nothing_if_anything_seen_has_changed(store).await;
    absence_is_a_version(store).await;
    a_record_that_changed_back_has_changed(store).await;
    what_no_longer_counts_is_still_there(store).await;
    several_partitions_are_read_at_once(store).await;
    an_epoch_lasts(store).await;
    what_was_seen_in_another_epoch_is_stale(store).await;
    commits_are_linearizable(store).await;
    a_partition_is_read_as_one_state(store).await;
}

async fn what_was_never_written_is_absent(store: &impl Store) {
    let facts = load(store, [key(1, 0), key(1, 1)]).await;
    assert!(matches!(facts.of(&key(1, 0)), Ok(Fact::Absent)));
    assert!(matches!(facts.of(&key(1, 1)), Ok(Fact::Absent)));
}

async fn what_landed_is_loaded(store: &impl Store) {
    let facts = load(store, [key(2, 0)]).await;
    let first = write(key(2, 0), 5);
    landed(store, &facts, vec![first.clone()]).await;
    let facts = load(store, [key(2, 0)]).await;
    let Ok(Fact::Found(stored)) = facts.of(&key(2, 0)) else { panic!("what landed is there") };
    assert_eq!((stored.stamp, stored.until), (first.stamp, first.until));
    assert!(matches!(*stored.record, Record::Mark));
    let second = durable(write(key(2, 0), 6));
    landed(store, &facts, vec![second]).await;
    assert_eq!(value(&load(store, [key(2, 0)]).await, &key(2, 0)), Some(6));
}

async fn a_commit_writes_all(store: &impl Store) {
    let keys = [key(3, 0), key(3, 1), key(3, 2)];
    let facts = load(store, keys).await;
    landed(store, &facts, keys.iter().map(|key| write(*key, 7)).collect()).await;
    let facts = load(store, keys).await;
    assert!(keys.iter().all(|key| value(&facts, key) == Some(7)));
}

async fn a_commit_writes_nothing_if_anything_seen_has_changed(store: &impl Store) {
    // The last key is seen and never written: it counts all the same.
    let keys = [key(4, 0), key(4, 1), key(4, 2)];
    for changed in 0..3 {
        let facts = load(store, keys).await;
        landed(store, &facts, vec![write(keys[changed], 100)]).await;
        let before = load(store, keys).await;
        let writes = vec![write(keys[0], 8), write(keys[1], 9)];
        assert_eq!(store.commit(Seen::of(&facts), writes).await, Outcome::Stale);
        let after = load(store, keys).await;
        for key in &keys {
            assert_eq!(stamp(&before, key), stamp(&after, key));
        }
    }
}

async fn absence_is_a_version(store: &impl Store) {
    let facts = load(store, [key(5, 0), key(5, 1)]).await;
    landed(store, &facts, vec![write(key(5, 0), 1)]).await;
    let again = store.commit(Seen::of(&facts), vec![write(key(5, 0), 2)]).await;
    assert_eq!(again, Outcome::Stale, "inserted once");
    let other = store.commit(Seen::of(&facts), vec![write(key(5, 1), 2)]).await;
    assert_eq!(other, Outcome::Stale, "the absence of another record was relied on");
    assert_eq!(value(&load(store, [key(5, 0)]).await, &key(5, 0)), Some(1));
}

async fn a_record_that_changed_back_has_changed(store: &impl Store) {
    let keys = [key(6, 0)];
    let facts = load(store, keys).await;
    landed(store, &facts, vec![write(keys[0], 1)]).await;
    let old = load(store, keys).await;
    landed(store, &old, vec![write(keys[0], 2)]).await;
    let facts = load(store, keys).await;
    landed(store, &facts, vec![write(keys[0], 1)]).await;
    assert_eq!(store.commit(Seen::of(&old), vec![write(keys[0], 3)]).await, Outcome::Stale);
}

async fn what_no_longer_counts_is_still_there(store: &impl Store) {
    let facts = load(store, [key(7, 0)]).await;
    landed(store, &facts, vec![write(key(7, 0), 0)]).await;
    let facts = load(store, [key(7, 0)]).await;
    assert_eq!(value(&facts, &key(7, 0)), Some(0), "the record is the judge, the store is only the broom");
    assert!(matches!(facts.standing(&key(7, 0), Timestamp::from_secs(1)), Ok(None)));
}

async fn several_partitions_are_read_at_once(store: &impl Store) {
    for person in [8, 9] {
        let facts = load(store, [key(person, 0)]).await;
        landed(store, &facts, vec![write(key(person, 0), u64::from(person))]).await;
    }
    let keys = Keys::of([key(8, 0), key(9, 0), key(8, 1)]);
    // For an operation, and for a question.
    for facts in [store.load(keys).await.unwrap(), store.recall(keys).await.unwrap()] {
        assert_eq!((value(&facts, &key(8, 0)), value(&facts, &key(9, 0))), (Some(8), Some(9)));
        assert!(matches!(facts.of(&key(8, 1)), Ok(Fact::Absent)));
    }
}

async fn an_epoch_lasts(store: &impl Store) {
    let first = load(store, [key(10, 0)]).await.epoch();
    let facts = load(store, [key(11, 0)]).await;
    landed(store, &facts, vec![write(key(11, 0), 1)]).await;
    assert_eq!(load(store, [key(10, 0)]).await.epoch(), first);
}

/// A failover that loses writes brings old stamps back; what was decided on them before it must not land after it.
pub(crate) async fn what_was_seen_in_another_epoch_is_stale(store: &impl Store) {
    let facts = load(store, [key(12, 0)]).await;
    let mut other = facts.epoch();
    other.0[0] ^= 1;
    let seen = Seen::of(&Facts::new(other).with(key(12, 0), Fact::Absent));
    assert_eq!(store.commit(seen, vec![write(key(12, 0), 1)]).await, Outcome::Stale);
    assert_eq!(value(&load(store, [key(12, 0)]).await, &key(12, 0)), None);
}

async fn commits_are_linearizable(store: &impl Store) {
    const TASKS: u64 = 8;
    const TIMES: u64 = 5;
    let mut tasks: Vec<Running<'_>> = Vec::new();
    for _ in 0..TASKS {
        tasks.push(Box::pin(increments(store, key(13, 0), TIMES)));
    }
    together(tasks).await;
    let facts = load(store, [key(13, 0)]).await;
    assert_eq!(value(&facts, &key(13, 0)), Some(TASKS * TIMES), "none is lost and none counts twice");
}

async fn a_partition_is_read_as_one_state(store: &impl Store) {
    let mut tasks: Vec<Running<'_>> = vec![Box::pin(pairs(store, 14, 20))];
    for _ in 0..4 {
        tasks.push(Box::pin(pairs_are_equal(store, 14, 20)));
    }
    together(tasks).await;
}

/// Adds one, so many times, starting over whenever somebody else was faster.
pub(crate) async fn increments(store: &impl Store, key: Key, times: u64) {
    for _ in 0..times {
        loop {
            let facts = load(store, [key]).await;
            breathe().await;
            let next = value(&facts, &key).unwrap_or(0) + 1;
            match store.commit(Seen::of(&facts), vec![write(key, next)]).await {
                Outcome::Landed(_) => break,
                Outcome::Stale => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Writes two records of one person, always with the same value.
pub(crate) async fn pairs(store: &impl Store, person: u8, times: u64) {
    let keys = [key(person, 0), key(person, 1)];
    for value in 0..times {
        let facts = load(store, keys).await;
        breathe().await;
        landed(store, &facts, keys.iter().map(|key| write(*key, value)).collect()).await;
    }
}

/// Reads them, and never sees one without the other.
pub(crate) async fn pairs_are_equal(store: &impl Store, person: u8, times: u64) {
    let keys = [key(person, 0), key(person, 1)];
    for _ in 0..times {
        let facts = load(store, keys).await;
        assert_eq!(value(&facts, &keys[0]), value(&facts, &keys[1]));
        breathe().await;
    }
}

/// A record of a person.
pub(crate) fn key(person: u8, place: u8) -> Key {
    Key::FlowMark(GrantId { person: Person([person; 16]), login: [place; 16] })
}

/// A write of a value, under a stamp that never was.
pub(crate) fn write(key: Key, value: u64) -> Write {
    static STAMPS: AtomicU64 = AtomicU64::new(1);
    let mut stamp = [0; 16];
    stamp[..8].copy_from_slice(&STAMPS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let (stamp, until, record) = (Stamp(stamp), Timestamp::from_millis(value), Arc::new(Record::Mark));
    Write { key, stamp, until, record, durable: false }
}

/// The same write, as what keeps somebody out is written.
pub(crate) fn durable(write: Write) -> Write {
    Write { durable: true, ..write }
}

/// Reads.
pub(crate) async fn load<const N: usize>(store: &impl Store, keys: [Key; N]) -> Facts {
    store.load(Keys::of(keys)).await.unwrap()
}

/// Commits on these facts, and it lands.
pub(crate) async fn landed(store: &impl Store, facts: &Facts, writes: Vec<Write>) -> Landed {
    match store.commit(Seen::of(facts), writes).await {
        Outcome::Landed(landed) => landed,
        other => panic!("{other:?}"),
    }
}

/// The value under a key.
pub(crate) fn value(facts: &Facts, key: &Key) -> Option<u64> {
    match facts.of(key).unwrap() {
        Fact::Found(stored) => Some(stored.until.millis()),
        Fact::Absent => None,
        Fact::Unreadable(_) => panic!("written by this ring"),
    }
}

fn stamp(facts: &Facts, key: &Key) -> Option<Stamp> {
    Seen::of(facts).iter().find(|(found, _)| *found == key).and_then(|(_, stamp)| stamp)
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Lets others go first, once.
async fn breathe() {
    let mut breathed = false;
    poll_fn(|context| {
        if breathed {
            return Poll::Ready(());
        }
        breathed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs all of them, taking turns.
async fn together(mut running: Vec<Running<'_>>) {
    poll_fn(|context| {
        running.retain_mut(|task| task.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
