//! F28: any sequence of requests on the whole engine, with the memory store and a clock that jumps, answered exactly as a
//! model of one page says.

#[path = "../../tests/engine/mod.rs"]
pub(crate) mod surroundings;

use portcullis_adapters::memory::Memory;
use portcullis_domain::key::Person;
use portcullis_domain::limits::{ABSOLUTE_LIFE, ACCESS_LIFE, CODE_LIFE, CUT_MARGIN, FLOW_LIFE, IDLE_LIFE, SPENT_LIFE};
use portcullis_domain::oauth::exchange::Tokens;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::operation::Epoch;
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Clock, ask, transact};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use surroundings::fixture::{Party, Wrong, admit, cut, generation, policy, scopes};
use surroundings::scheduler::Scheduler;
use surroundings::world::Surroundings;

/// Every answer is the one that the model gives.
pub fn operations(data: &[u8]) {
    let (grace, steps) = match data.split_first() {
        Some((first, rest)) => (GRACES[usize::from(*first) % GRACES.len()], rest),
        None => return,
    };
    let scheduler = Scheduler::new(1);
    let memory = Arc::new(Memory::new(Epoch([1; 16])));
    let mut play = Play {
        world: Surroundings::new(&scheduler, Arc::clone(&memory)),
        memory,
        scheduler: scheduler.clone(),
        policy: policy(grace),
        grace,
        logins: Vec::new(),
        cuts: BTreeMap::new(),
    };
    scheduler.run(async {
        for step in steps.chunks_exact(3).take(STEPS_MAX) {
            play.step(step[0], step[1], step[2]).await;
        }
    });
}

const GRACES: [Duration; 4] =
    [Duration::from_secs(60), Duration::ZERO, Duration::from_secs(5), Duration::from_secs(600)];
const STEPS_MAX: usize = 300;
const LOGINS_MAX: usize = 12;
/// How many rotations a grant remembers.
const REMEMBERED: usize = 8;

/// Spans at which something ends, and a little more or less.
const SPANS: [u64; 16] = [
    1,
    1_000,
    1_999,
    2_000,
    5_000,
    5_001,
    30_000,
    59_999,
    60_001,
    600_000,
    600_001,
    1_800_000,
    86_400_000,
    15 * 86_400_000,
    31 * 86_400_000,
    91 * 86_400_000,
];

struct Play {
    world: Arc<Surroundings<Memory>>,
    memory: Arc<Memory>,
    scheduler: Scheduler,
    policy: Arc<Policy>,
    grace: Duration,
    logins: Vec<Login>,
    cuts: BTreeMap<Person, Timestamp>,
}

/// One login: what its client holds, and what the model knows.
struct Login {
    party: Party,
    begun: Timestamp,
    created: Timestamp,
    code: String,
    refresh: Vec<String>,
    access: Vec<(String, Timestamp)>,
    model: Model,
    until: Timestamp,
}

enum Model {
    Code,
    Live { rotated: Vec<Timestamp>, spent_until: Timestamp },
    Revoked,
}

impl Play {
    async fn step(&mut self, what: u8, which: u8, how: u8) {
        let wrong = Wrong::ALL.get(usize::from(how >> 4)).copied();
        match what % 10 {
            0 => self.log_in(which, how).await,
            1 => self.exchange(which, wrong).await,
            2..=4 => self.refresh(which, how, wrong.is_some() && what % 10 == 4).await,
            5 => self.revoke(which, how, wrong.is_some()).await,
            6 => self.admit(which, how).await,
            7 => self.scheduler.sleep(Duration::from_millis(SPANS[usize::from(which) % SPANS.len()])).await,
            8 => self.cut(which).await,
            _ => self.callback_again_or_sweep(which).await,
        }
    }

    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    fn pick(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.logins.len())
    }

    fn is_cut(&self, login: &Login) -> bool {
        self.cuts.get(&login.party.person()).is_some_and(|before| login.created < before.plus(CUT_MARGIN))
    }

    async fn log_in(&mut self, person: u8, client: u8) {
        if self.logins.len() >= LOGINS_MAX {
            return;
        }
        let number = u64::try_from(self.logins.len()).unwrap_or(0);
        let party = Party::new(&self.policy, u64::from(person % 2), u64::from(client % 2), number);
        let now = self.now();
        let code = transact(&self.world, party.callback(now)).await.expect("nothing speaks against a login");
        let created = self.cuts.get(&party.person()).map_or(now, |before| now.max(before.plus(CUT_MARGIN)));
        self.logins.push(Login {
            party,
            begun: now,
            created,
            code: code.expose().to_owned(),
            refresh: Vec::new(),
            access: Vec::new(),
            model: Model::Code,
            until: now.plus(FLOW_LIFE).plus(CODE_LIFE),
        });
    }

    /// The browser comes back once more; or the broom goes round, which nobody notices.
    async fn callback_again_or_sweep(&mut self, which: u8) {
        self.memory.sweep(self.now());
        let Some(login) = self.pick(which).map(|place| &self.logins[place]) else { return };
        let again = transact(&self.world, login.party.callback(login.begun)).await;
        match again.expect_err("a login comes back once") {
            Fault::CallbackRepeated => {}
            Fault::FlowExpired => assert!(self.now() >= login.begun.plus(FLOW_LIFE)),
            other => panic!("{other:?}"),
        }
    }

    async fn exchange(&mut self, which: u8, wrong: Option<Wrong>) {
        let Some(place) = self.pick(which) else { return };
        let (now, cut) = (self.now(), self.is_cut(&self.logins[place]));
        let login = &mut self.logins[place];
        let got = transact(&self.world, login.party.exchange(&login.code, wrong)).await;
        let misfit = match wrong {
            Some(Wrong::Redirect) => Some(Fault::RedirectMismatch),
            Some(Wrong::Verifier) => Some(Fault::VerifierWrong),
            Some(Wrong::Resource) => Some(Fault::ResourceBeyondGrant),
            Some(Wrong::Client) | None => None,
        };
        let fault = match &login.model {
            _ if now >= login.until => Fault::CodeUnknown,
            _ if wrong == Some(Wrong::Client) => Fault::ClientMismatch,
            Model::Revoked => Fault::CodeUnknown,
            Model::Live { spent_until, .. } if now >= *spent_until => Fault::CodeUnknown,
            Model::Code | Model::Live { .. } if misfit.is_some() => misfit.expect("asked just now"),
            Model::Live { .. } => {
                login.model = Model::Revoked;
                Fault::CodeReplayed
            }
            Model::Code if now >= login.begun.plus(CODE_LIFE) => Fault::CodeExpired,
            Model::Code if cut => Fault::SessionCut,
            Model::Code => {
                login.model = Model::Live { rotated: Vec::new(), spent_until: now.plus(SPENT_LIFE) };
                login.until = login.extended(now);
                return login.keep(got, 1, now);
            }
        };
        assert_eq!(got.err(), Some(fault));
    }

    async fn refresh(&mut self, which: u8, how: u8, wrong: bool) {
        let Some(place) = self.pick(which) else { return };
        let (now, cut, grace) = (self.now(), self.is_cut(&self.logins[place]), self.grace);
        let login = &mut self.logins[place];
        // Mostly one of the latest.
        let Some(index) = usize::from(how & 15).checked_rem(login.refresh.len()) else { return };
        let index = login.refresh.len() - 1 - index;
        let presented = u32::try_from(index).expect("few") + 1;
        let got = transact(&self.world, login.party.refresh(&login.refresh[index], wrong)).await;
        let recent = |at: Option<&Timestamp>| !grace.is_zero() && at.is_some_and(|at| now.since(*at) <= grace);
        let fault = match &mut login.model {
            _ if now >= login.until => Fault::RefreshUnknown,
            _ if wrong => Fault::ClientMismatch,
            Model::Code => panic!("nobody has a refresh token yet"),
            Model::Revoked => Fault::SessionRevoked,
            Model::Live { rotated, .. } => {
                let current = rotated.len() + 1;
                // `rotated` holds when generation 1, 2, 3 … was superseded.
                let forgotten = index + REMEMBERED < rotated.len();
                if index + 1 < current && (forgotten || !recent(rotated.get(index))) {
                    login.model = Model::Revoked;
                    Fault::RefreshReplayed
                } else if cut {
                    Fault::SessionCut
                } else if index + 1 == current
                    && !(rotated.len() >= REMEMBERED && recent(rotated.get(rotated.len() - REMEMBERED)))
                {
                    rotated.push(now);
                    login.until = login.extended(now);
                    return login.keep(got, presented + 1, now);
                } else {
                    let current = u32::try_from(current).expect("few");
                    return login.keep(got, current, now);
                }
            }
        };
        assert_eq!(got.err(), Some(fault));
    }

    async fn revoke(&mut self, which: u8, how: u8, wrong: bool) {
        let Some(place) = self.pick(which) else { return };
        let now = self.now();
        let login = &mut self.logins[place];
        let token = if how & 1 == 0 { login.refresh.first() } else { login.access.first().map(|(token, _)| token) };
        let Some(token) = token else { return };
        let got = transact(&self.world, login.party.revoke(token, wrong)).await;
        if now < login.until && wrong {
            assert_eq!(got, Err(Fault::ClientMismatch));
        } else {
            assert_eq!(got, Ok(()));
            login.model = Model::Revoked;
        }
    }

    async fn admit(&mut self, which: u8, how: u8) {
        let Some(login) = self.pick(which).map(|place| &self.logins[place]) else { return };
        let Some(index) = usize::from(how).checked_rem(login.access.len()) else { return };
        let (token, expires) = &login.access[index];
        let scopes = scopes();
        let got = ask(&*self.world, &admit(token, &scopes)).await;
        let now = self.now();
        let alive = matches!(login.model, Model::Live { .. }) && now < login.until && !self.is_cut(login);
        match got {
            Err(Fault::TokenExpired) => assert!(now >= *expires),
            Err(Fault::TokenRevoked) => assert!(now < *expires && !alive),
            Err(other) => panic!("{other:?}"),
            Ok(admitted) => assert!(now < *expires && alive && admitted.token.id == login.party.id()),
        }
    }

    async fn cut(&mut self, person: u8) {
        let person = Party::new(&self.policy, u64::from(person % 2), 0, 0).person();
        let now = self.now();
        transact(&self.world, cut(person)).await.expect("nothing speaks against a cut");
        let before = self.cuts.get(&person).map_or(now, |last| now.max(last.plus(Duration::from_millis(1))));
        self.cuts.insert(person, before);
    }
}

impl Login {
    fn extended(&self, now: Timestamp) -> Timestamp {
        now.plus(IDLE_LIFE).min(self.created.plus(ABSOLUTE_LIFE))
    }

    /// What was handed out is of this generation, the same for everybody, and ends when it must.
    fn keep(&mut self, got: Result<Tokens, Fault>, expected: u32, now: Timestamp) {
        let tokens = got.expect("the model says yes");
        let refresh = tokens.refresh.expect("the client may refresh").expose().to_owned();
        assert_eq!(generation(&refresh), expected);
        match self.refresh.get(usize::try_from(expected).expect("few") - 1) {
            Some(known) => assert_eq!(*known, refresh),
            None => self.refresh.push(refresh),
        }
        let expires = now.plus(ACCESS_LIFE).min(self.until);
        assert_eq!(tokens.expires_in, expires.since(now));
        self.access.push((tokens.access.expose().to_owned(), expires));
    }
}
