//! The near cache over clusters: a request costs no round trip while nothing moves, and what moves is no way around a revocation.

use crate::clauses::{key, load, value, write};
use crate::near::{BOUND, gate_reads, near, until_gone, warm};
use crate::servers::Gate;
use crate::valkey::{Cluster, Make, until};
use crate::ways::{across, gate, slot};
use portcullis_domain::key::Key;
use portcullis_domain::operation::Keys;
use portcullis_ports::{Outcome, Seen, Store};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn gates(cluster: &Cluster) -> [Gate; 2] {
    let gates = [gate(across(cluster)), gate(across(cluster))];
    for gate in &gates {
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
    }
    gates
}

/// Writes it, however often it takes while its slot moves.
fn put(gate: &Gate, key: Key, value: u64) {
    until("it has landed", || {
        let Ok(facts) = gate.run(gate.store.load(Keys::of([key]))) else { return false };
        matches!(gate.run(gate.store.commit(Seen::of(&facts), vec![write(key, value)])), Outcome::Landed(_))
    });
}

/// Has three people whose records are on different nodes.
fn apart(cluster: &Cluster) -> [u8; 3] {
    [0, 1, 2].map(|node| (80..=255).find(|person| cluster.owner(slot(cluster, *person)) == node).unwrap())
}

#[test]
fn p05_in_a_cluster_what_is_at_hand_costs_nothing_and_what_changes_is_gone_from_the_others_absence_too() {
    for make in Make::ALL {
        let cluster = Cluster::start(make);
        let [first, second] = gates(&cluster);
        let people = apart(&cluster);
        // As a request asks: of several people, on several nodes, and some of it is not there.
        let keys = people.map(|person| [key(person, 0), key(person, 1)]).concat();
        for person in people {
            put(&second, key(person, 0), 1);
        }
        let all = Keys::of([keys[0], keys[1], keys[2], keys[3], keys[4], keys[5]]);
        until("all of it is at hand", || {
            first.run(first.store.recall(all)).is_ok() && first.store.at_hand(&all).is_some()
        });
        cluster.nodes.iter().for_each(crate::valkey::Server::forget_calls);
        let (begun, mut answered) = (Instant::now(), 0_u64);
        while begun.elapsed() < Duration::from_millis(1_500) {
            let facts = first.store.at_hand(&all).expect("it stays at hand");
            assert!(people.iter().all(|person| value(&facts, &key(*person, 0)) == Some(1)));
            answered += 1;
        }
        for node in &cluster.nodes {
            assert!(node.calls().iter().all(|(name, _)| name != "mget"), "{make:?}: {:?}", node.calls());
        }
        assert!(answered > 1_000, "{answered}");
        for key in keys {
            let before = warm(&first, key);
            put(&second, key, 2);
            assert!(until_gone(&first, key, before) < BOUND, "{make:?}");
            assert_eq!(warm(&first, key), Some(2));
        }
    }
}

#[test]
fn p05_what_is_written_where_its_slot_is_on_its_way_to_is_known_within_a_second_absence_too() {
    for make in Make::ALL {
        let cluster = Cluster::start(make);
        let [first, second] = gates(&cluster);
        let slot = slot(&cluster, 90);
        for round in 0..4 {
            let (absent, present) = (key(90, 2 * round), key(90, 2 * round + 1));
            put(&second, present, 1);
            assert_eq!((warm(&first, absent), warm(&first, present)), (None, Some(1)));
            let to = (cluster.owner(slot) + 1) % 3;
            let from = cluster.open_move(slot, to).unwrap();
            // The old node says nothing of it: there, it has never been.
            put(&second, absent, 2);
            let took = until_gone(&first, absent, None);
            assert!(took < BOUND, "{make:?} {took:?}");
            put(&second, present, 2);
            assert!(until_gone(&first, present, Some(1)) < BOUND, "{make:?}");
            assert!(gate_reads(&first, absent, 2) && gate_reads(&first, present, 2), "{make:?}");
            std::thread::sleep(BOUND);
            assert!(gate_reads(&first, absent, 2), "{make:?}");
            assert_eq!(near(&first, absent), None, "what is asked of where it is on its way to is not kept");
            cluster.end_move(slot, from, to);
            put(&second, absent, 3);
            assert!(gate_reads(&first, absent, 3), "{make:?}");
            // And once it has arrived it is kept again.
            assert_eq!((warm(&first, absent), warm(&first, present)), (Some(3), Some(2)));
        }
    }
}

#[test]
fn p05_slots_that_move_all_the_time_keep_no_revocation_from_anybody_for_a_second() {
    // Key by key, as all can, and by the servers themselves, as the latest can.
    for (make, by_themselves) in [(Make::Valkey9, false), (Make::Valkey9, true), (Make::Redis7, false)] {
        let cluster = Cluster::start(make);
        let [first, second] = gates(&cluster);
        let (slot, done) = (slot(&cluster, 91), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for to in (0..3).cycle() {
                    if done.load(Relaxed) {
                        return;
                    }
                    if by_themselves {
                        assert!(cluster.hand_over(slot..slot + 1, to), "{make:?}: it was given up");
                    } else {
                        cluster.reshard(slot..slot + 1, to);
                    }
                    std::thread::sleep(Duration::from_millis(150));
                }
            });
            let mut at_hand = 0;
            for round in 0..40 {
                let key = key(91, round);
                let begun = Instant::now();
                while near(&first, key).is_none() && begun.elapsed() < Duration::from_millis(300) {
                    let _moves = first.run(first.store.recall(Keys::of([key])));
                }
                at_hand += u32::from(near(&first, key).is_some());
                put(&second, key, 1);
                let took = until_gone(&first, key, None);
                assert!(took < BOUND, "{make:?} {by_themselves}: {took:?}");
            }
            done.store(true, Relaxed);
            assert!(at_hand > 0, "{make:?} {by_themselves}: nothing was ever at hand");
        });
        let facts = first.run(load(&first.store, [key(91, 0), key(91, 39)]));
        assert_eq!((value(&facts, &key(91, 0)), value(&facts, &key(91, 39))), (Some(1), Some(1)), "none is lost");
    }
}
