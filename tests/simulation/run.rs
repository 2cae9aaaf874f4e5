//! One run: gateways that crash and whose clocks are off, clients of every kind, and what goes wrong around them.
//!
//! What is possible in a run is drawn from its seed first, so that some runs have much of one thing and nothing of another.

use crate::Seen;
use crate::engine::chance::Chance;
use crate::engine::fixture::{self, Party, Wrong};
use crate::engine::scheduler::{Joined, Scheduler};
use crate::engine::world::locked;
use crate::oracle::History;
use crate::stage::{Gateway, Session, Stage, skew};
use crate::store::{Broken, Faults, Shared};
use portcullis_domain::oauth::fault::Fault;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What came of a run, for the judge and for the count of what was seen at all.
pub(crate) struct Outcome {
    pub(crate) history: History,
    pub(crate) seen: Seen,
}

/// Runs one seed, on a store that may be broken.
pub(crate) fn run(seed: u64, broken: Option<Broken>) -> Outcome {
    let scheduler = Scheduler::new(seed);
    let settings = scheduler.chance(Settings::draw);
    let shared = Shared::new(&scheduler, settings.faults, broken);
    let stage = Arc::new(Stage {
        policy: fixture::policy(settings.grace),
        scheduler: scheduler.clone(),
        gateways: Mutex::new((0..2).map(|number| Gateway::start(number, &scheduler, &shared)).collect()),
        gone: Mutex::default(),
        history: Mutex::new(History { grace: settings.grace, failover: settings.failovers > 0, ..History::default() }),
        calm: AtomicBool::new(false),
        logins: AtomicU64::new(0),
        failovers: AtomicU64::new(0),
        processes: AtomicU64::new(2),
        parties: Mutex::default(),
        shared,
        settings,
    });
    scheduler.run(play(Arc::clone(&stage)));
    stage.close()
}

/// What is possible in this run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) grace: Duration,
    pub(crate) faults: Faults,
    /// How often out of a hundred a client does not hear an answer.
    pub(crate) unheard: u64,
    pub(crate) people: u64,
    pub(crate) clients: u64,
    pub(crate) processes_max: u64,
    pub(crate) rounds_max: u64,
    pub(crate) pause_millis: u64,
    pub(crate) thieves: u64,
    pub(crate) revokers: u64,
    pub(crate) cuts: u64,
    pub(crate) outages: u64,
    pub(crate) failovers: u64,
    /// How often out of a hundred a failover leaves a gateway behind.
    pub(crate) splits: u64,
    pub(crate) crashes: u64,
    pub(crate) steps: u64,
    pub(crate) callers: u64,
}

impl Settings {
    fn draw(chance: &mut Chance) -> Self {
        let mut some = |percent, most: u64| if chance.percent(percent) { 1 + chance.below(most) } else { 0 };
        let faults = Faults {
            delay_millis: [1, 10, 100, 700][usize::try_from(some(75, 3)).unwrap_or(0)],
            load_fails: some(40, 20),
            load_hangs: some(20, 5),
            never_arrives: some(40, 20),
            answer_lost: some(40, 25),
            late: some(40, 20),
            hangs: some(20, 8),
            stalls: some(40, 10),
        };
        let grace = [60, 60, 5, 0, 600][usize::try_from(some(60, 4)).unwrap_or(0)];
        Self {
            grace: Duration::from_secs(grace),
            faults,
            unheard: some(50, 30),
            people: 1 + some(30, 1),
            clients: 1 + some(50, 2),
            processes_max: 1 + some(60, 7),
            rounds_max: 1 + some(80, 4),
            pause_millis: [1_000, 20_000, 40][usize::try_from(some(75, 2)).unwrap_or(0)],
            thieves: some(40, 3),
            revokers: some(20, 1),
            cuts: some(20, 2),
            outages: some(30, 2),
            failovers: some(15, 2),
            splits: some(50, 60),
            crashes: some(25, 3),
            steps: some(50, 4),
            callers: some(40, 2),
        }
    }
}

async fn play(stage: Arc<Stage>) {
    let mut actors: Vec<Joined<()>> = Vec::new();
    let settings = stage.settings.clone();
    for client in 0..settings.clients {
        let person = stage.chance(|chance| chance.below(settings.people));
        actors.push(stage.spawn(async move |stage| honest(stage, person, client).await));
    }
    for _ in 0..settings.cuts {
        actors.push(stage.spawn(async move |stage| operator(stage).await));
    }
    for _ in 0..settings.outages {
        actors.push(stage.spawn(async move |stage| outage(stage).await));
    }
    for _ in 0..settings.failovers {
        actors.push(stage.spawn(async move |stage| failover(stage).await));
    }
    for _ in 0..settings.crashes {
        actors.push(stage.spawn(async move |stage| crash(stage).await));
    }
    for _ in 0..settings.steps {
        actors.push(stage.spawn(async move |stage| step(stage).await));
    }
    for actor in actors {
        actor.await;
    }
}

/// A client that does nothing wrong: it logs in, its processes share what it gets, and they try again what was not answered.
async fn honest(stage: Arc<Stage>, person: u64, client: u64) {
    stage.pause(0, 5_000).await;
    for _ in 0..3 {
        let login = stage.logins.fetch_add(1, Ordering::Relaxed);
        let party = Party::new(&stage.policy, person, client, login);
        let session = stage.session(party);
        if let Some(code) = log_in(&stage, &session).await
            && redeem(&stage, &session, &code).await
        {
            live(stage, session).await;
            return;
        }
    }
}

/// The browser comes back with the provider's code, sometimes twice.
async fn log_in(stage: &Arc<Stage>, session: &Arc<Session>) -> Option<String> {
    let twice = stage.chance(|chance| chance.percent(10));
    let reload = twice.then(|| {
        let session = Arc::clone(session);
        stage.spawn(async move |stage| {
            let _page = stage.callback(&session).await;
        })
    });
    let heard = stage.callback(session).await;
    if let Some(reload) = reload {
        reload.await;
    }
    heard.and_then(Result::ok)
}

async fn redeem(stage: &Arc<Stage>, session: &Arc<Session>, code: &str) -> bool {
    *locked(&session.code) = Some(code.to_owned());
    if stage.chance(|chance| chance.percent(5)) {
        // Somebody who does not come to it within its minute.
        stage.pause(50_000, 75_000).await;
    }
    let mut hasty = None;
    if stage.settings.failovers > 0 && stage.chance(|chance| chance.percent(40)) {
        // The client sends its code twice at once, and the store changes hands meanwhile.
        let (session, code) = (Arc::clone(session), code.to_owned());
        hasty = Some(stage.spawn(async move |stage| {
            let _tokens = stage.exchange(&session, &code, None).await;
        }));
        let longest = stage.settings.faults.delay_millis.saturating_mul(6);
        stage.spawn(async move |stage| {
            stage.pause(0, longest).await;
            stage.fail_over();
        });
    }
    let redeemed = redeem_once(stage, session, code).await;
    if let Some(hasty) = hasty {
        hasty.await;
    }
    redeemed
}

async fn redeem_once(stage: &Arc<Stage>, session: &Arc<Session>, code: &str) -> bool {
    for _ in 0..2 {
        match stage.exchange(session, code, None).await {
            Some(Ok(_)) => return true,
            Some(Err(Fault::StoreUnavailable | Fault::Contended)) | None => {
                if stage.chance(|chance| chance.percent(50)) {
                    return false;
                }
                stage.pause(0, 2_000).await;
            }
            Some(Err(_)) => return false,
        }
    }
    false
}

async fn live(stage: Arc<Stage>, session: Arc<Session>) {
    let settings = stage.settings.clone();
    let mut actors = Vec::new();
    let processes = 1 + stage.chance(|chance| chance.below(settings.processes_max));
    for _ in 0..processes {
        let session = Arc::clone(&session);
        actors.push(stage.spawn(async move |stage| process(stage, session).await));
    }
    for _ in 0..settings.thieves {
        let session = Arc::clone(&session);
        actors.push(stage.spawn(async move |stage| thief(stage, session).await));
    }
    for _ in 0..settings.revokers {
        let session = Arc::clone(&session);
        actors.push(stage.spawn(async move |stage| revoker(stage, session).await));
    }
    for _ in 0..settings.callers {
        let session = Arc::clone(&session);
        actors.push(stage.spawn(async move |stage| caller(stage, session).await));
    }
    for actor in actors {
        actor.await;
    }
    last_words(&stage, &session).await;
}

/// One process: it refreshes now and then, and uses what it gets.
async fn process(stage: Arc<Stage>, session: Arc<Session>) {
    let rounds = 1 + stage.chance(|chance| chance.below(stage.settings.rounds_max));
    for _ in 0..rounds {
        stage.pause(0, stage.settings.pause_millis).await;
        let Some(mut token) = session.newest() else { return };
        if stage.chance(|chance| chance.percent(10)) {
            // It read the token, and then something else kept it busy.
            stage.pause(0, 8_000).await;
        }
        loop {
            match stage.refresh(&session, &token, false).await {
                Some(Ok(tokens)) => {
                    let _admitted = stage.admit(&session, tokens.access.expose()).await;
                    break;
                }
                Some(Err(Fault::StoreUnavailable | Fault::Contended)) | None => stage.pause(0, 1_500).await,
                Some(Err(_)) => return,
            }
            // Half of them look whether another process was luckier.
            if let (true, Some(newest)) = (stage.chance(|chance| chance.percent(50)), session.newest()) {
                token = newest;
            }
        }
    }
}

/// Somebody who has copied what the client held, and uses it, at once or much later, knowing the rest or not.
async fn thief(stage: Arc<Stage>, session: Arc<Session>) {
    stage.pause(0, 20_000).await;
    let code = locked(&session.code).clone();
    let refresh = stage.chance(|chance| session.any_refresh(chance));
    let longest = [500, 30_000, 150_000][stage.chance(|chance| chance.place(3))];
    stage.pause(0, longest).await;
    let mut stolen = None;
    match (stage.chance(|chance| chance.below(4)), code, refresh) {
        (0, Some(code), _) => {
            stolen = stage.exchange(&session, &code, None).await;
        }
        (1, Some(code), _) => {
            let wrong = Wrong::ALL[stage.chance(|chance| chance.place(Wrong::ALL.len()))];
            stolen = stage.exchange(&session, &code, Some(wrong)).await;
        }
        (2, _, Some(refresh)) => {
            stolen = stage.refresh(&session, &refresh, true).await;
        }
        (3, _, Some(refresh)) => {
            stolen = stage.refresh(&session, &refresh, false).await;
        }
        _ => {}
    }
    if let Some(Ok(tokens)) = stolen {
        let _admitted = stage.admit(&session, tokens.access.expose()).await;
    }
}

/// It uses the session again and again, as applications do, until it is refused.
async fn caller(stage: Arc<Stage>, session: Arc<Session>) {
    stage.pause(0, 30_000).await;
    let times = 10 + stage.chance(|chance| chance.below(60));
    for _ in 0..times {
        stage.pause(10, 400).await;
        let Some(access) = locked(&session.access).last().cloned() else { return };
        if let Some(Err(Fault::TokenRevoked)) = stage.admit(&session, &access).await
            && stage.chance(|chance| chance.percent(70))
        {
            return;
        }
    }
}

async fn revoker(stage: Arc<Stage>, session: Arc<Session>) {
    stage.pause(0, 40_000).await;
    let wrong = stage.chance(|chance| chance.percent(40));
    let token = if stage.chance(|chance| chance.percent(50)) {
        stage.chance(|chance| session.any_refresh(chance))
    } else {
        locked(&session.access).first().cloned()
    };
    if let Some(token) = token {
        let _revoked = stage.revoke(&session, &token, wrong).await;
    }
}

/// After everything: what is still alive works, what is not does not, and a token from long ago ends it.
async fn last_words(stage: &Arc<Stage>, session: &Arc<Session>) {
    stage.when_calm().await;
    let Some(newest) = session.newest() else { return };
    let mut last = newest;
    for _ in 0..2 {
        if let Some(Ok(tokens)) = stage.refresh(session, &last, false).await {
            let _admitted = stage.admit(session, tokens.access.expose()).await;
            last = tokens.refresh.map_or(last, |token| token.expose().to_owned());
        }
    }
    let code = locked(&session.code).clone();
    if let (true, Some(code)) = (stage.chance(|chance| chance.percent(30)), code) {
        let wrong = Wrong::ALL[stage.chance(|chance| chance.place(Wrong::ALL.len()))];
        let _refused = stage.exchange(session, &code, Some(wrong)).await;
        let _admitted = stage.refresh(session, &last, false).await;
        let _replayed = stage.exchange(session, &code, None).await;
    } else if stage.chance(|chance| chance.percent(50)) {
        let oldest = locked(&session.refresh).first_key_value().map(|(_, token)| token.clone());
        stage.scheduler.sleep(stage.settings.grace + Duration::from_secs(10)).await;
        if let Some(oldest) = oldest {
            let _replayed = stage.refresh(session, &oldest, false).await;
        }
    } else {
        let _revoked = stage.revoke(session, &last, false).await;
    }
    let accesses = locked(&session.access).clone();
    for access in accesses.iter().rev().take(2) {
        let _refused = stage.admit(session, access).await;
    }
    let _refused = stage.refresh(session, &last, false).await;
}

async fn operator(stage: Arc<Stage>) {
    stage.pause(0, 60_000).await;
    let people = stage.settings.people;
    let person = stage.chance(|chance| chance.below(people));
    let person = Party::new(&stage.policy, person, 0, 0).person();
    let _cut = stage.cut(person).await;
}

async fn outage(stage: Arc<Stage>) {
    stage.pause(0, 60_000).await;
    let from = stage.scheduler.now();
    stage.shared.away(true);
    stage.pause(100, 6_000).await;
    // Two outages may overlap: the first that ends ends both.
    stage.shared.away(false);
    let to = stage.scheduler.now();
    let mut history = locked(&stage.history);
    if stage.settings.outages == 1 && stage.settings.failovers == 0 && !stage.calm.load(Ordering::Relaxed) {
        history.outages.push((from, to));
    }
}

async fn failover(stage: Arc<Stage>) {
    stage.pause(0, 60_000).await;
    let down = stage.chance(|chance| chance.millis(0, 3_000));
    stage.shared.away(down > Duration::from_millis(500));
    stage.fail_over();
    stage.scheduler.sleep(down).await;
    stage.shared.away(false);
}

/// A gateway's process ends, and another one takes its place.
async fn crash(stage: Arc<Stage>) {
    stage.pause(0, 60_000).await;
    if stage.calm.load(Ordering::Relaxed) {
        return;
    }
    let number = stage.processes.fetch_add(1, Ordering::Relaxed);
    let next = Gateway::start(number, &stage.scheduler, &stage.shared);
    let mut gateways = locked(&stage.gateways);
    let place = stage.chance(|chance| chance.place(gateways.len()));
    let last = std::mem::replace(&mut gateways[place], next);
    last.dead.store(true, Ordering::Relaxed);
    locked(&stage.gone).push(last);
}

/// A gateway's clock is set.
async fn step(stage: Arc<Stage>) {
    stage.pause(0, 90_000).await;
    let gateway = stage.gateway();
    gateway.world.clock.skew(skew(&stage.scheduler));
}
