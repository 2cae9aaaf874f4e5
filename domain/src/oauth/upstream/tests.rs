//! One token, two who ask, and every order of what they hear.

use super::*;
use crate::fresh::Stamp;
use crate::oauth::identity::Listed;
use crate::oauth::identity::tests::claims;
use crate::oauth::resource::Resources;
use crate::operation::Epoch;
use crate::secret::Secret;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const PERSON: Person = Person([7; 16]);

fn token(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn tokens(refresh: Option<&str>) -> Answer {
    Answer::Tokens(Brought { refresh: refresh.map(token), ends: Some(later(3_600)), ..Brought::default() }, None)
}

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// A store of one person.
struct World {
    identity: Identity,
    cut: Option<Cut>,
}

impl World {
    /// After a login that brought this refresh token and tokens that end now.
    fn new(refresh: Option<&str>) -> Self {
        let session = Listed { login: [1; 16], client_name: "c".into(), created: NOW, ends: later(9_000_000) };
        let brought = Brought { refresh: refresh.map(token), ends: Some(NOW), ..Brought::default() };
        Self { identity: Identity::after_login(None, claims(), brought, session, NOW), cut: None }
    }

    fn facts(&self) -> Facts {
        let found = |record, until| Fact::Found(Stored { record: Arc::new(record), stamp: Stamp([1; 16]), until });
        let cut = self.cut.clone().map_or(Fact::Absent, |cut| found(Record::Cut(cut.clone()), cut.until()));
        Facts::new(Epoch::default())
            .with(Key::Identity(PERSON), found(Record::Identity(self.identity.clone()), self.identity.until()))
            .with(Key::Cut(CutScope::Person(PERSON)), cut)
    }

    fn carry<R>(&mut self, decision: Decision<R>) -> R {
        match decision {
            Decision::Answer { reply, .. } => reply.unwrap(),
            Decision::Commit { writes, reply, .. } => {
                for write in writes {
                    match &*write.record {
                        Record::Identity(identity) => self.identity = identity.clone(),
                        Record::Cut(cut) => self.cut = Some(cut.clone()),
                        other => panic!("{other:?}"),
                    }
                }
                reply.open(&crate::operation::Landed { acknowledged: 0 }).unwrap()
            }
        }
    }

    fn take(&mut self, now: Timestamp) -> Turn {
        self.turn(&TakeTurn { person: PERSON, wanted: Wanted::Until(now) }, now)
    }

    fn ask(&mut self, now: Timestamp) -> Turn {
        self.turn(&TakeTurn { person: PERSON, wanted: Wanted::IdToken }, now)
    }

    fn turn(&mut self, turn: &TakeTurn, now: Timestamp) -> Turn {
        let decision = turn.decide(&self.facts(), now, &Fresh::new(&Secret::new([1; 32]), 0));
        self.carry(decision)
    }

    fn settle(&mut self, number: u64, sent: &str, answer: Answer, now: Timestamp) -> Settled {
        let settle = Settle { person: PERSON, number, sent: token(sent), answer: Arc::new(answer) };
        let decision = settle.decide(&self.facts(), now, &Fresh::new(&Secret::new([2; 32]), 0));
        self.carry(decision)
    }

    fn stored(&self) -> Option<&str> {
        self.identity.upstream_refresh.as_ref().map(SecretText::expose)
    }
}

#[track_caller]
fn yours(turn: Turn) -> u64 {
    match turn {
        Turn::Yours { number, .. } => number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn seed_bug_21_one_at_a_time_asks_the_provider() {
    let mut world = World::new(Some("first"));
    let number = yours(world.take(NOW));
    assert!(matches!(world.take(NOW), Turn::Wait));
    assert!(matches!(world.settle(number, "first", tokens(Some("second")), later(1)), Settled::Renewed(_)));
    assert!(matches!(world.take(later(1)), Turn::Fresh(_)), "whoever waited finds what is new");
    assert_eq!(world.stored(), Some("second"));
}

#[test]
fn seed_bug_24_a_person_of_whom_nothing_is_known_has_to_log_in_and_is_no_thief() {
    let nobody = || {
        let (identity, cut) = (Key::Identity(PERSON), Key::Cut(CutScope::Person(PERSON)));
        Facts::new(Epoch::default()).with(identity, Fact::Absent).with(cut, Fact::Absent)
    };
    let lifetimes = Lifetimes { bound: true, ..Lifetimes::default() };
    for asked in [false, true] {
        assert_eq!(bound(&lifetimes, PERSON, &nobody(), NOW, asked), Err(Fault::SessionEnded));
    }
    let turn = TakeTurn { person: PERSON, wanted: Wanted::Until(NOW) };
    match turn.decide(&nobody(), NOW, &Fresh::new(&Secret::new([1; 32]), 0)) {
        Decision::Answer { reply, .. } => assert!(matches!(reply, Err(Fault::SessionEnded))),
        Decision::Commit { .. } => panic!("something was written"),
    }
    let settle = Settle { person: PERSON, number: 1, sent: token("x"), answer: Arc::new(Answer::Refused) };
    match settle.decide(&nobody(), NOW, &Fresh::new(&Secret::new([1; 32]), 0)) {
        Decision::Answer { reply, .. } => assert!(matches!(reply, Ok(Settled::Forgotten))),
        Decision::Commit { .. } => panic!("something was written"),
    }
}

#[test]
fn seed_bug_30_an_answer_without_a_refresh_token_carries_the_old_one() {
    let mut world = World::new(Some("first"));
    let number = yours(world.take(NOW));
    assert!(matches!(world.settle(number, "first", tokens(None), NOW), Settled::Renewed(_)));
    assert_eq!(world.stored(), Some("first"));
}

#[test]
fn t261_a_lease_that_ran_out_is_given_again_under_a_higher_number() {
    let mut world = World::new(Some("first"));
    let first = yours(world.take(NOW));
    let after = NOW.plus(UPSTREAM_LEASE);
    let second = yours(world.take(after));
    assert!(second > first);
    // The late answer of the first spent the token: it is the truth, and the second's refusal is of a token that is gone.
    assert!(matches!(world.settle(first, "first", tokens(Some("second")), after), Settled::Renewed(_)));
    assert!(matches!(world.settle(second, "first", Answer::Refused, after), Settled::Overtaken));
    assert_eq!((world.stored(), world.identity.upstream.refused, world.cut.is_none()), (Some("second"), None, true));
}

#[test]
fn t261_a_late_answer_that_spends_nothing_does_not_replace_a_newer_one() {
    let mut world = World::new(Some("same"));
    let first = yours(world.take(NOW));
    let after = NOW.plus(UPSTREAM_LEASE);
    let second = yours(world.take(after));
    let newer = Answer::Tokens(Brought { ends: Some(later(7_200)), ..Brought::default() }, None);
    assert!(matches!(world.settle(second, "same", newer, after), Settled::Renewed(_)));
    assert!(matches!(world.settle(first, "same", tokens(None), after), Settled::Overtaken));
    assert!(matches!(world.settle(first, "same", Answer::Refused, after), Settled::Overtaken));
    assert_eq!((world.identity.upstream.ends, world.identity.upstream.refused), (Some(later(7_200)), None));
}

#[test]
fn a_login_in_between_wins_over_every_answer() {
    for answer in
        [tokens(Some("second")), tokens(None), Answer::Refused, Answer::Barred, Answer::OnlyRefresh(token("x"))]
    {
        let mut world = World::new(Some("first"));
        let number = yours(world.take(NOW));
        let brought = Brought { refresh: Some(token("of the login")), ends: Some(NOW), ..Brought::default() };
        world.identity.take(brought, NOW);
        assert!(matches!(world.settle(number, "first", answer, NOW), Settled::Overtaken));
        assert_eq!((world.stored(), world.cut.is_none()), (Some("of the login"), true));
        assert!(matches!(world.take(NOW), Turn::Yours { .. }), "the lease was given back");
    }
}

#[test]
fn one_refusal_ends_nothing_and_two_of_one_token_end_every_session() {
    let mut world = World::new(Some("first"));
    let number = yours(world.take(NOW));
    assert!(matches!(world.settle(number, "first", Answer::Refused, NOW), Settled::RefusedOnce));
    let soon = NOW.plus(UPSTREAM_REFUSAL_PAUSE).minus(Duration::from_millis(1));
    let number = yours(world.take(soon));
    assert!(matches!(world.settle(number, "first", Answer::Refused, soon), Settled::RefusedOnce), "too soon to count");
    assert!(world.cut.is_none());
    let after = NOW.plus(UPSTREAM_REFUSAL_PAUSE);
    let number = yours(world.take(after));
    assert!(matches!(world.settle(number, "first", Answer::Refused, after), Settled::Ended));
    assert_eq!((world.stored(), world.cut.clone()), (None, Some(Cut::before(after))));
    assert!(matches!(world.take(after), Turn::LoginNeeded));
}

#[test]
fn seed_bug_21_before_the_sessions_end_the_token_of_every_login_that_came_together_has_been_tried() {
    let mut world = World::new(Some("first"));
    for (n, next) in [(2, "second"), (3, "third")] {
        let session = Listed { login: [n; 16], client_name: "c".into(), created: NOW, ends: later(9_000_000) };
        let brought = Brought { refresh: Some(token(next)), ends: Some(NOW), ..Brought::default() };
        world.identity = Identity::after_login(Some(&world.identity), claims(), brought, session, NOW);
    }
    let mut after = NOW;
    let mut refuse = |world: &mut World, sent| {
        let number = yours(world.take(after));
        assert!(matches!(world.settle(number, sent, Answer::Refused, after), Settled::RefusedOnce));
        after = after.plus(UPSTREAM_REFUSAL_PAUSE);
        let number = yours(world.take(after));
        world.settle(number, sent, Answer::Refused, after)
    };
    for (sent, next) in [("third", "second"), ("second", "first")] {
        assert!(matches!(refuse(&mut world, sent), Settled::Overtaken));
        assert_eq!((world.stored(), world.cut.is_none()), (Some(next), true));
    }
    let mut refused = World { identity: world.identity.clone(), cut: None };
    let number = yours(world.take(later(60)));
    assert!(matches!(world.settle(number, "first", tokens(Some("next")), later(60)), Settled::Renewed(_)));
    assert_eq!((world.stored(), world.identity.upstream.spares.len(), world.cut.is_none()), (Some("next"), 0, true));
    assert!(matches!(refuse(&mut refused, "first"), Settled::Ended));
    assert!(refused.stored().is_none() && refused.cut.is_some());
}

#[test]
fn seed_bug_21_the_successor_of_a_token_that_a_login_has_put_aside_takes_its_place() {
    let login = |world: &mut World, next| {
        let session = Listed { login: [2; 16], client_name: "c".into(), created: NOW, ends: later(9_000_000) };
        let brought = Brought { refresh: Some(token(next)), ends: Some(NOW), ..Brought::default() };
        world.identity = Identity::after_login(Some(&world.identity), claims(), brought, session, NOW);
    };
    let spares = |world: &World| {
        world.identity.upstream.spares.iter().map(|spare| spare.expose().to_owned()).collect::<Vec<_>>()
    };
    for (answer, left) in [
        (tokens(Some("next")), "next"),
        (Answer::OnlyRefresh(token("next")), "next"),
        (tokens(None), "first"),
        (tokens(Some("first")), "first"),
        (Answer::Refused, "first"),
    ] {
        for late in [false, true] {
            let mut world = World::new(Some("first"));
            let number = yours(world.take(NOW));
            login(&mut world, "second");
            let answer = match &answer {
                Answer::Tokens(brought, _) => Answer::Tokens(brought.clone(), None),
                Answer::OnlyRefresh(token) => Answer::OnlyRefresh(token.clone()),
                _ => Answer::Refused,
            };
            let now = if late { NOW.plus(UPSTREAM_LEASE) } else { NOW };
            if late {
                // Somebody else has the lease by then: it stays theirs.
                yours(world.take(now));
            }
            assert!(matches!(world.settle(number, "first", answer, now), Settled::Overtaken));
            assert_eq!((world.stored(), spares(&world)), (Some("second"), vec![left.to_owned()]), "{late}");
            assert_eq!(world.identity.upstream.lease.until == Timestamp::EPOCH, !late);
        }
    }
}

/// Spares are for the doubt between logins: one that has worked ends it.
#[test]
fn a_token_that_has_worked_leaves_no_spare_ones() {
    let mut world = World::new(Some("first"));
    world.identity.upstream.spares.push(token("of another login"));
    let number = yours(world.take(NOW));
    assert!(matches!(world.settle(number, "first", tokens(None), NOW), Settled::Renewed(_)));
    assert!(world.identity.upstream.spares.is_empty());
}

#[test]
fn a_successor_is_written_so_that_no_failover_loses_it_and_no_full_store_refuses_it() {
    for (answer, durable) in [
        (tokens(Some("second")), true),
        (Answer::OnlyRefresh(token("second")), true),
        (tokens(None), false),
        (tokens(Some("first")), false),
        (Answer::Nothing, false),
    ] {
        let mut world = World::new(Some("first"));
        let number = yours(world.take(NOW));
        let settle = Settle { person: PERSON, number, sent: token("first"), answer: Arc::new(answer) };
        match settle.decide(&world.facts(), NOW, &Fresh::new(&Secret::new([2; 32]), 0)) {
            Decision::Commit { writes, .. } => assert!(writes.iter().all(|write| write.durable == durable)),
            Decision::Answer { .. } => panic!("nothing was written"),
        }
    }
}

#[test]
fn seed_bug_23_a_refusal_that_is_brought_twice_is_one_refusal() {
    let mut world = World::new(Some("first"));
    let number = yours(world.take(NOW));
    assert!(matches!(world.settle(number, "first", Answer::Refused, NOW), Settled::RefusedOnce));
    // The store had taken it in, and nobody heard so.
    let after = NOW.plus(UPSTREAM_REFUSAL_PAUSE);
    assert!(matches!(world.settle(number, "first", Answer::Refused, after), Settled::Overtaken));
    assert_eq!((world.stored(), world.cut.is_none()), (Some("first"), true));
    assert!(matches!(world.take(after), Turn::Yours { .. }));
}

#[test]
fn what_says_nothing_of_the_token_changes_nothing_and_gives_the_lease_back() {
    let mut world = World::new(Some("first"));
    for _ in 0..10 {
        let number = yours(world.take(NOW));
        assert!(matches!(world.settle(number, "first", Answer::Nothing, NOW), Settled::Unchanged));
    }
    assert_eq!((world.stored(), world.identity.upstream.refused, world.cut.is_none()), (Some("first"), None, true));
    // Half a good answer: the token that was sent is spent, and its successor is all there is.
    let number = yours(world.take(NOW));
    assert!(matches!(world.settle(number, "first", Answer::OnlyRefresh(token("next")), NOW), Settled::Unchanged));
    assert_eq!(world.stored(), Some("next"));
}

#[test]
fn t197_who_may_not_enter_any_more_is_out() {
    let mut world = World::new(Some("first"));
    world.cut = Some(Cut::before(later(60)));
    let number = yours(world.take(NOW));
    assert!(matches!(world.settle(number, "first", Answer::Barred, NOW), Settled::Ended));
    let cut = world.cut.unwrap();
    assert!(cut.before > later(60), "a cut after a cut ends what began between them");
}

#[test]
fn seed_bug_18_an_access_token_ends_with_the_providers_and_nobody_is_taken_for_a_thief() {
    let lifetimes = Lifetimes { bound: true, ..Lifetimes::default() };
    let mut world = World::new(Some("first"));
    let said = |world: &World, asked| bound(&lifetimes, PERSON, &world.facts(), NOW, asked);
    assert_eq!(said(&world, false), Err(Fault::ProviderStale));
    assert_eq!(said(&world, true), Err(Fault::ProviderUnavailable), "there may be newer ones later");
    world.identity.upstream.ends = Some(later(60));
    assert_eq!((said(&world, false), said(&world, true)), (Err(Fault::ProviderStale), Ok(later(60))));
    world.identity.upstream.ends = Some(later(3_600));
    assert_eq!(said(&world, false), Ok(later(3_600)));
    world.identity.upstream.ends = None;
    assert_eq!(said(&world, false), Ok(Timestamp::FAR), "a provider that does not say binds nothing");
    let alone = World::new(None);
    assert_eq!(said(&alone, true), Err(Fault::SessionEnded), "only a login brings newer ones");
    let unbound = Lifetimes::default();
    assert_eq!(bound(&unbound, PERSON, &Facts::new(Epoch::default()), NOW, false), Ok(Timestamp::FAR));
}

/// What a provider gives whose ID token ends then, beside this refresh token.
fn with_id_token(refresh: Option<&str>, ends: Timestamp) -> Brought {
    Brought {
        refresh: refresh.map(token),
        id_token: Some((token("id"), ends)),
        ends: Some(later(7_200)),
        ..Brought::default()
    }
}

/// An answer that holds no ID token.
fn withheld() -> Brought {
    Brought { withheld: true, ends: Some(later(7_200)), ..Brought::default() }
}

#[test]
fn m20_an_id_token_is_renewed_five_minutes_before_its_end_or_from_the_middle_of_a_short_life_on() {
    for (life, renew) in [(3_600, 3_300), (600, 300), (598, 299), (60, 30), (2, 1), (0, 0)] {
        let mut world = World::new(None);
        world.identity.take(with_id_token(Some("first"), later(life)), NOW);
        let kept = world.identity.id_token().unwrap();
        assert_eq!((kept.renew.secs() - NOW.secs(), kept.ends), (renew, later(life)), "{life}");
        for (now, fresh) in [(kept.renew.minus(Duration::from_millis(1)), true), (kept.renew, false)] {
            assert_eq!(Wanted::IdToken.found_in(&world.identity, now), fresh, "{life}");
        }
    }
    // Where nothing brings another one, it serves to its end, and is missed only then.
    let mut alone = World::new(None);
    alone.identity.take(with_id_token(None, later(60)), NOW);
    assert!(Wanted::IdToken.found_in(&alone.identity, later(59)));
    assert!(!Wanted::IdToken.found_in(&alone.identity, later(60)));
    assert!(matches!(alone.ask(later(60)), Turn::LoginNeeded));
    assert!(!alone.identity.shows_id_token(later(60)) && alone.identity.shows_id_token(later(59)));
}

#[test]
fn m20_a_record_without_an_id_token_is_not_fresh_for_whoever_needs_one() {
    let mut world = World::new(None);
    let brought = Brought { refresh: Some(token("first")), ends: Some(later(7_200)), ..Brought::default() };
    world.identity.take(brought, NOW);
    assert!(Wanted::Until(later(60)).found_in(&world.identity, NOW), "the other tokens are");
    assert!(matches!(world.ask(later(1)), Turn::Yours { .. }));
}

#[test]
fn m20_an_answer_without_an_id_token_leaves_the_one_that_is_there_to_its_end_and_is_asked_for_once_more() {
    let mut world = World::new(None);
    world.identity.take(with_id_token(Some("first"), later(60)), NOW);
    let number = yours(world.ask(later(30)));
    let settled = world.settle(number, "first", Answer::Tokens(withheld(), None), later(31));
    assert!(matches!(settled, Settled::Renewed(_)));
    assert!(world.identity.upstream.withheld && world.identity.id_token().unwrap().token.same("id"));
    assert!(matches!(world.ask(later(59)), Turn::Fresh(_)), "nobody is asked for it in vain while it is good");
    let number = yours(world.ask(later(60)));
    assert!(matches!(world.settle(number, "first", Answer::Tokens(withheld(), None), later(60)), Settled::Renewed(_)));
    assert!(matches!(world.ask(later(90)), Turn::LoginNeeded));
    assert!(!world.identity.shows_id_token(later(90)));
    // Asked for newer tokens as such, the provider may have learned it.
    let forced = TakeTurn { person: PERSON, wanted: Wanted::After(later(61)) };
    let number = yours(world.turn(&forced, later(120)));
    let given = Answer::Tokens(with_id_token(None, later(3_600)), None);
    assert!(matches!(world.settle(number, "first", given, later(120)), Settled::Renewed(_)));
    assert!(!world.identity.upstream.withheld && matches!(world.ask(later(121)), Turn::Fresh(_)));
    // One that never gives any is asked once.
    let mut never = World::new(Some("first"));
    let number = yours(never.ask(later(1)));
    assert!(matches!(never.settle(number, "first", Answer::Tokens(withheld(), None), later(1)), Settled::Renewed(_)));
    assert!(matches!(never.ask(later(3_600)), Turn::LoginNeeded));
}

#[test]
fn m20_a_provider_that_gives_what_has_ended_rests_for_a_moment() {
    let mut world = World::new(None);
    world.identity.take(with_id_token(Some("first"), NOW), NOW);
    let rest = NOW.plus(UPSTREAM_REST);
    assert!(matches!(world.ask(rest.minus(Duration::from_millis(1))), Turn::TooSoon));
    assert!(matches!(world.ask(rest), Turn::Yours { .. }));
    // A clock that was set back does not make it longer.
    assert!(matches!(world.ask(NOW.minus(Duration::from_secs(3_600))), Turn::Wait | Turn::Fresh(_)));
}

#[test]
fn m20_a_login_without_its_id_token_is_over_for_the_resource_that_is_shown_it() {
    let mut policy = crate::oauth::policy::tests::policy();
    let (resource, other) = (policy.resources.iter().next().unwrap().clone(), ResourceHash([9; 16]));
    let mut world = World::new(None);
    world.identity.take(with_id_token(None, later(60)), NOW);
    let said =
        |policy: &Policy, resource, world: &World, now| login_stands(policy, resource, PERSON, &world.facts(), now);
    assert_eq!(said(&policy, resource.hash(), &world, later(60)), Ok(()), "its server is not shown one");
    assert_eq!(consulted(&policy, PERSON), None);
    policy.resources = Resources::new(vec![resource.clone().wanting_id_tokens()]).unwrap();
    assert_eq!(consulted(&policy, PERSON), Some(Key::Identity(PERSON)));
    assert_eq!(said(&policy, resource.hash(), &world, later(59)), Ok(()));
    assert_eq!(said(&policy, resource.hash(), &world, later(60)), Err(Fault::SessionEnded));
    assert_eq!(said(&policy, other, &world, later(60)), Ok(()));
    world.identity.upstream_refresh = Some(token("first"));
    assert_eq!(said(&policy, resource.hash(), &world, later(60)), Ok(()), "there may be another one");
}
