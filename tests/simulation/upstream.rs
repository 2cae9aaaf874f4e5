//! Aim: whatever the identity provider, the wires to it, the store, crashes and clocks do, a refresh token of the provider that may
//! be used once is never used up by the gate, and nobody is logged out who has not been put out there.
//!
//! Method: two gateways on one store, sessions of the same people that refresh at the same moments, and a provider that keeps strictly
//! to its rules (`provider.rs`, where the judge is, too). An answer that is lost for good may cost that person one login, and nothing
//! else may. That the judge would notice is proved by taking from the store what the engine relies on.

use crate::engine::chance::Chance;
use crate::engine::fixture::{self, Party};
use crate::engine::scheduler::{Joined, Scheduler};
use crate::engine::world::{START, Surroundings, locked};
use crate::provider::{Kind, Manner, Troubles, Upstream, Wire};
use crate::store::{Broken, Faults, Link, Shared};
use crate::{caught, ordinary, variable};
use portcullis_domain::key::Person;
use portcullis_domain::limits::IDENTITY_GRANTS_MAX;
use portcullis_domain::oauth::callback::Surplus;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::identity::Identity;
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::oauth::sessions::Known;
use portcullis_domain::oauth::upstream::Brought;
use portcullis_domain::oidc::profile::GENERIC;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request::Credentials;
use portcullis_domain::operation::{Facts, Keys, Write};
use portcullis_domain::record::Record;
use portcullis_domain::secret::SecretText;
use portcullis_ports::gateway::Gateway;
use portcullis_ports::{Clock, Outcome, Seen, Store, Unavailable, World, ask, transact};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

#[test]
fn seed_bug_21_seed_bug_27_seed_bug_28_p03_the_gate_burns_nobodys_login_at_the_provider() {
    if let Some(seed) = variable("UPSTREAM_SEED") {
        match run(seed, None, true) {
            Ok(seen) => println!("{seen:#?}"),
            Err(why) => panic!("{why}"),
        }
        return;
    }
    ordinary("UPSTREAM_SEED", &MUST_BE_SEEN, |seed| run(seed, None, false));
}

/// What the ordinary run has to meet.
const MUST_BE_SEEN: [&str; 19] = [
    "alive at the end",
    "busy",
    "crashes",
    "ended",
    "ended when it came",
    "handed out once more",
    "kept beside",
    "login lost",
    "login without a token",
    "lost in between",
    "no answer",
    "nothing to show now",
    "provider unavailable",
    "refused",
    "refused for nothing",
    "renewed",
    "revoked there",
    "shown",
    "store unavailable",
];

#[test]
fn the_canaries_at_the_provider_are_caught() {
    for bent in [Forgets::Leases, Forgets::Spares, Forgets::Refusals, Forgets::Ends] {
        caught(bent, |seed| run(seed, Some(bent), false));
    }
}

/// What a store does not keep, to prove that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forgets {
    /// Who is asking the provider.
    Leases,
    /// The refresh tokens of logins that came close together.
    Spares,
    /// That a refusal was the first: every one is taken for the second.
    Refusals,
    /// When ID tokens end: they are taken for an hour longer.
    Ends,
}

/// A gateway's store, that may be bent.
struct Bending {
    link: Link,
    bent: Option<Forgets>,
}

impl Bending {
    fn bend(&self, mut write: Write) -> Write {
        if let (Some(bent), Record::Identity(identity)) = (self.bent, &*write.record) {
            let mut identity = identity.clone();
            match bent {
                Forgets::Leases => identity.upstream.lease.until = identity.upstream.lease.until.min(START),
                Forgets::Spares => identity.upstream.spares.clear(),
                Forgets::Refusals => identity.upstream.refused = Some(START),
                Forgets::Ends => {
                    if let Some((_, ends)) = &mut identity.upstream.id_token {
                        *ends = ends.plus(Duration::from_secs(3_600));
                    }
                }
            }
            write.record = Arc::new(Record::Identity(identity));
        }
        write
    }
}

impl Store for Bending {
    fn load(&self, keys: Keys) -> impl Future<Output = Result<Facts, Unavailable>> + Send {
        self.link.load(keys)
    }

    fn commit(&self, seen: Seen, writes: Vec<Write>) -> impl Future<Output = Outcome> + Send {
        self.link.commit(seen, writes.into_iter().map(|write| self.bend(write)).collect())
    }
}

type Around = Surroundings<Bending, Wire>;

/// One gateway's process.
struct Process {
    gateway: Gateway<Around>,
    dead: Arc<AtomicBool>,
}

/// What is possible in this run.
#[derive(Clone, Debug)]
struct Settings {
    manner: Manner,
    store: Faults,
    people: u64,
    sessions: u64,
    rounds: u64,
    /// How often out of a hundred nothing comes of a login at the gate.
    login_lost: u64,
    /// The longest from a login at the provider to its arrival at the gate's store.
    login_millis: u64,
    crashes: u64,
    outages: u64,
    steps: u64,
    revoked: u64,
}

impl Settings {
    fn draw(chance: &mut Chance) -> Self {
        let mut some = |percent, most: u64| if chance.percent(percent) { 1 + chance.below(most) } else { 0 };
        let faults = Troubles {
            delay_millis: [5, 60, 800][usize::try_from(some(75, 2)).unwrap_or(0)],
            unreached: some(30, 20),
            lost: some(30, 20),
            lost_between: some(30, 20),
            busy: some(30, 20),
            slow: some(20, 10),
            fickle: some(20, 20),
            mangled: some(30, 30),
            stale: some(30, 40),
            keys_millis: [0, 500, 10_000][usize::try_from(some(50, 2)).unwrap_or(0)],
        };
        let kind = [Kind::OnePerPerson, Kind::Families, Kind::Lasting][usize::try_from(some(50, 2)).unwrap_or(0)];
        let reuse = Duration::from_secs([0, 3, 30][usize::try_from(some(60, 2)).unwrap_or(0)]);
        let life = Duration::from_secs(310 + some(80, 500));
        let store = Faults {
            delay_millis: [1, 10, 100, 700][usize::try_from(some(75, 3)).unwrap_or(0)],
            load_fails: some(30, 20),
            load_hangs: some(15, 5),
            never_arrives: some(30, 20),
            answer_lost: some(30, 20),
            late: some(30, 15),
            hangs: some(15, 5),
            stalls: 0,
        };
        Self {
            manner: Manner { kind, reuse, life, id_tokens: some(40, 1) > 0, faults },
            store,
            people: 1 + some(30, 1),
            sessions: 1 + some(70, 4),
            rounds: 1 + some(80, 4),
            login_lost: some(20, 20),
            login_millis: [20, 300, 1_500][usize::try_from(some(75, 2)).unwrap_or(0)],
            crashes: some(25, 2),
            outages: some(25, 2),
            steps: some(50, 3),
            revoked: some(10, 1),
        }
    }
}

struct Stage {
    scheduler: Scheduler,
    settings: Settings,
    policy: Arc<Policy>,
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    bent: Option<Forgets>,
    processes: Mutex<Vec<Arc<Process>>>,
    logins: AtomicU64,
    calm: AtomicBool,
}

/// Runs one seed: what was seen, or which rule was broken.
fn run(seed: u64, bent: Option<Forgets>, traces: bool) -> Result<BTreeMap<&'static str, u64>, String> {
    let scheduler = Scheduler::new(seed);
    let settings = scheduler.chance(Settings::draw);
    let shared = Shared::new(&scheduler, settings.store, None::<Broken>);
    let upstream = Upstream::new(&scheduler, settings.manner, traces);
    let witness = Arc::clone(&upstream);
    shared.witness(move |write| witness.landed(write));
    let stage = Arc::new(Stage {
        policy: if settings.manner.id_tokens { fixture::showing_policy() } else { fixture::bound_policy() },
        scheduler: scheduler.clone(),
        shared,
        upstream,
        bent,
        processes: Mutex::default(),
        logins: AtomicU64::new(0),
        calm: AtomicBool::new(false),
        settings,
    });
    for _ in 0..2 {
        let process = stage.start();
        locked(&stage.processes).push(process);
    }
    scheduler.run(play(Arc::clone(&stage)));
    stage.upstream.verdict()
}

async fn play(stage: Arc<Stage>) {
    let settings = &stage.settings;
    let mut actors: Vec<Joined<()>> = Vec::new();
    for session in 0..settings.people * settings.sessions {
        let (person, client) = (session % settings.people, session);
        actors.push(stage.spawn(async move |stage| honest(stage, person, client).await));
    }
    for person in (0..settings.people).filter(|_| settings.manner.id_tokens) {
        for _ in 0..2 {
            actors.push(stage.spawn(async move |stage| caller(stage, person).await));
        }
    }
    for _ in 0..settings.crashes {
        actors.push(stage.spawn(async move |stage| crash(stage).await));
    }
    for _ in 0..settings.outages {
        actors.push(stage.spawn(async move |stage| outage(stage).await));
    }
    for _ in 0..settings.steps {
        actors.push(stage.spawn(async move |stage| step(stage).await));
    }
    for _ in 0..settings.revoked {
        actors.push(stage.spawn(async move |stage| put_out(stage).await));
    }
    for actor in actors {
        actor.await;
    }
}

/// One session that is somebody's.
struct Session {
    party: Party,
    token: String,
    /// When its login began.
    began: Duration,
}

/// A client that does nothing wrong: it logs in, and refreshes now and then, until everything has calmed down.
async fn honest(stage: Arc<Stage>, person: u64, client: u64) {
    stage.moment(Duration::from_secs(20)).await;
    let mut session = stage.log_in(person, client).await;
    for _ in 0..stage.settings.rounds {
        let life = stage.settings.manner.life;
        stage.moment(life.saturating_sub(Duration::from_secs(290))).await;
        if !stage.refresh(&mut session).await {
            session = stage.log_in(person, client).await;
        }
    }
    // Whoever is still in is in for good, and whoever is not gets in.
    stage.when_calm().await;
    if !stage.refresh(&mut session).await {
        session = stage.log_in(person, client).await;
        stage.scheduler.sleep(stage.settings.manner.life).await;
        if !stage.refresh(&mut session).await {
            stage.upstream.convict(format!("person {person} was logged out when nothing went wrong any more"));
        }
    }
    stage.upstream.count("alive at the end");
}

/// Somebody whose requests go to a server that is shown the ID token, also when it is about to end, and when it has.
async fn caller(stage: Arc<Stage>, person: u64) {
    let person = Party::new(&stage.policy, person, 0, 0).person();
    for _ in 0..=stage.settings.rounds {
        stage.moment(stage.settings.manner.life.saturating_sub(Duration::from_secs(290))).await;
        let late = [1, 5_000, 320_000][stage.scheduler.chance(|chance| chance.place(3))];
        stage.pause(0, late).await;
        stage.show(person).await;
    }
    stage.when_calm().await;
    for _ in 0..5 {
        if stage.show(person).await || !stage.upstream.could_renew(person) {
            return;
        }
        stage.pause(1_000, 5_000).await;
    }
    stage.upstream.convict(format!("nothing was shown of {person:?} when nothing went wrong any more"));
}

/// A gateway's process ends, and another one takes its place.
async fn crash(stage: Arc<Stage>) {
    stage.some_time().await;
    if stage.calm.load(Ordering::Relaxed) {
        return;
    }
    let next = stage.start();
    let mut processes = locked(&stage.processes);
    let place = stage.scheduler.chance(|chance| chance.place(processes.len()));
    let last = std::mem::replace(&mut processes[place], next);
    last.dead.store(true, Ordering::Relaxed);
    stage.upstream.count("crashes");
}

/// The store goes away and comes back, often at the very moment at which everybody refreshes.
async fn outage(stage: Arc<Stage>) {
    stage.some_time().await;
    stage.shared.away(true);
    stage.pause(50, 8_000).await;
    stage.shared.away(false);
}

async fn step(stage: Arc<Stage>) {
    stage.some_time().await;
    let skew = stage.skew();
    stage.process().gateway.world().clock.skew(skew);
}

async fn put_out(stage: Arc<Stage>) {
    stage.some_time().await;
    if stage.calm.load(Ordering::Relaxed) {
        return;
    }
    let person = stage.scheduler.chance(|chance| chance.below(stage.settings.people));
    stage.upstream.revoke(Party::new(&stage.policy, person, 0, 0).person());
}

impl Stage {
    fn start(&self) -> Arc<Process> {
        let dead = Arc::new(AtomicBool::new(false));
        let store = Arc::new(Bending { link: Link::new(&self.shared, &dead), bent: self.bent });
        let wire = Wire { upstream: Arc::clone(&self.upstream), dead: Arc::clone(&dead) };
        let world: Arc<Around> = Surroundings::with_provider(&self.scheduler, store, wire);
        world.clock.skew(self.skew());
        let client_secret = SecretText::new("secret".to_owned());
        let mut party = RelyingParty::new(Credentials { client_id: "gate".to_owned(), client_secret }, GENERIC);
        party.keeps_id_token = self.settings.manner.id_tokens;
        Arc::new(Process { gateway: Gateway::new(world, Arc::clone(&self.policy), party), dead })
    }

    fn skew(&self) -> i64 {
        self.scheduler.chance(|chance| i64::try_from(chance.below(2_001)).unwrap_or(0)) - 1_000
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        actor: impl FnOnce(Arc<Self>) -> F,
    ) -> Joined<()> {
        self.scheduler.spawn(actor(Arc::clone(self)))
    }

    fn process(&self) -> Arc<Process> {
        let processes = locked(&self.processes);
        Arc::clone(&processes[self.scheduler.chance(|chance| chance.place(processes.len()))])
    }

    async fn pause(&self, from: u64, to: u64) {
        let span = self.scheduler.chance(|chance| chance.millis(from, to));
        self.scheduler.sleep(span).await;
    }

    /// Waits for the next of the moments, so far apart, at which everybody does the same, more or less.
    async fn moment(&self, apart: Duration) {
        let apart = apart.max(Duration::from_secs(20)).as_millis();
        let now = self.scheduler.now().as_millis();
        let next = now.div_euclid(apart).saturating_add(1).saturating_mul(apart).saturating_sub(now);
        let late = [5, 100, 3_000, 30_000][self.scheduler.chance(|chance| chance.place(4))];
        self.scheduler.sleep(Duration::from_millis(u64::try_from(next).unwrap_or(0))).await;
        self.pause(0, late).await;
    }

    /// Somewhere in the run, close behind one of its moments.
    async fn some_time(&self) {
        let times = self.scheduler.chance(|chance| chance.below(5));
        self.moment(Duration::from_secs(20)).await;
        for _ in 0..times {
            self.moment(self.settings.manner.life.saturating_sub(Duration::from_secs(290))).await;
        }
    }

    async fn when_calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.shared.calm_down();
        self.upstream.calm_down();
        self.scheduler.sleep(self.settings.manner.life + Duration::from_secs(60)).await;
    }

    /// An answer of a gateway, if it came before the client had enough.
    async fn heard<T>(
        &self,
        process: &Process,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Option<Result<T, Fault>> {
        let patience = self.scheduler.sleep(Duration::from_secs(25));
        let (mut call, mut patience) = (pin!(call), pin!(patience));
        let heard = poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => patience.as_mut().poll(context).map(|()| None),
        })
        .await?;
        if let Err(Fault::StoreUnavailable) = &heard {
            self.upstream.count("store unavailable");
        }
        (!process.dead.load(Ordering::Relaxed)).then_some(heard)
    }

    /// Logs in until it has worked.
    async fn log_in(&self, person: u64, client: u64) -> Session {
        loop {
            let party = Party::new(&self.policy, person, client, self.logins.fetch_add(1, Ordering::Relaxed));
            let began = self.scheduler.now();
            if let Some(token) = self.try_log_in(&party).await {
                return Session { party, token, began };
            }
            self.pause(100, 5_000).await;
        }
    }

    async fn try_log_in(&self, party: &Party) -> Option<String> {
        let calm = self.calm.load(Ordering::Relaxed);
        let refresh = self.upstream.login(party);
        let id_token = self.settings.manner.id_tokens.then(|| self.upstream.login_id_token(party.person()));
        self.upstream.trace(|| format!("login brings {refresh:?}"));
        self.pause(0, if calm { 20 } else { self.settings.login_millis }).await;
        if !calm && self.scheduler.chance(|chance| chance.percent(self.settings.login_lost)) {
            self.upstream.count("login lost");
            return None;
        }
        let process = self.process();
        let world = process.gateway.world();
        let now = world.clock().now();
        let mut callback = party.callback(now);
        callback.brought = Brought {
            refresh: refresh.map(SecretText::new),
            id_token: id_token.map(|(token, ends)| (SecretText::new(token), ends)),
            ends: Some(now.plus(self.settings.manner.life)),
            ..Brought::default()
        };
        callback.surplus = ask(&**world, &Surplus(party.person())).await.ok()?;
        let code = self.heard(&process, transact(world, callback)).await?.ok()?;
        let process = self.process();
        let exchange = transact(process.gateway.world(), party.exchange(code.expose(), None));
        let tokens = self.heard(&process, exchange).await?.ok()?;
        tokens.refresh.map(|token| token.expose().to_owned())
    }

    /// Shows the ID token of a person who is known to the server behind, once: whether there was one to show, or nobody to show.
    async fn show(&self, person: Person) -> bool {
        let process = self.process();
        let world = process.gateway.world();
        let known = match self.heard(&process, ask(&**world, &Known(person))).await {
            Some(Ok(Some(known))) if known.identity().is_some_and(|identity| !identity.grants.is_empty()) => known,
            Some(Ok(_)) => return true,
            Some(Err(_)) | None => return false,
        };
        let (began, could) = (self.scheduler.now(), self.upstream.could_renew(person));
        let ended = || self.upstream.ended(person).is_some_and(|at| at >= began);
        match self.heard(&process, process.gateway.fresh_identity(person, &known)).await {
            Some(Ok(record)) => {
                // What is shown now must be good now.
                let now = world.clock().now();
                let token = record.identity().and_then(Identity::id_token).map(|kept| kept.token.expose().to_owned());
                self.upstream.shown(person, token.as_deref().unwrap_or_default(), now);
                return true;
            }
            Some(Err(Fault::LoginNeeded)) if could && self.upstream.could_renew(person) && !ended() => {
                let why = format!("{person:?} was sent to log in although a refresh token was good");
                self.upstream.convict(why);
            }
            Some(Err(_)) => self.upstream.count("nothing to show now"),
            None => {}
        }
        false
    }

    /// Refreshes until it has worked, or until the session is over: whether it has worked.
    async fn refresh(&self, session: &mut Session) -> bool {
        let many = u64::try_from(IDENTITY_GRANTS_MAX).unwrap_or(u64::MAX);
        loop {
            let process = self.process();
            let call = process.gateway.refreshed(session.party.refresh(&session.token, false));
            match self.heard(&process, call).await {
                Some(Ok(tokens)) => {
                    if let Some(token) = tokens.refresh {
                        session.token = token.expose().to_owned();
                    }
                    return true;
                }
                Some(Err(Fault::ProviderUnavailable)) => self.upstream.count("provider unavailable"),
                Some(Err(Fault::StoreUnavailable | Fault::Contended)) | None => {}
                // Somebody who has to log in again and again has too many sessions in the end.
                Some(Err(Fault::SessionRevoked | Fault::RefreshUnknown))
                    if self.logins.load(Ordering::Relaxed) > many =>
                {
                    return false;
                }
                Some(Err(fault)) => {
                    let person = session.party.person();
                    if self.upstream.ended(person).is_none_or(|at| at < session.began) {
                        let (now, key) = (self.scheduler.now(), session.party.key());
                        let grant = self.shared.look(key);
                        let grant = grant.of(&key);
                        self.upstream.convict(format!("a session was refused at {now:?} with {fault:?}: {grant:?}"));
                    }
                    return false;
                }
            }
            self.pause(50, 4_000).await;
        }
    }
}
