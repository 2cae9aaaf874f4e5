//! Whole scenarios with the n-th call of the store failing, for every n that they reach, in every way.
//!
//! After each step it is looked up in the store itself, past the failures, what has really happened: no token without its
//! record, no success of a revocation that is not there, nothing but 503 where the store was away, and the same request sent
//! again does what the design's table says.

use crate::engine::fixture::{Party, Wrong, admit, cut, generation, policy, scopes, sealer};
use crate::engine::scheduler::Scheduler;
use crate::engine::stores::{Bytes, Failing, Failure, Span};
use crate::engine::world::{START, Surroundings};
use portcullis_domain::journal::Happened;
use portcullis_domain::oauth::exchange::Tokens;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::grant::{Grant, State, Why};
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::operation::{Epoch, Fact};
use portcullis_domain::secret::SecretText;
use portcullis_ports::{ask, transact};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(60);
/// No scenario makes more calls.
const CALLS_MAX: usize = 500;

#[test]
fn t262_t180_r43_i17_a_session_from_login_to_its_revocation() {
    sweep(async |run| {
        let session = run.session().await;
        let first = session.refresh();
        let second = run.refresh(&session.party, &first, 2).await;
        let third = run.refresh(&session.party, &refresh_of(&second), 3).await;
        run.admitted(&third).await;
        run.admitted(&session.tokens).await;
        run.revoke(&session.party, third.access.expose()).await;
        for tokens in [&session.tokens, &second, &third] {
            run.refused(tokens, Fault::TokenRevoked).await;
        }
        run.never_again(&session.party, &refresh_of(&third)).await;
    });
}

#[test]
fn t262_i03_a_replay_of_a_code() {
    sweep(async |run| {
        let session = run.session().await;
        for wrong in Wrong::ALL {
            run.exchange_wrong(&session, wrong).await;
        }
        run.admitted(&session.tokens).await;
        run.replay(&session).await;
        run.refused(&session.tokens, Fault::TokenRevoked).await;
        run.never_again(&session.party, &session.refresh()).await;
    });
}

#[test]
fn t262_t078_t079_a_replay_of_a_refresh_token_within_and_outside_the_grace() {
    sweep(async |run| {
        let session = run.session().await;
        let first = session.refresh();
        let second = run.refresh(&session.party, &first, 2).await;
        run.pause(GRACE - Duration::from_secs(10)).await;
        let again = run.refresh(&session.party, &first, 2).await;
        assert_eq!(refresh_of(&again), refresh_of(&second), "the same successor for everybody");
        run.admitted(&again).await;
        run.pause(Duration::from_secs(30)).await;
        run.replay_refresh(&session.party, &first).await;
        run.refused(&second, Fault::TokenRevoked).await;
        run.never_again(&session.party, &refresh_of(&second)).await;
        run.never_again(&session.party, &first).await;
    });
}

#[test]
fn t262_i06_an_operator_ends_everything_of_a_person() {
    sweep(async |run| {
        let session = run.session().await;
        let person = session.party.person();
        while run.store_may_fail(transact(&run.world, cut(person)).await).is_none() {}
        run.refused(&session.tokens, Fault::TokenRevoked).await;
        let token = session.refresh();
        let refresh = async || transact(&run.world, session.party.refresh(&token, false)).await;
        let refused = run.until_heard(refresh).await;
        assert_eq!(refused.err(), Some(Fault::SessionCut));
        let next = run.session().await;
        run.admitted(&next.tokens).await;
    });
}

/// One run of a scenario, with one failure in it.
struct Run {
    world: Arc<Surroundings<Failing<Bytes>>>,
    store: Arc<Failing<Bytes>>,
    /// The store itself, past the failures.
    truth: Arc<Bytes>,
    scheduler: Scheduler,
    policy: Arc<Policy>,
    logins: AtomicU64,
}

/// A login that has been redeemed, and its answer has been heard.
struct Session {
    party: Party,
    code: SecretText,
    tokens: Tokens,
}

impl Session {
    fn refresh(&self) -> String {
        refresh_of(&self.tokens)
    }
}

fn sweep(scenario: impl AsyncFn(&Run)) {
    for failure in [Failure::Before, Failure::After] {
        for span in [Span::Once, Span::UntilHealed] {
            let mut at = 0;
            while attempt(&scenario, at, failure, span) {
                at += 1;
                assert!(at < CALLS_MAX, "the scenario comes to its end");
            }
            assert!(at > 5, "the scenario uses the store");
        }
    }
}

/// False if the scenario ended before its failure.
fn attempt(scenario: &impl AsyncFn(&Run), at: usize, failure: Failure, span: Span) -> bool {
    let scheduler = Scheduler::new(1);
    let truth = Arc::new(Bytes::new(sealer(), Epoch([1; 16])));
    let store = Arc::new(Failing::new(Arc::clone(&truth), at, failure, span));
    let world = Surroundings::new(&scheduler, Arc::clone(&store));
    let policy = policy(GRACE);
    let run = Run { world, store, truth, scheduler: scheduler.clone(), policy, logins: AtomicU64::new(0) };
    let told = Told(format!("call {at} fails {failure:?} the store, {span:?}"));
    scheduler.run(scenario(&run));
    drop(told);
    run.store.reached()
}

/// Says which failure it was, if the test panics.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::io::Write::write_all(&mut std::io::stderr(), format!("{}\n", self.0).as_bytes()).unwrap();
        }
    }
}

impl Run {
    /// Logs in and redeems the code, starting over where a failure costs the login, as the design says it may.
    async fn session(&self) -> Session {
        loop {
            let login = self.logins.fetch_add(1, Ordering::Relaxed);
            let party = Party::new(&self.policy, 1, 1, login);
            let Some(code) = self.store_may_fail(transact(&self.world, party.callback(START)).await) else {
                continue;
            };
            let code = code.unwrap();
            assert!(matches!(self.grant(&party).state, State::Code { .. }), "no code without its record");
            let first = self.store_may_fail(transact(&self.world, party.exchange(code.expose(), None)).await);
            let tokens = match first {
                Some(tokens) => tokens.unwrap(),
                None => {
                    // The answer was lost. What is there now decides what the code is still worth.
                    let redeemed = matches!(self.grant(&party).state, State::Live(_));
                    let again = transact(&self.world, party.exchange(code.expose(), None)).await;
                    match again {
                        Ok(tokens) if !redeemed => tokens,
                        Err(Fault::CodeReplayed) if redeemed => {
                            assert!(matches!(self.grant(&party).state, State::Revoked(_)));
                            continue;
                        }
                        other => panic!("{other:?}, redeemed: {redeemed}"),
                    }
                }
            };
            assert_eq!(self.generation(&party), Some(1), "no token without its record");
            assert_eq!(self.noted(&party, Happened::TokensIssued), 1);
            return Session { party, code, tokens };
        }
    }

    /// Refreshes until the answer is heard: the one that this generation must be.
    async fn refresh(&self, party: &Party, token: &str, next: u32) -> Tokens {
        let tokens = self.until_heard(async || transact(&self.world, party.refresh(token, false)).await).await.unwrap();
        assert_eq!(generation(&refresh_of(&tokens)), next, "no rotation is lost, and none happens twice");
        assert_eq!(self.generation(party), Some(next), "no token without its record");
        tokens
    }

    async fn admitted(&self, tokens: &Tokens) {
        let scopes = scopes();
        let question = admit(tokens.access.expose(), &scopes);
        self.until_heard(async || ask(&*self.world, &question).await).await.unwrap();
    }

    async fn refused(&self, tokens: &Tokens, fault: Fault) {
        let scopes = scopes();
        let question = admit(tokens.access.expose(), &scopes);
        let answer = self.until_heard(async || ask(&*self.world, &question).await).await;
        assert_eq!(answer.err(), Some(fault));
    }

    async fn revoke(&self, party: &Party, token: &str) {
        let other = self.until_heard(async || transact(&self.world, party.revoke(token, true)).await).await;
        assert_eq!(other, Err(Fault::ClientMismatch));
        assert!(self.generation(party).is_some(), "another client's request changes nothing");
        self.until_heard(async || transact(&self.world, party.revoke(token, false)).await).await.unwrap();
        assert_eq!(self.grant(party).state, State::Revoked(Why::Client), "what is answered has happened");
    }

    async fn exchange_wrong(&self, session: &Session, wrong: Wrong) {
        let exchange = async || transact(&self.world, session.party.exchange(session.code.expose(), Some(wrong))).await;
        let fault = self.until_heard(exchange).await.err().unwrap();
        let expected = match wrong {
            Wrong::Client => Fault::ClientMismatch,
            Wrong::Redirect => Fault::RedirectMismatch,
            Wrong::Verifier => Fault::VerifierWrong,
            Wrong::Resource => Fault::ResourceBeyondGrant,
        };
        assert_eq!(fault, expected);
        assert_eq!(self.generation(&session.party), Some(1), "a stranger with a code ends nobody's session");
    }

    async fn replay(&self, session: &Session) {
        let party = &session.party;
        let exchange = async || transact(&self.world, party.exchange(session.code.expose(), None)).await;
        let (mut unheard, mut answer) = (false, None);
        while answer.is_none() {
            answer = self.store_may_fail(exchange().await);
            unheard |= answer.is_none();
        }
        match answer.unwrap().err() {
            Some(Fault::CodeReplayed) => {}
            Some(Fault::CodeUnknown) if unheard => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(self.grant(party).state, State::Revoked(Why::CodeReplay));
        assert!(unheard || self.noted(party, Happened::CodeReplayed) == 1, "what is heard is noted");
    }

    async fn replay_refresh(&self, party: &Party, token: &str) {
        let (mut unheard, mut answer) = (false, None);
        while answer.is_none() {
            answer = self.store_may_fail(transact(&self.world, party.refresh(token, false)).await);
            unheard |= answer.is_none();
        }
        match answer.unwrap().err() {
            Some(Fault::RefreshReplayed) => {}
            Some(Fault::SessionRevoked) if unheard => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(self.grant(party).state, State::Revoked(Why::RefreshReplay));
        assert!(unheard || self.noted(party, Happened::RefreshReplayed) == 1, "what is heard is noted");
    }

    async fn never_again(&self, party: &Party, token: &str) {
        let answer = self.until_heard(async || transact(&self.world, party.refresh(token, false)).await).await;
        assert_eq!(answer.err(), Some(Fault::SessionRevoked));
    }

    async fn pause(&self, span: Duration) {
        self.scheduler.sleep(span).await;
    }

    /// The answer, or nothing where the store was away; then it comes back.
    fn store_may_fail<T>(&self, answer: Result<T, Fault>) -> Option<Result<T, Fault>> {
        match answer {
            Err(Fault::StoreUnavailable) => {
                assert!(self.store.reached(), "the store was there");
                self.store.heal();
                None
            }
            Err(Fault::Internal(what)) => panic!("{what}"),
            other => Some(other),
        }
    }

    /// Sends the same request again until the store was there for it.
    async fn until_heard<T>(&self, call: impl AsyncFn() -> Result<T, Fault>) -> Result<T, Fault> {
        loop {
            if let Some(answer) = self.store_may_fail(call().await) {
                return answer;
            }
        }
    }

    /// The grant as it stands.
    fn grant(&self, party: &Party) -> Grant {
        let bytes = self.truth.raw(&party.key()).unwrap();
        match sealer().open(&party.key(), &bytes).unwrap() {
            Fact::Found(stored) => stored.record.grant().unwrap().clone(),
            other => panic!("{other:?}"),
        }
    }

    fn generation(&self, party: &Party) -> Option<u32> {
        match self.grant(party).state {
            State::Live(live) => Some(live.generation),
            _ => None,
        }
    }

    fn noted(&self, party: &Party, happened: Happened) -> usize {
        let events = self.world.journal.events();
        let certain = events.iter().filter(|event| !event.in_doubt && event.happened == happened);
        certain.filter(|event| event.grant == Some(party.id())).count()
    }
}

fn refresh_of(tokens: &Tokens) -> String {
    tokens.refresh.as_ref().unwrap().expose().to_owned()
}
