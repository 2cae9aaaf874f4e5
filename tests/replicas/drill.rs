//! The fault drill: two gates under load from whole flows, while gates and servers are killed and a replica takes over; and
//! what the honest clients and the thieves of it have seen.
//!
//! `DRILL_SECONDS=300 cargo test --release --test replicas drill -- --nocapture` runs it for five minutes and prints what came of it.
//! What is held is the same however long it runs: no code is redeemed twice, no family of refresh tokens forks, no honest client is
//! logged out, and no session is lost that a server had written down.

use crate::fleet::{Fleet, storage};
use crate::harness::browser::{call_request, exchange_request, refresh_request};
use crate::harness::http::form;
use crate::harness::{Ask, Authorization, BASE, Client, Connection, Pkce, Provider, Request, Response, Script, Tokens};
use crate::valkey::sentinel::SET;
use crate::valkey::{Make, Options, Persistence, Sentinels, Server};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

/// How long the ordinary run lasts, with all its parts.
const SECONDS: u64 = 10;
/// Clients at a time.
const CLIENTS: usize = 4;
/// A gate that is killed is away for so long.
const GATE_AWAY: Duration = Duration::from_millis(300);
/// How long a client tries to have one thing done.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long before a failover what was acknowledged may be lost: docs/valkey.md says so.
const WINDOW: Duration = Duration::from_secs(2);

#[test]
fn drill_t267_t270_t277_killed_gates_and_servers_cost_no_session_and_let_nobody_in_twice() {
    let seconds = std::env::var("DRILL_SECONDS").ok().map_or(SECONDS, |seconds| seconds.parse().expect("a number"));
    let part = Duration::from_secs(seconds) / 2;
    let server = Server::with(Options::of(Make::Valkey9).persistence(Persistence::Always));
    let address = server.address();
    let server = Mutex::new(server);
    let killed =
        drill("one server, appendfsync always", part, &storage(address), &mut |fleet, round| match round % 3 {
            0 | 1 => kill_gate(fleet, round),
            _ => {
                let mut server = server.lock().unwrap();
                server.kill();
                std::thread::sleep(Duration::from_millis(200));
                server.again();
                None
            }
        });
    killed.holds();
    assert_eq!(killed.lost.load(Ordering::SeqCst), 0, "a server with appendfsync always has lost a session");

    let mut set = Sentinels::with(&Options::of(Make::Valkey9).persistence(Persistence::Always));
    let told = under_sentinels(&set);
    let failed_over =
        drill("a primary, its replica and three Sentinels", part, &told, &mut |fleet, round| match round % 2 {
            0 => kill_gate(fleet, round),
            _ => {
                let at = Instant::now();
                set.fail_over();
                Some(at)
            }
        });
    failed_over.holds();
}

fn under_sentinels(set: &Sentinels) -> Value {
    let addresses: Vec<String> = set.addresses().iter().map(SocketAddr::to_string).collect();
    json!({
        "type": "valkey",
        "valkey": { "sentinel": { "masterName": SET, "addresses": addresses }, "waitReplicas": 1 },
    })
}

fn kill_gate(fleet: &Mutex<Fleet>, round: usize) -> Option<Instant> {
    let place = round / 2 % 2;
    fleet.lock().unwrap().replicas[place].kill();
    std::thread::sleep(GATE_AWAY);
    fleet.lock().unwrap().replicas[place].spawn();
    None
}

/// What has been seen.
#[derive(Default)]
struct Seen {
    flows: AtomicUsize,
    begun_again: AtomicUsize,
    stolen: AtomicUsize,
    refreshes: AtomicUsize,
    calls: AtomicUsize,
    revocations: AtomicUsize,
    double_redemptions: AtomicUsize,
    forks: AtomicUsize,
    logouts: AtomicUsize,
    lost: AtomicUsize,
    faults: AtomicUsize,
    /// Milliseconds since the beginning of the last answer that was no failure, and the longest time between two.
    last_answer: AtomicU64,
    longest_outage: AtomicU64,
    revocation_bound: AtomicU64,
    failovers: Mutex<Vec<Instant>>,
}

impl Seen {
    fn print(&self, name: &str, lasted: Duration) {
        let number = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        println!("drill: {name}, {} s", lasted.as_secs());
        println!(
            "  flows {}, codes shown three times {}, logins begun again {}, refreshes {}, protected calls {}, revocations {}, faults {}",
            number(&self.flows),
            number(&self.stolen),
            number(&self.begun_again),
            number(&self.refreshes),
            number(&self.calls),
            number(&self.revocations),
            number(&self.faults),
        );
        println!(
            "  double redemptions {}, family forks {}, honest logouts {}, lost acknowledged sessions {}",
            number(&self.double_redemptions),
            number(&self.forks),
            number(&self.logouts),
            number(&self.lost),
        );
        println!(
            "  longest outage {} ms, a revoked session was admitted elsewhere until {} ms after its end",
            self.longest_outage.load(Ordering::SeqCst),
            self.revocation_bound.load(Ordering::SeqCst),
        );
    }

    fn holds(&self) {
        for (what, count) in [
            ("double redemptions", &self.double_redemptions),
            ("family forks", &self.forks),
            ("honest logouts", &self.logouts),
        ] {
            assert_eq!(count.load(Ordering::SeqCst), 0, "{what}");
        }
        let revoked = self.revocation_bound.load(Ordering::SeqCst);
        assert!(revoked < 1_000, "a revoked session was admitted {revoked} ms later");
        assert!(self.flows.load(Ordering::SeqCst) > 0 && self.faults.load(Ordering::SeqCst) > 0, "nothing was tried");
    }
}

/// Says that it is over when it is dropped, by a panic too.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs clients while `harm` is done again and again; it says when a server was killed whose last writes may be lost.
fn drill(
    name: &str,
    lasts: Duration,
    storage: &Value,
    harm: &mut dyn FnMut(&Mutex<Fleet>, usize) -> Option<Instant>,
) -> Seen {
    let fleet = Fleet::start(2, storage);
    let gates = [fleet.at(0).gate.public(), fleet.at(1).gate.public()];
    let (provider, client) = (fleet.provider.clone(), fleet.at(0).public_client("A client"));
    let (fleet, seen, stop, begun) = (Mutex::new(fleet), Seen::default(), AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (seen, stop, provider, client) = (&seen, &stop, provider.clone(), client.clone());
            scope.spawn(move || {
                let honest = Honest { seen, begun, gates, provider, client, number };
                honest.lives(stop);
            });
        }
        // However this ends, the clients end too: a scope waits for its threads, even for one that has panicked.
        let _stops = Stops(&stop);
        let mut round = 0;
        while begun.elapsed() < lasts {
            std::thread::sleep(Duration::from_millis(700));
            if let Some(at) = harm(&fleet, round) {
                seen.failovers.lock().unwrap().push(at);
            }
            seen.faults.fetch_add(1, Ordering::SeqCst);
            round += 1;
        }
    });
    seen.print(name, begun.elapsed());
    seen
}

/// A client that does nothing wrong, and whoever may have stolen its code.
struct Honest<'a> {
    seen: &'a Seen,
    begun: Instant,
    gates: [SocketAddr; 2],
    provider: Provider,
    client: Client,
    number: usize,
}

/// What a login came to.
enum Login {
    Session(Session),
    /// Its code was shown at several gates at once, and its session is over.
    Stolen,
}

/// A session that a gate has answered for.
struct Session {
    tokens: Tokens,
    since: Instant,
}

impl Honest<'_> {
    fn lives(&self, stop: &AtomicBool) {
        let mut kept: Vec<Session> = Vec::new();
        let mut turn = self.number;
        while !stop.load(Ordering::SeqCst) {
            turn += 1;
            let mut session = match self.logs_in(turn) {
                Some(Login::Session(session)) => session,
                Some(Login::Stolen) => continue,
                None => {
                    self.seen.begun_again.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            let mut lives = true;
            for round in 0..4 {
                std::thread::sleep(Duration::from_millis(10));
                lives = lives && self.refreshes(&mut session, round) && self.calls(&session);
            }
            if !lives {
                continue;
            }
            self.seen.flows.fetch_add(1, Ordering::SeqCst);
            if turn.is_multiple_of(2) {
                self.revokes(&session);
            } else if kept.len() < 50 {
                kept.push(session);
            }
        }
        // Everything that was ever answered for is still there.
        for mut session in kept {
            self.refreshes(&mut session, 1);
        }
    }

    /// The first answer that is no failure, from whichever gate.
    fn asks(&self, first: usize, request: &Request) -> Option<Response> {
        let end = Instant::now() + PATIENCE;
        let mut gate = first;
        while Instant::now() < end {
            if let Some(answer) = self.once(gate, request) {
                return Some(answer);
            }
            gate += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// One attempt; nothing if it failed.
    fn once(&self, gate: usize, request: &Request) -> Option<Response> {
        let mut connection = Connection::reach(self.gates[gate % 2]).ok()?;
        connection.send(&request.clone().header("Connection", "close"));
        let answer = connection.response(&request.method).ok().filter(|answer| answer.status < 500)?;
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        let last = self.seen.last_answer.swap(now, Ordering::SeqCst);
        self.seen.longest_outage.fetch_max(now.saturating_sub(last), Ordering::SeqCst);
        Some(answer)
    }

    /// Nothing if the login has to begin again, because an answer that cannot be given twice was lost.
    fn logs_in(&self, turn: usize) -> Option<Login> {
        let pkce = Pkce::new();
        let page =
            self.asks(turn, &Request::get(&format!("/oauth/authorize?{}", Ask::of(&self.client, &pkce).query())))?;
        let text = page.text();
        let field =
            |name: &str| Some(text.split_once(&format!("name=\"{name}\" value=\""))?.1.split_once('"')?.0.to_owned());
        let fields = [("flow", field("flow")?), ("csrf", field("csrf")?), ("choice", "approve".to_owned())];
        let approval = Request::form("/oauth/consent", &fields).header("Origin", BASE);
        let approval = approval.header("Sec-Fetch-Site", "same-origin").header("Cookie", &cookies(&[&page]));
        let approved = self.asks(turn + 1, &approval).filter(|answer| matches!(answer.status, 302 | 303))?;
        let authorization = Authorization::of(approved.location());
        // A gate that has just started has not found its provider yet, and sends the browser back.
        if authorization.params.iter().any(|(name, _)| name == "error") {
            return None;
        }
        let person = Script::person(&format!("person {} {}", self.number, turn));
        let code = self.provider.issue(&authorization, person);
        let query = form(&[("code", code.as_str()), ("state", authorization.param("state"))]);
        let back = Request::get(&format!("/oauth/callback?{query}")).header("Cookie", &cookies(&[&page, &approved]));
        // Whoever does not hear the answer to this begins again: the provider's code is not sent twice.
        let back = self.once(turn, &back).filter(|answer| answer.status == 302)?;
        let ours = crate::harness::Returned::of(&back);
        let code = ours.param("code")?.to_owned();
        let request = exchange_request(&self.client, &code, &pkce);
        if !turn.is_multiple_of(4) {
            let answer = self.once(turn + 1, &request).filter(|answer| answer.status == 200)?;
            return Some(Login::Session(Session { tokens: Tokens::of(&answer), since: Instant::now() }));
        }
        // A code that was stolen with everything else: both show it at once. One of them wins, and both are out.
        let won =
            self.both(&request).iter().filter(|answer| answer.as_ref().is_some_and(|it| it.status == 200)).count();
        let late = self.once(turn, &request).is_some_and(|answer| answer.status == 200);
        if won + usize::from(late) > 1 {
            self.seen.double_redemptions.fetch_add(1, Ordering::SeqCst);
        }
        self.seen.stolen.fetch_add(1, Ordering::SeqCst);
        Some(Login::Stolen)
    }

    /// Both gates at one moment.
    fn both(&self, request: &Request) -> [Option<Response>; 2] {
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                barrier.wait();
                self.once(1, request)
            });
            barrier.wait();
            [self.once(0, request), other.join().unwrap()]
        })
    }

    /// Whether the session goes on.
    fn refreshes(&self, session: &mut Session, round: usize) -> bool {
        let request = refresh_request(&self.client, &session.tokens.refresh);
        if round == 0 {
            // Two processes of this client.
            let [one, other] = self.both(&request);
            let token = |answer: &Option<Response>| {
                answer.as_ref().filter(|it| it.status == 200).map(|it| Tokens::of(it).refresh)
            };
            if let (Some(one), Some(other)) = (token(&one), token(&other))
                && one != other
            {
                self.seen.forks.fetch_add(1, Ordering::SeqCst);
            }
        }
        let Some(answer) = self.asks(self.number + round, &request) else { panic!("no gate answers for {PATIENCE:?}") };
        if answer.status == 200 {
            self.seen.refreshes.fetch_add(1, Ordering::SeqCst);
            session.tokens = Tokens::of(&answer);
            return true;
        }
        let failovers = self.seen.failovers.lock().unwrap();
        let near = |at: &Instant| session.since <= *at && at.duration_since(session.since) <= WINDOW;
        let counted = if failovers.iter().any(near) || recent(session.since, &failovers) {
            &self.seen.lost
        } else {
            &self.seen.logouts
        };
        println!("a session of {:?} ago: {} {}", session.since.elapsed(), answer.status, answer.text());
        counted.fetch_add(1, Ordering::SeqCst);
        false
    }

    fn calls(&self, session: &Session) -> bool {
        let answer = self.asks(self.number, &call_request("/mcp", &session.tokens.access));
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        // A refusal here has the client refresh; that is what would log it out.
        answer.is_some_and(|answer| matches!(answer.status, 200 | 401))
    }

    /// It ends the session at one gate, and looks at the other.
    fn revokes(&self, session: &Session) {
        let request = self.client.form("/oauth/revoke", &[("token", &session.tokens.refresh)]);
        let Some(answer) = self.asks(self.number, &request) else { panic!("no gate answers for {PATIENCE:?}") };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let revoked = Instant::now();
        self.seen.revocations.fetch_add(1, Ordering::SeqCst);
        let call = call_request("/mcp", &session.tokens.access);
        let end = revoked + Duration::from_secs(5);
        while Instant::now() < end {
            let asked = revoked.elapsed();
            match self.once(self.number + 1, &call).map(|answer| answer.status) {
                Some(200) => {
                    let asked = u64::try_from(asked.as_millis()).unwrap();
                    self.seen.revocation_bound.fetch_max(asked, Ordering::SeqCst);
                }
                Some(401) => return,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Whether the session is so young that a failover under way may have taken it along.
fn recent(since: Instant, failovers: &[Instant]) -> bool {
    failovers.last().is_none_or(|last| since > *last) && since.elapsed() < WINDOW
}

/// What a browser would send back of these answers' cookies.
fn cookies(answers: &[&Response]) -> String {
    let all = answers.iter().flat_map(|answer| answer.all("set-cookie"));
    let pairs: Vec<&str> =
        all.filter(|cookie| !cookie.contains("Max-Age=0")).filter_map(|cookie| cookie.split(';').next()).collect();
    pairs.join("; ")
}
