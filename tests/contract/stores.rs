//! The contract, on a store that keeps sealed bytes and on one whose calls fail.

use crate::clauses::{self, key, landed, load, value, write};
use crate::engine::fixture::sealer;
use crate::engine::scheduler::Scheduler;
use crate::engine::stores::{Bytes, Failing, Failure, Span};
use portcullis_domain::operation::{Epoch, Fact, Keys};
use portcullis_domain::record::Sealer;
use portcullis_domain::seal::{CurrentRing, KeyRing, MasterKey};
use portcullis_domain::secret::Secret;
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::sync::Arc;

fn bytes() -> Bytes {
    Bytes::new(sealer(), Epoch([1; 16]))
}

#[test]
fn a_store_that_keeps_bytes_keeps_the_contract() {
    Scheduler::new(1).run(async { clauses::all(&bytes()).await });
}

#[test]
fn a_store_that_would_fail_later_keeps_the_contract() {
    let failing = Failing::new(Arc::new(bytes()), usize::MAX, Failure::Before, Span::Once);
    Scheduler::new(1).run(async move { clauses::all(&failing).await });
}

#[test]
fn f20_a_record_at_another_place_is_no_record_and_no_absence() {
    Scheduler::new(1).run(async {
        let store = bytes();
        let facts = load(&store, [key(1, 0)]).await;
        landed(&store, &facts, vec![write(key(1, 0), 1)]).await;
        let moved = store.raw(&key(1, 0)).unwrap();
        for place in [key(1, 1), key(2, 0)] {
            store.put_raw(place, moved.clone());
            assert_eq!(store.load(Keys::of([place])).await.err(), Some(Unavailable));
        }
        assert_eq!(value(&load(&store, [key(1, 0)]).await, &key(1, 0)), Some(1), "the original is untouched");
    });
}

#[test]
fn f20_a_record_with_any_bit_changed_is_no_record_and_no_absence() {
    Scheduler::new(1).run(async {
        let store = bytes();
        let facts = load(&store, [key(1, 0)]).await;
        landed(&store, &facts, vec![write(key(1, 0), 1)]).await;
        let whole = store.raw(&key(1, 0)).unwrap();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            store.put_raw(key(1, 0), changed);
            match store.load(Keys::of([key(1, 0)])).await {
                Err(Unavailable) => {}
                // A changed key id names a key that nobody has: the record is there, and cannot be read.
                Ok(facts) => assert!(matches!(facts.of(&key(1, 0)), Ok(Fact::Unreadable(_))), "byte {place}"),
            }
        }
        store.put_raw(key(1, 0), whole[..whole.len() - 1].to_vec());
        assert_eq!(store.load(Keys::of([key(1, 0)])).await.err(), Some(Unavailable));
    });
}

#[test]
fn p09_a_record_under_a_key_that_is_gone_is_unreadable_and_can_be_replaced() {
    Scheduler::new(1).run(async {
        let mut other = [0; 32];
        other.iter_mut().zip(100..).for_each(|(byte, value)| *byte = value);
        let master = MasterKey { secret: Secret::new(other), seals_from: Timestamp::EPOCH, client_ids_only: false };
        let ring = KeyRing::new(&[master], crate::engine::fixture::BASE_URL, Timestamp::EPOCH).unwrap();
        let former = Bytes::new(Sealer::new(CurrentRing::of(ring)), Epoch([1; 16]));
        let facts = load(&former, [key(1, 0)]).await;
        landed(&former, &facts, vec![write(key(1, 0), 1)]).await;

        let store = bytes();
        store.put_raw(key(1, 0), former.raw(&key(1, 0)).unwrap());
        let facts = load(&store, [key(1, 0)]).await;
        assert!(matches!(facts.of(&key(1, 0)), Ok(Fact::Unreadable(_))));
        assert!(matches!(facts.standing(&key(1, 0), Timestamp::EPOCH), Ok(None)));
        landed(&store, &facts, vec![write(key(1, 0), 2)]).await;
        assert_eq!(value(&load(&store, [key(1, 0)]).await, &key(1, 0)), Some(2));
    });
}

#[test]
fn every_way_to_fail_is_what_it_says() {
    Scheduler::new(1).run(async {
        for (failure, applied) in [(Failure::Before, false), (Failure::After, true)] {
            for span in [Span::Once, Span::UntilHealed] {
                let inner = Arc::new(bytes());
                let store = Failing::new(Arc::clone(&inner), 1, failure, span);
                let facts = load(&store, [key(1, 0)]).await;
                assert_eq!(store.commit(Seen::of(&facts), vec![write(key(1, 0), 1)]).await, Outcome::Unknown);
                assert_eq!(inner.raw(&key(1, 0)).is_some(), applied);
                let lasting = span == Span::UntilHealed;
                assert_eq!(store.load(Keys::of([key(1, 0)])).await.is_err(), lasting);
                store.heal();
                assert!(store.load(Keys::of([key(1, 0)])).await.is_ok());
            }
        }
    });
}
