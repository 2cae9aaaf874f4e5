//! What a run plays on: the gateways, what goes on between them and their clients, and all of it written down.

use crate::Seen;
use crate::engine::chance::Chance;
use crate::engine::fixture::{self, Party, Wrong, admit, generation, scopes};
use crate::engine::scheduler::{Joined, Scheduler};
use crate::engine::world::{Surroundings, locked};
use crate::oracle::{Answer, Call, History, Login, What};
use crate::run::{Outcome, Settings};
use crate::store::{Link, Shared};
use portcullis_domain::journal::Happened;
use portcullis_domain::key::Person;
use portcullis_domain::oauth::exchange::Tokens;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::grant::State;
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::operation::Fact;
use portcullis_ports::{Clock, ask, transact};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

pub(crate) struct Gateway {
    /// Which process this is, counted over the whole run.
    pub(crate) number: u64,
    pub(crate) world: Arc<Surroundings<Link>>,
    pub(crate) link: Arc<Link>,
    pub(crate) dead: Arc<AtomicBool>,
}

impl Gateway {
    pub(crate) fn start(number: u64, scheduler: &Scheduler, shared: &Arc<Shared>) -> Arc<Self> {
        let dead = Arc::new(AtomicBool::new(false));
        let link = Arc::new(Link::new(shared, &dead));
        let world = Surroundings::new(scheduler, Arc::clone(&link));
        world.clock.skew(skew(scheduler));
        Arc::new(Self { number, world, link, dead })
    }
}

pub(crate) fn skew(scheduler: &Scheduler) -> i64 {
    scheduler.chance(|chance| i64::try_from(chance.below(2_001)).unwrap_or(0)) - 1_000
}

pub(crate) struct Stage {
    pub(crate) policy: Arc<Policy>,
    pub(crate) scheduler: Scheduler,
    pub(crate) settings: Settings,
    pub(crate) shared: Arc<Shared>,
    pub(crate) gateways: Mutex<Vec<Arc<Gateway>>>,
    pub(crate) gone: Mutex<Vec<Arc<Gateway>>>,
    pub(crate) history: Mutex<History>,
    pub(crate) parties: Mutex<Vec<Party>>,
    pub(crate) calm: AtomicBool,
    pub(crate) logins: AtomicU64,
    pub(crate) failovers: AtomicU64,
    pub(crate) processes: AtomicU64,
}

/// What the processes of one client share, and what a thief can copy.
pub(crate) struct Session {
    pub(crate) party: Party,
    pub(crate) login: usize,
    pub(crate) code: Mutex<Option<String>>,
    /// The refresh tokens that the client has heard of, by generation.
    pub(crate) refresh: Mutex<BTreeMap<u32, String>>,
    pub(crate) access: Mutex<Vec<String>>,
}

impl Session {
    pub(crate) fn newest(&self) -> Option<String> {
        locked(&self.refresh).last_key_value().map(|(_, token)| token.clone())
    }

    pub(crate) fn any_refresh(&self, chance: &mut Chance) -> Option<String> {
        let tokens = locked(&self.refresh);
        tokens.values().nth(chance.place(tokens.len())).cloned()
    }

    pub(crate) fn hear(&self, tokens: &Tokens) {
        if let Some(token) = &tokens.refresh {
            locked(&self.refresh).insert(generation(token.expose()), token.expose().to_owned());
        }
        locked(&self.access).push(tokens.access.expose().to_owned());
    }
}

/// The client's view of an answer: nothing, if it never came.
pub(crate) type Heard<T> = Option<Result<T, Fault>>;

impl Stage {
    pub(crate) fn chance<T>(&self, ask: impl FnOnce(&mut Chance) -> T) -> T {
        self.scheduler.chance(ask)
    }

    pub(crate) async fn pause(&self, from: u64, to: u64) {
        let span = self.chance(|chance| chance.millis(from, to));
        self.scheduler.sleep(span).await;
    }

    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        actor: impl FnOnce(Arc<Self>) -> F,
    ) -> Joined<()> {
        self.scheduler.spawn(actor(Arc::clone(self)))
    }

    pub(crate) fn gateway(&self) -> Arc<Gateway> {
        let gateways = locked(&self.gateways);
        Arc::clone(&gateways[self.chance(|chance| chance.place(gateways.len()))])
    }

    pub(crate) fn fail_over(self: &Arc<Self>) {
        if self.calm.load(Ordering::Relaxed) {
            return;
        }
        let lost = self.chance(|chance| chance.millis(0, 2_000));
        let splits = self.chance(|chance| chance.percent(self.settings.splits));
        self.shared.fail_over(lost, splits);
        self.failovers.fetch_add(1, Ordering::Relaxed);
        // One that had been left behind comes along now, whether another is left behind or not.
        for gateway in locked(&self.gateways).iter() {
            gateway.link.leave_behind(false);
        }
        if splits {
            self.gateway().link.leave_behind(true);
            let place = {
                let mut history = locked(&self.history);
                history.splits.push((self.scheduler.now(), Duration::MAX));
                history.splits.len() - 1
            };
            let healed = self.spawn(async move |stage| {
                stage.pause(100, 10_000).await;
                stage.shared.heal();
                locked(&stage.history).splits[place].1 = stage.scheduler.now();
            });
            drop(healed);
        }
    }

    pub(crate) fn session(&self, party: Party) -> Arc<Session> {
        let login = {
            let mut history = locked(&self.history);
            history.logins.push(Login { id: party.id(), generation: None });
            history.logins.len() - 1
        };
        locked(&self.parties).push(party.clone());
        Arc::new(Session { party, login, code: Mutex::default(), refresh: Mutex::default(), access: Mutex::default() })
    }

    /// Ends all faults, once, and waits until what they left on the wires has arrived.
    pub(crate) async fn when_calm(&self) {
        if !self.calm.swap(true, Ordering::Relaxed) {
            self.shared.calm_down();
        }
        let settled = Duration::from_secs(15);
        let quiet = {
            let mut history = locked(&self.history);
            if history.quiet.is_zero() {
                history.quiet = self.scheduler.now() + settled;
            }
            history.quiet
        };
        self.scheduler.sleep(quiet.saturating_sub(self.scheduler.now()) + Duration::from_millis(1)).await;
    }

    pub(crate) async fn callback(&self, session: &Session) -> Heard<String> {
        let gateway = self.gateway();
        let operation = session.party.callback(gateway.world.clock.now());
        let call = transact(&gateway.world, operation);
        let heard = self.call(&gateway, session, What::Callback, true, call, |_| Answer::Done).await;
        heard.map(|answer| answer.map(|code| code.expose().to_owned()))
    }

    pub(crate) async fn exchange(&self, session: &Session, code: &str, wrong: Option<Wrong>) -> Heard<Tokens> {
        let gateway = self.gateway();
        let call = transact(&gateway.world, session.party.exchange(code, wrong));
        let heard = self.call(&gateway, session, What::Exchange, wrong.is_none(), call, answer).await;
        Self::heard_tokens(session, heard)
    }

    pub(crate) async fn refresh(&self, session: &Session, token: &str, wrong: bool) -> Heard<Tokens> {
        let gateway = self.gateway();
        let call = transact(&gateway.world, session.party.refresh(token, wrong));
        let heard = self.call(&gateway, session, What::Refresh(generation(token)), !wrong, call, answer).await;
        Self::heard_tokens(session, heard)
    }

    pub(crate) fn heard_tokens(session: &Session, heard: Heard<Tokens>) -> Heard<Tokens> {
        if let Some(Ok(tokens)) = &heard {
            session.hear(tokens);
        }
        heard
    }

    pub(crate) async fn revoke(&self, session: &Session, token: &str, wrong: bool) -> Heard<()> {
        let gateway = self.gateway();
        let call = transact(&gateway.world, session.party.revoke(token, wrong));
        self.call(&gateway, session, What::Revoke, !wrong, call, |()| Answer::Done).await
    }

    pub(crate) async fn admit(&self, session: &Session, access: &str) -> Heard<()> {
        let gateway = self.gateway();
        let scopes = scopes();
        let question = admit(access, &scopes);
        let call = async { ask(&*gateway.world, &question).await.map(drop) };
        self.call(&gateway, session, What::Admit, true, call, |()| Answer::Done).await
    }

    pub(crate) async fn cut(&self, person: Person) -> Heard<()> {
        let gateway = self.gateway();
        let call = transact(&gateway.world, fixture::cut(person));
        self.heard(&gateway, (person, None), What::Cut, true, call, |()| Answer::Done).await
    }

    pub(crate) async fn call<T>(
        &self,
        gateway: &Gateway,
        session: &Session,
        what: What,
        right: bool,
        call: impl Future<Output = Result<T, Fault>>,
        answer: impl Fn(&T) -> Answer,
    ) -> Heard<T> {
        self.heard(gateway, (session.party.person(), Some(session.login)), what, right, call, answer).await
    }

    /// Sends a request, writes down what the gateway answered, and says what the client heard of it.
    pub(crate) async fn heard<T>(
        &self,
        gateway: &Gateway,
        (person, login): (Person, Option<usize>),
        what: What,
        right: bool,
        call: impl Future<Output = Result<T, Fault>>,
        answer: impl Fn(&T) -> Answer,
    ) -> Heard<T> {
        let place = {
            let mut history = locked(&self.history);
            let (by, invoked) = (gateway.number, self.scheduler.now());
            let left_behind = gateway.link.is_left_behind();
            history.calls.push(Call { person, login, what, right, by, left_behind, invoked, done: None });
            history.calls.len() - 1
        };
        let calm = self.calm.load(Ordering::Relaxed);
        let unheard = !calm && self.chance(|chance| chance.percent(self.settings.unheard));
        // Some who do not hear the answer have hung up before it came, the others lose it on its way.
        let patience = self.chance(|chance| match (unheard, chance.percent(30)) {
            (true, true) => chance.millis(0, 300),
            _ => Duration::from_secs(10),
        });
        let sleep = self.scheduler.sleep(patience);
        let (mut call, mut sleep) = (pin!(call), pin!(sleep));
        let heard = poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await?;
        if gateway.dead.load(Ordering::Relaxed) {
            return None;
        }
        let told = match &heard {
            Ok(reply) => answer(reply),
            Err(fault) => Answer::Refused(*fault),
        };
        locked(&self.history).calls[place].done = Some((self.scheduler.now(), told));
        if unheard { None } else { Some(heard) }
    }

    pub(crate) fn close(&self) -> Outcome {
        let mut history = std::mem::take(&mut *locked(&self.history));
        if history.quiet.is_zero() {
            history.quiet = Duration::MAX;
        }
        for (login, party) in history.logins.iter_mut().zip(locked(&self.parties).iter()) {
            if let Ok(Fact::Found(stored)) = self.shared.look(party.key()).of(&party.key())
                && let Some(State::Live(live)) = stored.record.grant().map(|grant| &grant.state)
            {
                login.generation = Some(live.generation);
            }
        }
        let gateways = locked(&self.gateways);
        for gateway in gateways.iter().chain(locked(&self.gone).iter()) {
            history.events.extend(gateway.world.journal.events());
        }
        let seen = self.count(&history, &gateways);
        Outcome { history, seen }
    }

    pub(crate) fn count(&self, history: &History, gateways: &[Arc<Gateway>]) -> Seen {
        let mut seen: Seen = Seen::new();
        let mut add = |what, times: u64| *seen.entry(what).or_insert(0) += times;
        for call in &history.calls {
            add("requests", 1);
            add("unanswered", u64::from(call.done.is_none()));
            add(
                "admitted",
                u64::from(call.what == What::Admit && call.done.as_ref().is_some_and(|it| it.1 == Answer::Done)),
            );
            add(
                "sessions",
                u64::from(call.what == What::Exchange && matches!(call.done, Some((_, Answer::Tokens(..))))),
            );
            if let Some((_, Answer::Refused(fault))) = &call.done {
                add(name(*fault), 1);
            }
        }
        for event in &history.events {
            add("repeated in grace", u64::from(event.happened == Happened::RefreshRepeated));
            add("rolled forward", u64::from(event.happened == Happened::RefreshRolledForward));
            add("rotated", u64::from(event.happened == Happened::TokensRefreshed));
        }
        for gateway in gateways {
            add("answered near by", gateway.link.hits());
            add("queued", gateway.world.turnstiles.entered.load(Ordering::Relaxed));
        }
        add("crashes", u64::try_from(locked(&self.gone).len()).unwrap_or(0));
        add("splits", u64::try_from(history.splits.len()).unwrap_or(0));
        add("left behind", u64::try_from(history.calls.iter().filter(|call| call.left_behind).count()).unwrap_or(0));
        add("failovers", self.failovers.load(Ordering::Relaxed));
        add(
            "alive at the end",
            u64::try_from(history.logins.iter().filter(|it| it.generation.is_some()).count()).unwrap_or(0),
        );
        seen
    }
}

fn answer(tokens: &Tokens) -> Answer {
    let refresh = tokens.refresh.as_ref().map_or("", |token| token.expose());
    Answer::Tokens(generation(refresh), refresh.to_owned())
}

/// The faults that a run has to meet now and then, or it proves nothing.
fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::StoreUnavailable => "store unavailable",
        Fault::Contended => "contended",
        Fault::CallbackRepeated => "callback repeated",
        Fault::CodeReplayed => "code replayed",
        Fault::CodeUnknown => "code unknown",
        Fault::CodeExpired => "code expired",
        Fault::CodeEpoch => "code of another epoch",
        Fault::ClientMismatch => "another client",
        Fault::VerifierWrong => "wrong verifier",
        Fault::RedirectMismatch => "wrong redirect",
        Fault::ResourceBeyondGrant => "wrong resource",
        Fault::RefreshReplayed => "refresh replayed",
        Fault::RefreshUnknown => "refresh unknown",
        Fault::RefreshAhead => "refresh ahead",
        Fault::SessionRevoked => "session revoked",
        Fault::SessionCut => "session cut",
        Fault::TokenRevoked => "token revoked",
        _ => "other",
    }
}
