//! What the operator is told of sessions, and what an erasure leaves.

use super::*;
use crate::fresh::Stamp;
use crate::limits::{CUT_LIFE, KEYS_MAX};
use crate::oauth::cut::Cut;
use crate::oauth::grant::tests::{NOW, code, terms};
use crate::oauth::identity::tests::claims;
use crate::oauth::identity::{Identity, Listed as Entry};
use crate::oauth::upstream::Brought;
use crate::operation::{Epoch, Write};
use crate::secret::{Secret, SecretText};
use std::time::Duration;

const PERSON: Person = Person([1; 16]);
const EVENT: Event = Event::new(Happened::OperatorErased);

fn id(number: u8) -> GrantId {
    GrantId { person: PERSON, login: [number; 16] }
}

fn fact(record: Record, until: Timestamp) -> Fact {
    Fact::Found(Stored { record: Arc::new(record), stamp: Stamp([1; 16]), until })
}

fn live() -> Grant {
    code().redeemed(1, Epoch::default(), NOW)
}

/// What a question answers over these facts; what is not among them is absent.
fn asked<Q: Question>(question: &Q, known: &[(Key, Fact)]) -> Result<Q::Reply, Fault> {
    let fact = |key: &Key| known.iter().find(|(own, _)| own == key).map_or(Fact::Absent, |(_, fact)| fact.clone());
    let mut facts = Facts::new(Epoch::default());
    for key in question.asks().iter() {
        facts.add(*key, fact(key));
    }
    for key in question.then(&facts).iter() {
        facts.add(*key, fact(key));
    }
    question.decide(&facts, NOW)
}

fn fresh() -> Fresh {
    Fresh::new(&Secret::new([1; 32]), 0)
}

#[test]
fn the_operator_sees_whether_a_session_lives_and_what_it_may() {
    let grant = (Key::Grant(id(1)), fact(Record::Grant(live()), terms().ends));
    let seen = asked(&Look(id(1)), std::slice::from_ref(&grant)).unwrap().unwrap();
    assert_eq!(seen.standing, Standing::Lives);
    assert_eq!((seen.client_name.as_str(), seen.scopes.line()), ("Client", "mcp more"));
    assert_eq!((seen.created, seen.refreshed, seen.ends), (NOW, None, terms().ends));
    assert_eq!(seen.name, live().session_id());
    for scope in [
        CutScope::All,
        CutScope::Person(PERSON),
        CutScope::Client(terms().client),
        CutScope::ProviderSession(terms().provider_session.unwrap()),
    ] {
        let cut = (Key::Cut(scope), fact(Record::Cut(Cut::before(NOW)), NOW.plus(CUT_LIFE)));
        let seen = asked(&Look(id(1)), &[grant.clone(), cut]).unwrap().unwrap();
        assert_eq!(seen.standing, Standing::Cut, "{scope:?}");
    }
    let revoked = fact(Record::Grant(live().revoked(Why::Client, Epoch::default())), terms().ends);
    assert_eq!(asked(&Look(id(1)), &[(Key::Grant(id(1)), revoked)]).unwrap().unwrap().standing, Standing::Revoked);
    let begins = fact(Record::Grant(code()), terms().ends);
    assert_eq!(asked(&Look(id(1)), &[(Key::Grant(id(1)), begins)]).unwrap().unwrap().standing, Standing::Begins);
}

#[test]
fn p09_what_is_not_there_is_no_session_and_what_cannot_be_read_is_no_answer() {
    assert_eq!(asked(&Look(id(1)), &[]), Ok(None));
    let over = (Key::Grant(id(1)), fact(Record::Grant(live()), NOW));
    assert_eq!(asked(&Look(id(1)), &[over]), Ok(None));
    let unreadable = (Key::Grant(id(1)), Fact::Unreadable(Stamp([1; 16])));
    assert_eq!(asked(&Look(id(1)), &[unreadable]), Err(Fault::StoreUnavailable));
    assert_eq!(asked(&Listed(PERSON), &[]), Ok(Vec::new()));
    let unreadable = (Key::Identity(PERSON), Fact::Unreadable(Stamp([1; 16])));
    assert_eq!(asked(&Listed(PERSON), &[unreadable]), Err(Fault::StoreUnavailable));
}

#[test]
fn the_operator_ends_one_session_once() {
    let end = |fact| {
        End { id: id(1), address: None }.decide(
            &Facts::new(Epoch::default()).with(Key::Grant(id(1)), fact),
            NOW,
            &fresh(),
        )
    };
    let Decision::Commit { writes, events, .. } = end(fact(Record::Grant(live()), terms().ends)) else { panic!() };
    let [write] = writes.as_slice() else { panic!("one write") };
    assert!(write.durable && write.record.grant().unwrap().state == State::Revoked(Why::Operator));
    assert_eq!(events.first().map(|event| event.happened), Some(Happened::OperatorRevoked));
    let again = end(fact(Record::Grant(live().revoked(Why::Client, Epoch::default())), terms().ends));
    assert!(matches!(&again, Decision::Commit { writes, events, .. } if writes[0].durable && events.is_empty()));
    assert!(matches!(end(Fact::Absent), Decision::Answer { reply: Err(Fault::SessionUnknown), .. }));
}

/// A person with this many sessions, as they are stored.
fn known(sessions: u8) -> Vec<(Key, Fact)> {
    let brought = Brought { refresh: Some(SecretText::new("upstream".into())), ..Brought::default() };
    let entry = |number| Entry {
        login: [number; 16],
        client_name: "Client".into(),
        created: NOW,
        ends: NOW.plus(Duration::from_secs(60)),
    };
    let mut identity = Identity::after_login(None, claims(), brought, entry(1), NOW);
    identity.upstream.spares.push(SecretText::new("spare".into()));
    identity.grants = (1..=sessions).map(entry).collect();
    let grants = (1..=sessions).map(|number| (Key::Grant(id(number)), fact(Record::Grant(live()), terms().ends)));
    grants.chain([(Key::Identity(PERSON), fact(Record::Identity(identity), terms().ends))]).collect()
}

/// One commit of an erasure: what it comes to, and what it writes.
fn erased(stored: &[(Key, Fact)]) -> (Erased, Vec<Write>) {
    let sessions = asked(&Listed(PERSON), stored).unwrap().into_iter().take(Erase::SESSIONS).collect();
    let erase = Erase { person: PERSON, sessions, event: EVENT };
    let mut facts = Facts::new(Epoch::default());
    for key in erase.reads().iter() {
        facts.add(*key, stored.iter().find(|(own, _)| own == key).map_or(Fact::Absent, |(_, fact)| fact.clone()));
    }
    match erase.decide(&facts, NOW, &fresh()) {
        Decision::Commit { writes, reply, events } => {
            let erased = reply.open(&crate::operation::Landed { acknowledged: 0 }).unwrap();
            let before = stored.iter().find_map(|(_, fact)| match fact {
                Fact::Found(stored) => stored.record.identity(),
                _ => None,
            });
            let first = erased.all && before.is_some_and(|identity| !identity.is_empty());
            assert_eq!(events, if first { vec![EVENT] } else { Vec::new() });
            (erased, writes)
        }
        Decision::Answer { reply, .. } => (reply.unwrap(), Vec::new()),
    }
}

#[test]
fn an_erasure_leaves_nothing_of_a_person_however_many_sessions_they_have() {
    for sessions in [0, 1, 7, 8, 64] {
        let mut stored = known(sessions);
        let mut rounds = 0;
        loop {
            let (Erased { all, refresh_tokens }, writes) = erased(&stored);
            assert!(writes.len() <= KEYS_MAX);
            for write in writes {
                stored.retain(|(key, _)| *key != write.key);
                let body = write.record.encode();
                assert!(Record::decode(&write.key, &body).is_ok(), "what is left can be read");
                stored.push((write.key, fact_of(&write)));
            }
            rounds += 1;
            assert!(rounds <= 10);
            // As long as they are kept, they are needed.
            let told: Vec<&str> = refresh_tokens.iter().map(SecretText::expose).collect();
            assert_eq!(told, if all { vec!["upstream", "spare"] } else { Vec::new() });
            if all {
                break;
            }
        }
        for (key, fact) in &stored {
            let Fact::Found(left) = fact else { panic!() };
            assert_eq!(left.until, NOW, "{key}: it goes with the next sweep");
            let body = left.record.encode();
            for trace in [
                &b"alice"[..],
                b"Alice",
                b"upstream",
                b"spare",
                b"Client",
                b"mcp",
                &terms().client.0,
                &[9; 32],
                b"staff",
            ] {
                assert!(!body.windows(trace.len()).any(|bytes| bytes == trace), "{key} {trace:?}");
            }
        }
        let (again, _) = erased(&stored);
        assert!(again.all && again.refresh_tokens.is_empty(), "once more is no more");
    }
}

fn fact_of(write: &Write) -> Fact {
    Fact::Found(Stored { record: Arc::clone(&write.record), stamp: write.stamp, until: write.until })
}
