//! An honest person and their client, who only want their answers.

use crate::harness::browser::{call_request, exchange_request};
use crate::harness::{Ask, Client, Connection, Pkce, Script, Tokens, World};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where the honest client is.
const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// A person who is logged in with a client.
pub struct Honest<'a> {
    world: &'a World,
    client: Client,
    tokens: Mutex<Tokens>,
}

/// How long calls and logins took.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    calls: usize,
    p50: Duration,
    pub p99: Duration,
    most: Duration,
    logins: usize,
    login: Duration,
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, p50, p99, most, logins, login } = self;
        write!(out, "p50 {p50:.1?}, p99 {p99:.1?}, at the most {most:.1?} ({calls} calls), ")?;
        write!(out, "a whole login {login:.1?} (p50 of {logins})")
    }
}

/// Somebody logs in after so many calls.
const CALLS_PER_LOGIN: usize = 100;
/// The client refreshes after so many.
const CALLS_PER_REFRESH: usize = 500;

impl<'a> Honest<'a> {
    /// Registers and logs in.
    pub fn enter(world: &'a World) -> Self {
        let client = world.public_client("An honest client");
        let tokens = Mutex::new(enter(world, &client, Script::default()));
        Self { world, client, tokens }
    }

    /// What nobody may hear.
    pub fn secrets(&self) -> Vec<String> {
        let tokens = self.tokens.lock().unwrap();
        [&tokens.access, &tokens.refresh].map(|token| token[token.len() - 24..].to_owned()).to_vec()
    }

    /// Calls for this long, with nobody beside.
    pub fn alone(&self, lasts: Duration) -> Told {
        self.beside(|| thread::sleep(lasts)).0
    }

    /// Calls while something else happens, over one connection as clients do, and refreshes now and then. Others log in
    /// between two calls: one person's logins would end their own first session in the end, and a login beside a call would make
    /// it wait for what honest people do on a machine of two cores, and not for what is measured.
    pub fn beside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> (Told, T) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let works = scope.spawn(|| self.work_until(&over));
            let done = act();
            over.store(true, Ordering::Relaxed);
            (works.join().expect("an honest client was not answered"), done)
        })
    }

    fn work_until(&self, over: &AtomicBool) -> Told {
        let mut connection = self.world.gate.connect(HERE);
        let (mut calls, mut logins) = (Vec::new(), Vec::new());
        while !over.load(Ordering::Relaxed) {
            let number = calls.len();
            if number % CALLS_PER_REFRESH == CALLS_PER_REFRESH - 1 {
                self.refresh();
            }
            if number % CALLS_PER_LOGIN == CALLS_PER_LOGIN / 2 {
                let begun = Instant::now();
                enter(self.world, &self.client, Script::person(&format!("honest-{number}")));
                logins.push(begun.elapsed());
            }
            let access = self.tokens.lock().unwrap().access.clone();
            let begun = Instant::now();
            let answer = connection.exchange(&call_request("/mcp", &access));
            calls.push(begun.elapsed());
            assert_eq!(answer.status, 200, "{}", answer.text());
            thread::sleep(Duration::from_millis(4));
        }
        calls.sort_unstable();
        logins.sort_unstable();
        let at = |part: usize| calls[calls.len() * part / 100];
        let most = *calls.last().unwrap();
        Told {
            calls: calls.len(),
            p50: at(50),
            p99: at(99),
            most,
            logins: logins.len(),
            login: logins[logins.len() / 2],
        }
    }

    fn refresh(&self) {
        let mut tokens = self.tokens.lock().unwrap();
        let request = crate::harness::browser::refresh_request(&self.client, &tokens.refresh);
        *tokens = Tokens::of(&self.world.send_from(HERE, &request));
    }

    /// After all of it the session is what it was.
    pub fn still_in(&self) {
        self.refresh();
        let access = self.tokens.lock().unwrap().access.clone();
        assert_eq!(Connection::from(HERE, self.world.gate.public()).last(&call_request("/mcp", &access)).status, 200);
    }
}

/// A whole login: browser, provider and client.
fn enter(world: &World, client: &Client, person: Script) -> Tokens {
    let pkce = Pkce::new();
    let code = world.code_for(&Ask::of(client, &pkce), person);
    Tokens::of(&world.send_from(HERE, &exchange_request(client, &code, &pkce)))
}
