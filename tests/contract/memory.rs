//! The contract, and what is special about memory: it is bounded, swept, and shared by threads.

use crate::clauses::{self, increments, key, landed, load, pairs, pairs_are_equal, value, write};
use crate::engine::fixture::{Party, policy};
use crate::engine::scheduler::Scheduler;
use crate::engine::world::{START, Surroundings};
use portcullis_adapters::memory::Memory;
use portcullis_domain::limits::BROOM_DELAY;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::operation::{Epoch, Write};
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Outcome, Seen, Store, transact};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const EPOCH: Epoch = Epoch([7; 16]);

#[test]
fn memory_keeps_the_contract() {
    Scheduler::new(1).run(async { clauses::all(&Memory::new(EPOCH)).await });
}

#[test]
fn memory_keeps_the_contract_among_threads() {
    let memory = Memory::new(EPOCH);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| block_on(increments(&memory, key(1, 0), 2_000)));
            scope.spawn(|| block_on(pairs_are_equal(&memory, 2, 5_000)));
        }
        scope.spawn(|| block_on(pairs(&memory, 2, 5_000)));
    });
    let facts = block_on(load(&memory, [key(1, 0)]));
    assert_eq!(value(&facts, &key(1, 0)), Some(8_000));
}

#[test]
fn i19_new_records_find_no_room_in_a_full_memory_and_old_ones_can_still_change() {
    Scheduler::new(1).run(async {
        let memory = Memory::bounded(EPOCH, 20_000);
        let mut person = 0;
        let full = loop {
            let facts = load(&memory, [key(person, 0)]).await;
            match memory.commit(Seen::of(&facts), vec![write(key(person, 0), 1)]).await {
                Outcome::Landed(_) => person += 1,
                other => break other,
            }
        };
        assert_eq!(full, Outcome::Full);
        assert!(person > 10 && memory.bytes() <= 20_000);
        assert_eq!(value(&load(&memory, [key(person, 0)]).await, &key(person, 0)), None, "nothing of it was written");
        let facts = load(&memory, [key(0, 0)]).await;
        landed(&memory, &facts, vec![write(key(0, 0), 2)]).await;
        // A cut is new too, and it must not be for want of room that nobody is kept out.
        let facts = load(&memory, [key(person, 0)]).await;
        landed(&memory, &facts, vec![Write { durable: true, ..write(key(person, 0), 1) }]).await;
    });
}

#[test]
fn a_session_at_rest_takes_four_hundred_bytes() {
    let scheduler = Scheduler::new(1);
    let memory = Arc::new(Memory::new(EPOCH));
    let world = Surroundings::new(&scheduler, Arc::clone(&memory));
    scheduler.run(async {
        let policy = policy(Duration::from_secs(60));
        let mut sessions = Vec::new();
        for number in 0..100 {
            let party = Party::new(&policy, number, 1, number);
            let code = transact(&world, party.callback(START)).await.unwrap();
            let tokens = transact(&world, party.exchange(code.expose(), None)).await.unwrap();
            sessions.push((party, tokens.refresh.unwrap()));
        }
        let fresh = memory.bytes() / 100;
        assert!(fresh <= 560, "{fresh} with its mark, and what a replay of its code must bring");
        // What is only kept for ten minutes has gone.
        world.clock.skew(11 * 60_000);
        for (party, refresh) in &sessions {
            transact(&world, party.refresh(refresh.expose(), false)).await.unwrap();
        }
        memory.sweep(START.plus(Duration::from_secs(60 * 60)));
        assert_eq!(memory.records(), 200);
        let rest = memory.bytes() / 100;
        assert!(rest <= 400, "{rest}");
    });
}

#[test]
fn i19_a_session_can_be_revoked_in_a_full_memory() {
    let scheduler = Scheduler::new(1);
    // Room for one login and not for two.
    let memory = Arc::new(Memory::bounded(EPOCH, 1_000));
    let world = Surroundings::new(&scheduler, Arc::clone(&memory));
    scheduler.run(async move {
        let policy = policy(Duration::from_secs(60));
        let party = Party::new(&policy, 1, 1, 1);
        let code = transact(&world, party.callback(START)).await.unwrap();
        let other = Party::new(&policy, 2, 1, 2);
        assert_eq!(transact(&world, other.callback(START)).await.err(), Some(Fault::Full));
        let tokens = transact(&world, party.exchange(code.expose(), None)).await.unwrap();
        let refresh = tokens.refresh.unwrap();
        transact(&world, party.revoke(refresh.expose(), false)).await.unwrap();
        let after = transact(&world, party.refresh(refresh.expose(), false)).await;
        assert_eq!(after.err(), Some(Fault::SessionRevoked));
    });
}

#[test]
fn the_broom_waits_and_then_memory_is_back_where_it_was() {
    Scheduler::new(1).run(async {
        let memory = Memory::new(EPOCH);
        let end = Timestamp::from_secs(1_000);
        for person in 0..50 {
            let facts = load(&memory, [key(person, 0), key(person, 1)]).await;
            let writes = vec![write(key(person, 0), end.millis()), write(key(person, 1), end.millis())];
            landed(&memory, &facts, writes).await;
            // Written over, so that what is counted has to be given back too.
            let facts = load(&memory, [key(person, 0)]).await;
            landed(&memory, &facts, vec![write(key(person, 0), end.millis())]).await;
        }
        let (records, bytes) = (memory.records(), memory.bytes());
        assert_eq!(records, 100);
        memory.sweep(end.plus(BROOM_DELAY).minus(Duration::from_millis(1)));
        assert_eq!((memory.records(), memory.bytes()), (records, bytes), "too early");
        memory.sweep(end.plus(BROOM_DELAY));
        assert_eq!((memory.records(), memory.bytes()), (0, 0));
    });
}

/// Regression: the bytes were counted after the lock was given up, so another thread could give back what had not been
/// counted yet; the sum wrapped, and a store that was almost empty said that it was full.
#[test]
fn bytes_are_counted_before_anybody_can_give_them_back() {
    let memory = Memory::new(EPOCH);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let facts = block_on(load(&memory, [key(1, 0)]));
                    let outcome = block_on(memory.commit(Seen::of(&facts), vec![write(key(1, 0), 0)]));
                    assert!(matches!(outcome, Outcome::Landed(_) | Outcome::Stale), "{outcome:?}");
                    memory.sweep(Timestamp::EPOCH.plus(BROOM_DELAY));
                    assert!(memory.bytes() < 10_000, "{}", memory.bytes());
                }
            });
        }
    });
    memory.sweep(Timestamp::EPOCH.plus(BROOM_DELAY));
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn i19_threads_together_do_not_pass_the_bound() {
    let memory = Memory::bounded(EPOCH, 10_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let memory = &memory;
            scope.spawn(move || {
                for place in 0..=u8::MAX {
                    let facts = block_on(load(memory, [key(thread, place)]));
                    let _landed_or_full = block_on(memory.commit(Seen::of(&facts), vec![write(key(thread, place), 0)]));
                    assert!(memory.bytes() <= 10_000);
                }
            });
        }
    });
    assert!(memory.records() > 10);
}

/// Memory never waits, so nobody has to wake it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
    }
}
