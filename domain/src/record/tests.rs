//! Old and new replicas on one store (T274): the bytes of every kind of record are frozen in `frozen.txt`.
//!
//! A change of the form that these tests notice would be met by a replica of the version before. New fields are no such change as long
//! as they are left out where they say nothing and their tags are higher than those of the version before, for then they are carried
//! along; anything else needs another version byte, and a version between that reads both.
//!
//! Where a new field changes what is frozen, the bytes of the version before move to `before.txt`. No line of it ever changes or goes
//! as long as stores may hold such records.

use super::*;
use crate::codec::Writer;
use crate::key::{AssertionId, CutScope, GrantId, Person};
use crate::limits::UPSTREAM_LEASE;
use crate::oauth::grant::tests::{NOW, code};
use crate::oauth::grant::{State, Terms, Why};
use crate::oauth::identity::tests::claims;
use crate::oauth::identity::{Claims, Listed};
use crate::oauth::upstream::{Brought, Lease};
use crate::operation::Epoch;
use crate::seal::KeyRing;
use crate::seal::tests::master;
use crate::secret::SecretText;
use std::collections::BTreeMap;
use std::time::Duration;

const FROZEN: &str = include_str!("frozen.txt");
/// From before identities told whether the provider had withheld the ID token, and kept the refresh tokens of logins that came together.
const BEFORE: &str = include_str!("before.txt");
const PERSON: Person = Person([0xa1; 16]);
const UNTIL: Timestamp = Timestamp::from_secs(1_086_400);

fn sealer() -> Sealer {
    Sealer::new(CurrentRing::of(KeyRing::new(&[master(1)], "https://gate.example", Timestamp::EPOCH).unwrap()))
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn rotated(grant: &Grant, seconds: u64) -> Grant {
    let State::Live(live) = &grant.state else { panic!("{grant:?}") };
    grant.rotated(live, Epoch([7; 16]), later(seconds)).unwrap()
}

fn listed(login: u8) -> Listed {
    Listed { login: [login; 16], client_name: "Client".to_owned(), created: NOW, ends: later(9_000) }
}

/// What is known of a person, with everything in it that the version before could say.
fn whole() -> Identity {
    let brought = Brought {
        refresh: Some(SecretText::new("the provider's refresh token".to_owned())),
        id_token: Some((SecretText::new("the.id.token".to_owned()), later(300))),
        withheld: false,
        ends: Some(later(200)),
    };
    let first = Identity::after_login(None, claims(), brought, listed(1), NOW);
    let second = Brought { withheld: true, ..Brought::default() };
    let mut whole = Identity::after_login(Some(&first), claims(), second, listed(2), later(1));
    whole.upstream.withheld = false;
    whole.upstream.lease = Lease { number: 300, until: NOW.plus(UPSTREAM_LEASE) };
    whole.upstream.refused = Some(later(2));
    whole
}

/// A record of each kind and in each state, with everything in it and with as little as can be.
fn records() -> Vec<(&'static str, Key, Record)> {
    let (open, grant) = (code(), Key::Grant(GrantId { person: PERSON, login: [0xb2; 16] }));
    let live = open.redeemed(1, Epoch([6; 16]), later(5));
    let twice = rotated(&rotated(&live, 10), 20);
    let bare = Terms { thumbprint: Some([8; 32]), provider_session: None, confidential: true, ..open.terms.clone() };
    let bare = rotated(&Grant { terms: bare, ..live.clone() }, 3_600);
    let mut whole = whole();
    whole.claims.preferred_username = Some("ally".to_owned());
    whole.upstream.ends = Some(later(200));
    whole.upstream.withheld = true;
    whole.upstream.spares = ["a spare one", "an older one"].map(|token| SecretText::new(token.to_owned())).into();
    let least = Claims { issuer: "i".to_owned(), subject: "s".to_owned(), ..Claims::default() };
    let least = Identity::after_login(None, least, Brought::default(), listed(3), NOW);
    let identity = Key::Identity(PERSON);
    let ended = |why| Record::Grant(twice.revoked(why, Epoch([7; 16])));
    vec![
        ("grant-code", grant, Record::Grant(open)),
        ("grant-live", grant, Record::Grant(live)),
        ("grant-rotated", grant, Record::Grant(twice.clone())),
        ("grant-bare", grant, Record::Grant(bare)),
        ("grant-revoked", grant, ended(Why::RefreshReplay)),
        ("identity-whole", identity, Record::Identity(whole)),
        ("identity-least", identity, Record::Identity(least)),
        ("cut-before", Key::Cut(CutScope::Person(PERSON)), Record::Cut(Cut::before(NOW))),
        ("cut-block", Key::Cut(CutScope::All), Record::Cut(Cut::block(NOW))),
        ("mark-login", Key::FlowMark(GrantId { person: PERSON, login: [0xb2; 16] }), Record::Mark),
        ("mark-assertion", Key::AssertionMark(AssertionId([0xc3; 16])), Record::Mark),
        ("ring-check", Key::RingCheck, Record::RingCheck(vec![[1; 16], [2; 16]])),
        ("grant-revoked-by-client", grant, ended(Why::Client)),
        ("grant-revoked-for-code", grant, ended(Why::CodeReplay)),
        ("grant-revoked-for-surplus", grant, ended(Why::Surplus)),
        ("grant-revoked-by-operator", grant, ended(Why::Operator)),
    ]
}

fn stamp(place: usize) -> Stamp {
    Stamp([u8::try_from(place.saturating_add(1)).unwrap(); 16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(lines: &'static str) -> BTreeMap<&'static str, Vec<u8>> {
    let bytes = |hex: &str| {
        let pairs = hex.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    lines.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, hex)| (name, bytes(hex))).collect()
}

fn opened(name: &str, key: &Key, stored: &[u8]) -> Stored {
    match sealer().open(key, stored) {
        Ok(Fact::Found(stored)) => stored,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn t274_what_is_written_is_what_is_frozen() {
    let mut now = Vec::new();
    for (place, (name, key, record)) in records().into_iter().enumerate() {
        let write = Write { key, stamp: stamp(place), until: UNTIL, record: Arc::new(record), durable: false };
        now.push(format!("{name} {}", hex(&sealer().seal(&write, NOW).unwrap())));
    }
    let before: Vec<&str> = FROZEN.lines().collect();
    assert!(now == before, "the form has changed; it would be frozen as\n{}", now.join("\n"));
}

#[test]
fn t274_what_is_frozen_is_read() {
    let (frozen, records) = (bytes(FROZEN), records());
    assert_eq!(frozen.len(), records.len());
    for (place, (name, key, record)) in records.into_iter().enumerate() {
        let stored = opened(name, &key, &frozen[name]);
        assert_eq!((stored.stamp, stored.until), (stamp(place), UNTIL), "{name}");
        assert_eq!(stored.record.encode(), record.encode(), "{name}");
    }
}

#[test]
fn t274_what_the_version_before_has_written_is_read_and_written_back_unchanged() {
    let before = bytes(BEFORE);
    assert_eq!(before.keys().collect::<Vec<_>>(), [&"identity-whole"]);
    let key = Key::Identity(PERSON);
    let stored = opened("identity-whole", &key, &before["identity-whole"]);
    let identity = stored.record.identity().unwrap();
    let upstream = &identity.upstream;
    assert!(!upstream.withheld, "it came with the other tokens");
    assert!(upstream.spares.is_empty(), "there was the one");
    assert!(identity.upstream_refresh.as_ref().is_some_and(|token| token.same("the provider's refresh token")));
    assert!(upstream.id_token.as_ref().is_some_and(|(token, ends)| token.same("the.id.token") && *ends == later(300)));
    assert_eq!((upstream.ends, upstream.renewed, upstream.refused), (None, later(1), Some(later(2))));
    assert_eq!(upstream.lease, whole().upstream.lease);
    assert_eq!((&identity.claims, &identity.grants[..]), (&claims(), &[listed(1), listed(2)][..]));
    // As long as nothing is said that is new, a replica of the version before gets the bytes that it would have written.
    let write = Write { key, stamp: stored.stamp, until: stored.until, record: stored.record, durable: false };
    assert_eq!(hex(&sealer().seal(&write, NOW).unwrap()), hex(&before["identity-whole"]));
}

#[test]
fn t274_a_state_or_reason_of_a_newer_version_is_refused_and_never_taken_for_a_session() {
    let key = Key::Grant(GrantId { person: PERSON, login: [0xb2; 16] });
    let body = Record::Grant(code().revoked(Why::Client, Epoch([7; 16]))).encode();
    // State and reason stand last, each with its tag and its length.
    let [before @ .., 12, 1, 3, 18, 1, 1] = &body[..] else { panic!("{}", hex(&body)) };
    let with = |state, why| Record::decode(&key, &[before, &[12, 1, state, 18, 1, why]].concat());
    assert!(with(3, 5).is_ok(), "the last reason that is known");
    assert_eq!((with(3, 6).err(), with(4, 1).err()), (Some(Broken), Some(Broken)));
}

#[test]
fn t274_what_a_newer_version_has_added_outlives_every_change_by_this_one() {
    let more = Writer::new().text(200, "what nobody here knows").finish();
    let carries = |body: &[u8], name: &str| assert!(body.ends_with(&more), "{name}");
    for (name, key, record) in records() {
        let newer = [&record.encode()[..], &more].concat();
        let record = Record::decode(&key, &newer).unwrap();
        match &record {
            Record::Grant(grant) => {
                carries(&grant.redeemed(2, Epoch([9; 16]), NOW).encode(), name);
                carries(&grant.revoked(Why::Client, Epoch([9; 16])).encode(), name);
                if let State::Live(live) = &grant.state {
                    carries(&grant.rotated(live, Epoch([9; 16]), NOW).unwrap().superseding(NOW).encode(), name);
                }
            }
            Record::Identity(identity) => {
                let login = Identity::after_login(Some(identity), claims(), Brought::default(), listed(4), NOW);
                carries(&login.encode(), name);
                let mut renewed = identity.clone();
                renewed.take(Brought::default(), NOW);
                carries(&renewed.encode(), name);
                carries(&login.without(&[[4; 16]]).encode(), name);
            }
            Record::Cut(cut) => {
                carries(&cut.again(later(1)).encode(), name);
                carries(&cut.blocked(later(1)).encode(), name);
                carries(&cut.lifted(later(1)).encode(), name);
            }
            Record::Asleep(_) => panic!("whoever decodes wakes it"),
            // These are never changed: a mark is written once, and each ring writes a check of its own.
            Record::Mark | Record::RingCheck(_) => {}
        }
    }
}

#[test]
fn what_is_read_within_the_process_is_what_is_decoded() {
    for (name, key, record) in records() {
        let body = record.encode();
        let (read, decoded) = (Record::read(&key, &body).unwrap(), Record::decode(&key, &body).unwrap());
        assert_eq!(read.encode(), body, "{name}");
        assert_eq!(read.identity().map(Identity::encode), decoded.identity().map(Identity::encode), "{name}");
        assert_eq!(format!("{:?}", read.grant()), format!("{:?}", decoded.grant()), "{name}");
        let asleep = Record::read(&key, &body).unwrap();
        let claims = decoded.identity().map(|identity| identity.claims.clone());
        assert_eq!(asleep.profile().map(Claims::from), claims, "{name}");
        assert_eq!(read.profile(), asleep.profile(), "{name}: awake or asleep");
        assert_eq!(matches!(read, Record::Asleep(_)), decoded.identity().is_some(), "{name}");
        assert!(Record::read(&Key::Cut(CutScope::All), &body).is_err() || read.cut().is_some(), "{name}");
    }
    let broken = Record::read(&Key::Identity(Person([1; 16])), &[2, 1, 9]).unwrap();
    assert!(broken.profile().is_none() && broken.identity().is_none(), "nobody is taken for a person without a name");
}
