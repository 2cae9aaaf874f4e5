//! An identity provider that keeps strictly to its rules about refresh tokens, at the end of wires that lose things, with a judge that
//! knows every token it ever made, who sent it, and what became of it in the store.
//!
//! Three kinds: one refresh token per person, replaced on use and by every login (Dex); a family for each login, that ends with the
//! second use of one of its tokens (Auth0, Okta, Keycloak); tokens that last (Google).

use crate::engine::chance::Chance;
use crate::engine::fixture::{ISSUER, Party};
use crate::engine::scheduler::Scheduler;
use crate::engine::world::{START, locked};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::jose::sign::Signer;
use portcullis_domain::key::{Key, Person};
use portcullis_domain::limits::{PROVIDER_DEADLINE, UPSTREAM_LEASE};
use portcullis_domain::oidc::discovery::{self, Provider};
use portcullis_domain::oidc::request::BackChannel;
use portcullis_domain::operation::Write;
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::json::ObjectWriter;
use portcullis_domain::wire::text::from_base64url_exact;
use portcullis_ports::{BackAnswer, IdentityProvider, Unreachable};
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// What the provider does with its refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One per person: used once, and ended by the next login.
    OnePerPerson,
    /// Used once, each login's by themselves; a second use ends them all.
    Families,
    /// Used as often as one likes, and given at a person's first login only.
    Lasting,
}

/// How often out of a hundred something goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Troubles {
    /// The longest way of one message.
    pub(crate) delay_millis: u64,
    /// The request never arrives.
    pub(crate) unreached: u64,
    /// It has done what was asked, and the answer is lost.
    pub(crate) lost: u64,
    /// Somebody in between answers 502, having passed the request on.
    pub(crate) lost_between: u64,
    /// It answers 503.
    pub(crate) busy: u64,
    /// It takes longer than anybody waits, having done it.
    pub(crate) slow: u64,
    /// It refuses a good token, once.
    pub(crate) fickle: u64,
    /// Its answer holds an ID token that is none.
    pub(crate) mangled: u64,
    /// Its answer holds an ID token that has ended already, by less than clocks may differ.
    pub(crate) stale: u64,
    /// Its keys take so long.
    pub(crate) keys_millis: u64,
}

/// The settings of a provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) kind: Kind,
    /// For how long after its use a token is answered with the successor that it has.
    pub(crate) reuse: Duration,
    /// How long the tokens beside the refresh token live.
    pub(crate) life: Duration,
    /// Whether its answers to refreshes hold an ID token.
    pub(crate) id_tokens: bool,
    pub(crate) faults: Troubles,
}

/// The provider.
pub(crate) struct Upstream {
    scheduler: Scheduler,
    pub(crate) manner: Manner,
    calm: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tokens: BTreeMap<String, Token>,
    people: BTreeMap<Person, Account>,
    /// Whose each ID token is, and its end in seconds.
    id_tokens: BTreeMap<String, (Person, u64)>,
    made: u64,
    judge: Judge,
}

struct Token {
    person: Person,
    family: u64,
    condition: Condition,
    fickle: bool,
}

#[derive(Clone)]
enum Condition {
    Live,
    Spent { at: Duration, successor: String },
    Dead,
}

#[derive(Default)]
struct Account {
    /// What the store holds, the current one first.
    held: Vec<String>,
    /// When every session of the person was ended.
    ended: Option<Duration>,
    revoked: bool,
    subject: String,
}

/// Everything that was sent and stored.
#[derive(Default)]
struct Judge {
    sent: BTreeMap<String, Vec<Sent>>,
    stored: BTreeMap<String, Duration>,
    violation: Option<String>,
    /// What happened, for whoever looks at one seed.
    trace: Option<Vec<String>>,
    seen: BTreeMap<&'static str, u64>,
}

struct Sent {
    at: Duration,
    dead: Arc<AtomicBool>,
    heard: Heard,
}

enum Heard {
    /// Nothing yet.
    Pending,
    /// This successor.
    Successor(String),
    /// Something else, or that there is nothing to hear.
    Nothing,
}

impl Judge {
    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_insert(0) += 1;
    }

    fn trace(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    fn convict(&mut self, why: String) {
        self.trace(|| format!("VIOLATION {why}"));
        self.violation.get_or_insert(why);
    }

    /// A single-use token is sent by one at a time, and never again once its successor is stored.
    fn sends(&mut self, token: &str, now: Duration, dead: &Arc<AtomicBool>) -> usize {
        // The clocks of two gateways are off by two seconds at the most.
        let lease = UPSTREAM_LEASE.saturating_sub(Duration::from_secs(3));
        let mut again = None;
        for sent in self.sent.get(token).into_iter().flatten() {
            let within = now.saturating_sub(sent.at) < lease;
            let alive = !sent.dead.load(Ordering::Relaxed);
            let burnt = match &sent.heard {
                Heard::Pending => within && alive,
                Heard::Successor(successor) => {
                    let landed = self.stored.get(successor).copied();
                    match within {
                        true => alive || landed.is_some(),
                        false => landed.is_some_and(|at| at + Duration::from_secs(5) < now),
                    }
                }
                Heard::Nothing => false,
            };
            if burnt {
                again = Some(format!("{token} is sent at {now:?}, and was sent already at {:?}", sent.at));
            }
        }
        if let Some(why) = again {
            self.convict(why);
        }
        let sent = self.sent.entry(token.to_owned()).or_default();
        sent.push(Sent { at: now, dead: Arc::clone(dead), heard: Heard::Pending });
        sent.len() - 1
    }
}

/// What the provider does on one request.
enum Answered {
    Tokens(Option<String>),
    Refused,
}

impl State {
    fn make(&mut self, person: Person, family: u64) -> String {
        self.made += 1;
        let token = format!("rt-{}", self.made);
        self.tokens.insert(token.clone(), Token { person, family, condition: Condition::Live, fickle: false });
        token
    }

    fn is_live(&self, token: &str) -> bool {
        self.tokens.get(token).is_some_and(|token| matches!(token.condition, Condition::Live))
    }

    fn refresh(&mut self, manner: &Manner, sent: &str, now: Duration) -> Answered {
        let Some(token) = self.tokens.get(sent) else { return Answered::Refused };
        let (person, family) = (token.person, token.family);
        match token.condition.clone() {
            Condition::Dead => Answered::Refused,
            Condition::Live if manner.kind == Kind::Lasting => Answered::Tokens(None),
            Condition::Live => {
                let successor = self.make(person, family);
                let spent = Condition::Spent { at: now, successor: successor.clone() };
                self.tokens.get_mut(sent).unwrap().condition = spent;
                Answered::Tokens(Some(successor))
            }
            Condition::Spent { at, successor } if now <= at + manner.reuse && self.is_live(&successor) => {
                self.judge.count("handed out once more");
                Answered::Tokens(Some(successor))
            }
            Condition::Spent { .. } => {
                if manner.kind == Kind::Families {
                    self.end(|token| token.family == family);
                }
                Answered::Refused
            }
        }
    }

    fn end(&mut self, which: impl Fn(&Token) -> bool) {
        for token in self.tokens.values_mut().filter(|token| which(token)) {
            token.condition = Condition::Dead;
        }
    }
}

impl Upstream {
    pub(crate) fn new(scheduler: &Scheduler, manner: Manner, traces: bool) -> Arc<Self> {
        let state = State { judge: Judge { trace: traces.then(Vec::new), ..Judge::default() }, ..State::default() };
        let (scheduler, calm) = (scheduler.clone(), AtomicBool::new(false));
        Arc::new(Self { scheduler, manner, calm, state: Mutex::new(state) })
    }

    /// Writes down what happened.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        let now = self.scheduler.now();
        locked(&self.state).judge.trace(|| format!("{now:?} {}", what()));
    }

    /// From now on nothing fails.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// An ID token of this person, whose life begins so long before or after now.
    fn id_token(&self, person: Person, life: i64) -> String {
        let now = START.plus(self.scheduler.now()).secs();
        let ends = now.saturating_add_signed(life);
        let mut state = locked(&self.state);
        let subject = state.people.entry(person).or_default().subject.clone();
        let claims = ObjectWriter::new().text("iss", ISSUER).text("aud", "gate").text("sub", &subject);
        let token = SIGNER.sign("JWT", claims.number("iat", now).number("exp", ends));
        state.id_tokens.insert(token.clone(), (person, ends));
        token
    }

    /// The ID token that comes with a login, with its end.
    pub(crate) fn login_id_token(&self, person: Person) -> (String, Timestamp) {
        let life = i64::try_from(self.manner.life.as_secs()).unwrap_or(i64::MAX);
        let token = self.id_token(person, life);
        let ends = locked(&self.state).id_tokens[&token].1;
        (token, Timestamp::from_secs(ends))
    }

    /// The server behind the gate is shown this ID token as that person's, at this time of the gate's.
    pub(crate) fn shown(&self, person: Person, token: &str, now: Timestamp) {
        let mut state = locked(&self.state);
        match state.id_tokens.get(token).copied() {
            Some((owner, ends)) if owner == person && now < Timestamp::from_secs(ends) => state.judge.count("shown"),
            Some((owner, ends)) => {
                let mine = owner == person;
                state
                    .judge
                    .convict(format!("an ID token was shown at {now:?} that ends at {ends}, its own person's: {mine}"));
            }
            None => state.judge.convict(format!("an ID token was shown at {now:?} that nobody has given")),
        }
    }

    /// Whether the store holds a refresh token of the person that the provider would take.
    pub(crate) fn could_renew(&self, person: Person) -> bool {
        let state = locked(&self.state);
        state.people.get(&person).is_some_and(|account| account.held.iter().any(|token| state.is_live(token)))
    }

    /// A person logs in: the refresh token that comes of it, if one does.
    pub(crate) fn login(&self, party: &Party) -> Option<String> {
        let person = party.person();
        let mut state = locked(&self.state);
        party.subject().clone_into(&mut state.people.entry(person).or_default().subject);
        let kind = self.manner.kind;
        if kind == Kind::OnePerPerson {
            state.end(|token| token.person == person);
        }
        // The consent that it would take is asked for again where the gate has nothing.
        let has_one =
            state.people.get(&person).is_some_and(|account| account.held.iter().any(|token| state.is_live(token)));
        if kind == Kind::Lasting && has_one {
            state.judge.count("login without a token");
            return None;
        }
        let family = state.made;
        Some(state.make(person, family))
    }

    /// The operator of the provider puts a person out.
    pub(crate) fn revoke(&self, person: Person) {
        let mut state = locked(&self.state);
        state.end(|token| token.person == person);
        state.people.entry(person).or_default().revoked = true;
        state.judge.count("revoked there");
    }

    /// When every session of the person was ended.
    pub(crate) fn ended(&self, person: Person) -> Option<Duration> {
        locked(&self.state).people.get(&person)?.ended
    }

    pub(crate) fn convict(&self, why: String) {
        locked(&self.state).judge.convict(why);
    }

    pub(crate) fn count(&self, what: &'static str) {
        locked(&self.state).judge.count(what);
    }

    /// What was seen, or which rule was broken.
    pub(crate) fn verdict(&self) -> Result<BTreeMap<&'static str, u64>, String> {
        let state = locked(&self.state);
        match &state.judge.violation {
            Some(why) => {
                let trace = state.judge.trace.as_deref().unwrap_or_default().join("\n");
                Err(format!("{why}; {:?}\n{trace}", self.manner))
            }
            None => Ok(state.judge.seen.clone()),
        }
    }

    /// Something has been written at the store.
    pub(crate) fn landed(&self, write: &Write) {
        let (Key::Identity(person), Some(identity)) = (write.key, write.record.identity()) else { return };
        let now = self.scheduler.now();
        let current = identity.upstream_refresh.iter().chain(&identity.upstream.spares);
        let held: Vec<String> = current.map(|token| token.expose().to_owned()).collect();
        let mut state = locked(&self.state);
        state
            .judge
            .trace(|| format!("{now:?} stored {held:?} {:?} {:?}", identity.upstream.lease, identity.upstream.refused));
        for token in &held {
            state.judge.stored.entry(token.clone()).or_insert(now);
        }
        if held.len() > 1 {
            state.judge.count("kept beside");
        }
        let account = state.people.entry(person).or_default();
        let before = std::mem::replace(&mut account.held, held);
        if account.held.is_empty() && !before.is_empty() {
            account.ended = Some(now);
            let revoked = account.revoked;
            state.ends(person, &before, revoked, now);
        }
    }
}

impl State {
    /// Nobody is logged out while a good token is at hand, nor if every token that was ever made has reached the store.
    fn ends(&mut self, person: Person, before: &[String], revoked: bool, now: Duration) {
        self.judge.count("ended");
        if let Some(good) = before.iter().find(|token| self.is_live(token)) {
            self.judge.convict(format!("everything ended at {now:?} although {good} was good"));
        }
        let made = self.tokens.iter().filter(|(_, token)| token.person == person);
        let lost = made.filter(|(token, _)| !self.judge.stored.contains_key(*token)).count();
        if lost == 0 && !revoked {
            self.judge.convict(format!("everything ended at {now:?} although no answer was lost"));
        }
    }
}

/// One gateway's wire to the provider.
pub(crate) struct Wire {
    pub(crate) upstream: Arc<Upstream>,
    /// Whether the gateway's process has ended.
    pub(crate) dead: Arc<AtomicBool>,
}

static DISCOVERED: LazyLock<Arc<Provider>> = LazyLock::new(|| {
    let document = format!(
        r#"{{"issuer":"{ISSUER}","authorization_endpoint":"{ISSUER}/a","token_endpoint":"{ISSUER}/t","jwks_uri":"{ISSUER}/k"}}"#
    );
    Arc::new(discovery::judge(document.as_bytes(), &ISSUER.into(), false).expect("a good document"))
});

/// The key of RFC 8037 appendix A, under its thumbprint, and under a name with which it has signed nothing.
const KEYS: &str = r#"{"keys":[
    {"kty":"OKP","crv":"Ed25519","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    let seed = from_base64url_exact("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").expect("32 bytes");
    Signer::from_seed(&Secret::new(seed))
});
/// An ID token that nobody can have signed: its signature is short.
const MANGLED: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.e30.AAAA";

/// What becomes of one request.
enum Fate {
    Fine,
    Unreached,
    Lost,
    Between,
    Busy,
    Slow,
}

impl Fate {
    fn choose(faults: &Troubles, chance: &mut Chance) -> Self {
        let ways = [
            (faults.unreached, Self::Unreached),
            (faults.lost, Self::Lost),
            (faults.lost_between, Self::Between),
            (faults.busy, Self::Busy),
            (faults.slow, Self::Slow),
        ];
        ways.into_iter().find(|(often, _)| chance.percent(*often)).map_or(Self::Fine, |(_, fate)| fate)
    }
}

impl Wire {
    fn faults(&self) -> Troubles {
        let calm = self.upstream.calm.load(Ordering::Relaxed);
        if calm { Troubles { delay_millis: 3, ..Troubles::default() } } else { self.upstream.manner.faults }
    }

    async fn alive<T>(&self, answer: T) -> T {
        if self.dead.load(Ordering::Relaxed) { pending().await } else { answer }
    }

    /// Whether the provider refuses a good token this time.
    fn is_fickle(&self, state: &mut State, token: &str, percent: u64) -> bool {
        let Some(known) = state.tokens.get_mut(token) else { return false };
        let fickle = !known.fickle && self.upstream.scheduler.chance(|chance| chance.percent(percent));
        known.fickle |= fickle;
        fickle
    }

    /// The ID token in the answer to this refresh token, if there is one.
    fn id_token_of(&self, token: &str, mangled: bool, stale: bool) -> Option<String> {
        if mangled {
            return Some(MANGLED.to_owned());
        }
        let Manner { id_tokens, life, .. } = self.upstream.manner;
        let person = locked(&self.upstream.state).tokens.get(token)?.person;
        if stale {
            self.upstream.count("ended when it came");
        }
        let life = if stale { -30 } else { i64::try_from(life.as_secs()).unwrap_or(i64::MAX) };
        id_tokens.then(|| self.upstream.id_token(person, life))
    }

    async fn exchange(&self, token: String, place: usize) -> Result<BackAnswer, Unreachable> {
        let (upstream, faults) = (Arc::clone(&self.upstream), self.faults());
        let scheduler = upstream.scheduler.clone();
        let (fate, there, back, mangled, stale) = scheduler.chance(|chance| {
            let way = |chance: &mut Chance| chance.millis(0, faults.delay_millis);
            let fate = Fate::choose(&faults, chance);
            (fate, way(chance), way(chance), chance.percent(faults.mangled), chance.percent(faults.stale))
        });
        let (reached, busy) = (!matches!(fate, Fate::Unreached), matches!(fate, Fate::Busy));
        // It is on its way by itself, whatever becomes of the gateway.
        let (own, sent) = (Arc::clone(&upstream), token.clone());
        let fickle = faults.fickle;
        let acted = {
            let dead = Arc::clone(&self.dead);
            let wire = Self { upstream: Arc::clone(&upstream), dead };
            let way = scheduler.sleep(there);
            scheduler.spawn(async move {
                way.await;
                if !reached || busy {
                    return None;
                }
                let mut state = locked(&own.state);
                if wire.is_fickle(&mut state, &sent, fickle) {
                    state.judge.count("refused for nothing");
                    return Some(Answered::Refused);
                }
                Some(state.refresh(&own.manner, &sent, own.scheduler.now()))
            })
        };
        let answered = acted.await;
        scheduler.sleep(back).await;
        let answer = match (fate, answered) {
            (Fate::Fine, Some(answered)) => Ok(answered),
            (Fate::Between, _) => Err(Some(502)),
            (Fate::Busy, _) => Err(Some(503)),
            (Fate::Slow, _) => {
                scheduler.sleep(PROVIDER_DEADLINE.saturating_sub(there + back)).await;
                Err(None)
            }
            _ => Err(None),
        };
        let answer = self.alive(answer).await;
        let id_token = self.id_token_of(&token, mangled, stale);
        let mut state = locked(&upstream.state);
        let heard = match &answer {
            Ok(Answered::Tokens(Some(successor))) => Heard::Successor(successor.clone()),
            _ => Heard::Nothing,
        };
        state.judge.sent.get_mut(&token).unwrap()[place].heard = heard;
        let now = scheduler.now();
        state.judge.trace(|| match &answer {
            Ok(Answered::Tokens(successor)) => format!("{now:?} {token} gives {successor:?}"),
            Ok(Answered::Refused) => format!("{now:?} {token} is refused"),
            Err(status) => format!("{now:?} {token} is lost {status:?}"),
        });
        state.judge.count(match &answer {
            Ok(Answered::Tokens(_)) => "renewed",
            Ok(Answered::Refused) => "refused",
            Err(Some(502)) => "lost in between",
            Err(Some(_)) => "busy",
            Err(None) => "no answer",
        });
        let (status, body) = match answer {
            Ok(Answered::Tokens(successor)) => {
                let life = upstream.manner.life.as_secs();
                let refresh = successor.map_or_else(String::new, |token| format!(r#","refresh_token":"{token}""#));
                let id_token = id_token.map_or_else(String::new, |token| format!(r#","id_token":"{token}""#));
                (
                    200,
                    format!(r#"{{"access_token":"at","token_type":"Bearer","expires_in":{life}{refresh}{id_token}}}"#),
                )
            }
            Ok(Answered::Refused) => (400, r#"{"error":"invalid_grant"}"#.to_owned()),
            Err(Some(status)) => (status, "{}".to_owned()),
            Err(None) => return Err(Unreachable),
        };
        Ok(BackAnswer { status, content_type: Some("application/json".to_owned()), body: body.into_bytes() })
    }
}

impl IdentityProvider for Wire {
    fn discovered(&self) -> Option<Arc<Provider>> {
        Some(Arc::clone(&DISCOVERED))
    }

    async fn ask(&self, _url: String, _access_token: &SecretText) -> Result<BackAnswer, Unreachable> {
        Err(Unreachable)
    }

    async fn send(&self, request: BackChannel) -> Result<BackAnswer, Unreachable> {
        let token = sent(&request.body);
        let now = self.upstream.scheduler.now();
        self.upstream.trace(|| format!("{token} is sent"));
        let place = locked(&self.upstream.state).judge.sends(&token, now, &self.dead);
        self.exchange(token, place).await
    }

    async fn keys(&self) -> Result<Arc<KeySet>, Unreachable> {
        let longest = self.faults().keys_millis;
        let scheduler = &self.upstream.scheduler;
        scheduler.sleep(scheduler.chance(|chance| chance.millis(0, longest))).await;
        Ok(Arc::new(KeySet::read(KEYS.as_bytes()).expect("a good set")))
    }

    async fn newer_keys(&self, known: &Arc<KeySet>) -> Result<Arc<KeySet>, Unreachable> {
        Ok(Arc::clone(known))
    }
}

/// The refresh token of a request's body.
fn sent(body: &SecretText) -> String {
    let token = body.expose().split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
    token.expect("a refresh").to_owned()
}
