//! The near cache over real servers: what one gate writes is what the others answer with within a second, and nobody is asked twice.

use crate::clauses::{key, landed, load, value, write};
use crate::engine::fixture::sealer;
use crate::servers::{Gate, settings};
use crate::valkey::{Make, Options, Proxy, Server, until};
use portcullis_adapters::valkey::Settings;
use portcullis_domain::key::Key;
use portcullis_domain::operation::Keys;
use portcullis_ports::{Store, Unavailable};
use std::time::{Duration, Instant};

/// What a question would be answered with out of memory; nothing if the store would be asked.
pub(crate) fn near(gate: &Gate, key: Key) -> Option<Option<u64>> {
    gate.store.at_hand(&Keys::of([key])).map(|facts| value(&facts, &key))
}

/// Asks until the answer is at hand.
pub(crate) fn warm(gate: &Gate, key: Key) -> Option<u64> {
    until("it is at hand", || {
        // A connection may just be made anew.
        gate.run(gate.store.recall(Keys::of([key]))).is_ok() && near(gate, key).is_some()
    });
    near(gate, key).unwrap()
}

pub(crate) fn put(gate: &Gate, key: Key, value: u64) {
    let facts = gate.run(load(&gate.store, [key]));
    gate.run(landed(&gate.store, &facts, vec![write(key, value)]));
}

/// How long it takes until a gate does not answer with this any more.
pub(crate) fn until_gone(gate: &Gate, key: Key, old: Option<u64>) -> Duration {
    let begun = Instant::now();
    while near(gate, key) == Some(old) {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is served for ever");
        std::thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

pub(crate) const BOUND: Duration = Duration::from_secs(1);

#[test]
fn p05_what_one_gate_writes_is_gone_from_the_others_at_once_absence_too() {
    for make in Make::ALL {
        let server = Server::start(make);
        let gates = [Gate::ready(server.address()), Gate::ready(server.address())];
        let key = key(60, 0);
        assert_eq!(warm(&gates[0], key), None, "absence is kept too");
        for round in 1..20 {
            let before = warm(&gates[0], key);
            put(&gates[1], key, round);
            assert!(until_gone(&gates[0], key, before) < BOUND, "{make:?}");
            assert_eq!(warm(&gates[0], key), Some(round));
            // And what a gate writes itself is gone before it is answered.
            assert_eq!(warm(&gates[1], key), Some(round));
            put(&gates[1], key, 100 + round);
            assert_ne!(near(&gates[1], key), Some(Some(round)));
            assert!(until_gone(&gates[0], key, Some(round)) < BOUND);
        }
    }
}

#[test]
fn what_is_of_several_people_is_read_at_once_and_is_at_hand_at_once() {
    for make in Make::ALL {
        let server = Server::start(make);
        let gate = Gate::ready(server.address());
        put(&gate, key(66, 0), 1);
        put(&gate, key(67, 0), 2);
        let all = Keys::of([key(66, 0), key(67, 0), key(68, 0)]);
        server.forget_calls();
        let facts = gate.run(gate.store.recall(all)).unwrap();
        assert_eq!([66, 67, 68].map(|person| value(&facts, &key(person, 0))), [Some(1), Some(2), None]);
        let read = server.calls().into_iter().find(|(name, _)| name == "mget");
        assert_eq!(read, Some(("mget".to_owned(), 1)), "{make:?}");
        until("all of it is at hand", || {
            gate.run(gate.store.recall(all)).is_ok() && gate.store.at_hand(&all).is_some()
        });
    }
}

#[test]
fn what_is_at_hand_costs_the_server_nothing() {
    let server = Server::start(Make::Valkey9);
    let gate = Gate::ready(server.address());
    put(&gate, key(61, 0), 1);
    warm(&gate, key(61, 0));
    server.forget_calls();
    let begun = Instant::now();
    let mut answered = 0_u64;
    while begun.elapsed() < Duration::from_millis(1_500) {
        assert_eq!(near(&gate, key(61, 0)), Some(Some(1)));
        answered += 1;
    }
    let calls = server.calls();
    let reads = calls.iter().filter(|(name, _)| name == "mget" || name == "get");
    assert_eq!(reads.map(|(_, times)| times).sum::<u64>(), 0, "{calls:?}");
    assert!(answered > 10_000, "{answered}");
}

#[test]
fn p05_t262_a_link_that_is_a_black_hole_and_a_server_that_stands_still_answer_nothing_old_after_a_second() {
    let server = Server::start(Make::Valkey9);
    let proxy = Proxy::before(server.address());
    let (far, beside) = (Gate::ready(proxy.address()), Gate::ready(server.address()));
    let key = key(62, 0);
    put(&beside, key, 1);
    for round in 1..6 {
        assert_eq!(warm(&far, key), Some(round));
        proxy.black_hole(true);
        put(&beside, key, round + 1);
        let took = until_gone(&far, key, Some(round));
        assert!(took < BOUND, "{took:?}");
        proxy.black_hole(false);
        until("it is reached again", || gate_reads(&far, key, round + 1));
    }
    assert_eq!(warm(&far, key), Some(6));
    server.pause();
    assert!(until_gone(&far, key, Some(6)) < BOUND, "without an answer to a PING there is no lease");
    server.resume();
    until("it is reached again", || gate_reads(&far, key, 6));
}

pub(crate) fn gate_reads(gate: &Gate, key: Key, expected: u64) -> bool {
    gate.run(gate.store.recall(Keys::of([key]))).is_ok_and(|facts| value(&facts, &key) == Some(expected))
}

#[test]
fn p05_a_connection_that_ended_and_a_server_that_forgot_everything_take_what_was_kept_along() {
    let server = Server::start(Make::Valkey8);
    let proxy = Proxy::before(server.address());
    let gate = Gate::ready(proxy.address());
    put(&gate, key(63, 0), 1);
    warm(&gate, key(63, 0));
    proxy.cut();
    assert!(until_gone(&gate, key(63, 0), Some(1)) < BOUND);
    assert_eq!(warm(&gate, key(63, 0)), Some(1));
    server.ask(&["FLUSHALL"]);
    assert!(until_gone(&gate, key(63, 0), Some(1)) < BOUND);
    assert_eq!(warm(&gate, key(63, 0)), None);
    // A server that cannot remember what it has told whom forgets some of it, and says so.
    server.ask(&["CONFIG", "SET", "tracking-table-max-keys", "1"]);
    warm(&gate, key(63, 1));
    warm(&gate, key(63, 2));
    until("no more is kept than the server remembers", || {
        (0..3).filter(|place| near(&gate, key(63, *place)).is_some()).count() <= 1
    });
}

#[test]
fn while_the_store_is_away_what_was_known_is_served_as_long_as_is_said() {
    for (stale_for, served) in [(Duration::ZERO, false), (Duration::from_secs(2), true)] {
        let mut server = Server::start(Make::Valkey9);
        let gate = Gate::with(Settings { stale_for, ..settings(server.address()) }, sealer());
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
        put(&gate, key(64, 0), 1);
        warm(&gate, key(64, 0));
        let recall = |gate: &Gate| gate.run(gate.store.recall(Keys::of([key(64, 0)])));
        server.kill();
        let gone = Instant::now();
        until_gone(&gate, key(64, 0), Some(1));
        assert_eq!(recall(&gate).is_ok(), served);
        assert_eq!(gate.run(gate.store.load(Keys::of([key(64, 0)]))).err(), Some(Unavailable), "an operation never");
        until("it ends", || recall(&gate).is_err());
        let lasted = gone.elapsed();
        assert!(lasted < stale_for + BOUND, "{lasted:?}");
        server.again();
        until("the store is back", || recall(&gate).is_ok());
        assert_eq!(warm(&gate, key(64, 0)), None, "and is believed");
    }
}

#[test]
fn t263_a_slow_store_is_no_reason_to_answer_with_what_is_old() {
    let server = Server::with(Options::of(Make::Redis7));
    let proxy = Proxy::before(server.address());
    let (far, beside) = (Gate::ready(proxy.address()), Gate::ready(server.address()));
    put(&beside, key(65, 0), 1);
    // Slower than the lease lasts: nothing is ever at hand, and everything is still answered.
    proxy.delay(Duration::from_millis(400));
    until("the last lease is over", || near(&far, key(65, 0)).is_none());
    for round in 1..4 {
        assert!(gate_reads(&far, key(65, 0), round));
        put(&beside, key(65, 0), round + 1);
        std::thread::sleep(BOUND);
        assert_ne!(near(&far, key(65, 0)), Some(Some(round)));
    }
}
