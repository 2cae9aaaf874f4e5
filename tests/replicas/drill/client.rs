//! A client that does nothing wrong, and whoever may have stolen its code.

use super::seen::{Broken, Seen};
use crate::harness::browser::{call_request, exchange_request, refresh_request};
use crate::harness::http::form;
use crate::harness::{
    Ask, Authorization, BASE, Client, Connection, Pkce, Provider, Request, Response, Returned, Script, Tokens, at_once,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a client tries to have one thing done. Nothing may take longer than the time in which a refresh may be repeated.
const PATIENCE: Duration = Duration::from_secs(50);
/// Sessions that a client keeps until the end, and sessions whose end it remembers.
const KEPT: usize = 50;
/// Stolen codes that are shown again before more are.
const SHOWN: usize = 8;

/// A client, with the browsers of its people.
pub struct Honest<'a> {
    pub seen: &'a Seen,
    pub begun: Instant,
    pub gates: [SocketAddr; 2],
    pub provider: Provider,
    pub client: Client,
    pub number: usize,
}

/// What a login came to.
enum Login {
    Session(Session),
    /// Its code was shown at several gates at once, and its session is over.
    Stolen(Shown),
}

/// A session that a gate has answered for.
struct Session {
    tokens: Tokens,
    acknowledged: RangeInclusive<Instant>,
}

/// A code that somebody else has too.
struct Shown {
    request: Request,
    redeemed: usize,
}

impl Honest<'_> {
    /// Logs in, uses what it has, ends half of it, and looks in the end whether everything is still as it was told.
    pub fn lives(&self, stop: &AtomicBool) {
        let (mut kept, mut ended, mut shown) = (Vec::new(), Vec::new(), VecDeque::new());
        let mut turn = self.number;
        while !stop.load(Ordering::SeqCst) {
            turn += 1;
            if shown.len() >= SHOWN
                && let Some(code) = shown.pop_front()
            {
                self.shows_again(code);
            }
            if !kept.is_empty() {
                let place = turn % kept.len();
                if !(self.refreshes(&mut kept[place], turn) && self.calls(&kept[place])) {
                    kept.swap_remove(place);
                }
            }
            let mut session = match self.logs_in(turn) {
                Some(Login::Session(session)) => session,
                Some(Login::Stolen(code)) => {
                    shown.push_back(code);
                    continue;
                }
                None => {
                    self.seen.begun_again.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            let lives = (0..4).all(|round| {
                std::thread::sleep(Duration::from_millis(10));
                self.refreshes(&mut session, round) && self.calls(&session)
            });
            if !lives {
                continue;
            }
            self.seen.flows.fetch_add(1, Ordering::SeqCst);
            if turn.is_multiple_of(2) {
                let revoked = self.revokes(&session);
                if ended.len() == KEPT {
                    ended.swap_remove(turn % KEPT);
                }
                ended.push((session, revoked));
            } else if kept.len() < KEPT {
                kept.push(session);
            }
        }
        for session in &mut kept {
            self.refreshes(session, 1);
        }
        for (session, acknowledged) in ended {
            let answer = self.answer(1, &refresh_request(&self.client, &session.tokens.refresh));
            if answer.status == 200 {
                let answer = "a revoked session was refreshed".to_owned();
                self.seen.undone.lock().unwrap().push(Broken { acknowledged, at: Instant::now(), answer });
            }
        }
        shown.into_iter().for_each(|code| self.shows_again(code));
    }

    /// The first answer that is no failure, from whichever gate; nothing if there is none for too long.
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

    /// The same where there has to be one.
    fn answer(&self, first: usize, request: &Request) -> Response {
        self.asks(first, request).unwrap_or_else(|| panic!("no gate answers for {PATIENCE:?}"))
    }

    /// One attempt; nothing if it failed.
    fn once(&self, gate: usize, request: &Request) -> Option<Response> {
        let mut connection = Connection::reach(self.gates[gate % 2]).ok()?;
        connection.send(&request.clone().header("Connection", "close"));
        let answer = connection.response(&request.method).ok().filter(|answer| answer.status < 500)?;
        self.seen.answered(self.begun.elapsed());
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
        // Each login is another person's, because a person has at most 64 sessions.
        let person = Script::person(&format!("person {} {turn}", self.number));
        let code = self.provider.issue(&authorization, person);
        let query = form(&[("code", code.as_str()), ("state", authorization.param("state"))]);
        let back = Request::get(&format!("/oauth/callback?{query}")).header("Cookie", &cookies(&[&page, &approved]));
        // Whoever does not hear the answer to this begins again: the provider's code is not sent twice.
        let back = self.once(turn, &back).filter(|answer| answer.status == 302)?;
        let code = Returned::of(&back).param("code")?.to_owned();
        let request = exchange_request(&self.client, &code, &pkce);
        if !turn.is_multiple_of(4) {
            let asked = Instant::now();
            let answer = self.once(turn + 1, &request).filter(|answer| answer.status == 200)?;
            let acknowledged = asked..=Instant::now();
            return Some(Login::Session(Session { tokens: Tokens::of(&answer), acknowledged }));
        }
        // A code that was stolen with everything else: both show it at once. One of them wins, and both are out.
        let won = self.both(&request).iter().flatten().filter(|answer| answer.status == 200).count();
        self.seen.stolen.fetch_add(1, Ordering::SeqCst);
        let late = usize::from(self.once(turn, &request).is_some_and(|answer| answer.status == 200));
        Some(Login::Stolen(Shown { request, redeemed: won + late }))
    }

    /// The thief tries once more, when other servers may have come and gone.
    fn shows_again(&self, code: Shown) {
        let again = usize::from(self.answer(self.number, &code.request).status == 200);
        if code.redeemed + again > 1 {
            self.seen.double_redemptions.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Both gates at one moment.
    fn both(&self, request: &Request) -> Vec<Option<Response>> {
        at_once(2, |gate| self.once(gate, request))
    }

    /// Whether the session goes on.
    fn refreshes(&self, session: &mut Session, round: usize) -> bool {
        let request = refresh_request(&self.client, &session.tokens.refresh);
        if round == 0 {
            // Two processes of this client.
            let successors: Vec<String> = self
                .both(&request)
                .iter()
                .flatten()
                .filter(|answer| answer.status == 200)
                .map(|answer| Tokens::of(answer).refresh)
                .collect();
            if successors.windows(2).any(|pair| pair[0] != pair[1]) {
                self.seen.forks.fetch_add(1, Ordering::SeqCst);
            }
        }
        let answer = self.answer(self.number + round, &request);
        if answer.status == 200 {
            self.seen.refreshes.fetch_add(1, Ordering::SeqCst);
            session.tokens = Tokens::of(&answer);
            return true;
        }
        self.seen.refused.lock().unwrap().push(Broken {
            acknowledged: session.acknowledged.clone(),
            at: Instant::now(),
            answer: format!("{} {}", answer.status, answer.text()),
        });
        false
    }

    fn calls(&self, session: &Session) -> bool {
        let answer = self.asks(self.number, &call_request("/mcp", &session.tokens.access));
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        // A refusal here has the client refresh; that is what would log it out.
        answer.is_some_and(|answer| matches!(answer.status, 200 | 401))
    }

    /// It ends the session at one gate, and looks at the other. When it was ended.
    fn revokes(&self, session: &Session) -> RangeInclusive<Instant> {
        let call = call_request("/mcp", &session.tokens.access);
        // The other has it at hand by then.
        self.once(self.number + 1, &call);
        let asked = Instant::now();
        let answer =
            self.answer(self.number, &self.client.form("/oauth/revoke", &[("token", &session.tokens.refresh)]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let revoked = Instant::now();
        self.seen.revocations.fetch_add(1, Ordering::SeqCst);
        while revoked.elapsed() < Duration::from_secs(5) {
            let elapsed = revoked.elapsed();
            match self.once(self.number + 1, &call).map(|answer| answer.status) {
                Some(200) => self.seen.admitted(elapsed),
                Some(401) => break,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        asked..=revoked
    }
}

/// What a browser would send back of these answers' cookies.
fn cookies(answers: &[&Response]) -> String {
    let all = answers.iter().flat_map(|answer| answer.all("set-cookie"));
    let pairs: Vec<&str> =
        all.filter(|cookie| !cookie.contains("Max-Age=0")).filter_map(|cookie| cookie.split(';').next()).collect();
    pairs.join("; ")
}
