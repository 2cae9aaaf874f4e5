//! Master keys that are exchanged while the gate runs: in turn, at once, and what is refused.
//!
//! | id | where |
//! |---|---|
//! | T159, T290 | `t159_…`: a signing key is there before it signs, and gone with its master key |

use crate::harness::browser::{Authorization, Browser, Consent, call_request, exchange_request, refresh_request};
use crate::harness::{
    Answer, Ask, Client, Gate, Pkce, Provider, REDIRECT, Request, Script, Tokens, Upstream, World, configuration,
    eventually,
};
use crate::valkey::{Make, Options, Persistence, Server};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::jose::jws::Unverified;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// A master key: the bytes that follow each other from this one on.
fn key(first: u8) -> String {
    (0..32_u8).map(|next| format!("{:02x}", first.wrapping_add(next))).collect()
}

const OLD: u8 = 1;
const NEW: u8 = 101;

fn keys(firsts: &[u8]) -> Value {
    firsts.iter().map(|first| key(*first)).collect()
}

/// A gate that can be given other master keys.
struct Rotating {
    world: World,
    config: Value,
}

impl Rotating {
    fn start() -> Self {
        let mut config = Value::Null;
        let world = World::with(|started| {
            started["masterKeys"] = keys(&[OLD]);
            started["resources"][0]["identity"] = json!("assertion");
            config = started.clone();
        });
        world.upstream.answers(|_| Answer::whole("200 OK", &[("Mcp-Session-Id", "tools")], "{}"));
        Self { world, config }
    }

    fn becomes(&self, keys: Value) {
        let mut config = self.config.clone();
        config["masterKeys"] = keys;
        self.world.gate.take_over(&config).unwrap();
    }

    /// How many keys are published, and which of them has signed the assertion that the server behind was shown last.
    fn published(&self) -> (usize, Option<usize>) {
        let published = self.world.send(&Request::get("/.well-known/jwks.json")).json();
        let published = published["keys"].as_array().unwrap();
        let seen = self.world.upstream.seen();
        let assertion = seen.last().unwrap().header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        let opens = |key: &Value| {
            let set = KeySet::read(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
            Unverified::parse(assertion).unwrap().verify(&set).is_ok()
        };
        (published.len(), published.iter().position(opens))
    }
}

/// Everything that a gate has sealed or signed, and somebody else holds.
struct HandedOut<'a> {
    world: &'a World,
    public: Client,
    confidential: Client,
    tokens: Tokens,
    mcp_session: String,
    asked: Browser<'a>,
    consent: Consent,
    away: Browser<'a>,
    authorization: Authorization,
}

impl<'a> HandedOut<'a> {
    fn by(world: &'a World) -> Self {
        let (public, confidential) = (world.public_client("A client"), world.confidential_client("Another"));
        let tokens = world.tokens(&public);
        let answer = world.call("/mcp", &tokens.access);
        let mcp_session = answer.header("mcp-session-id").unwrap().to_owned();
        let (mut asked, mut away) = (world.browser(), world.browser());
        let ask = Ask::of(&public, &Pkce::new());
        let consent = asked.consent_page(&ask);
        let other = away.consent_page(&ask);
        let authorization = away.approve(&other);
        Self { world, public, confidential, tokens, mcp_session, asked, consent, away, authorization }
    }

    /// Shows all of it again: what is refused.
    fn refused(mut self) -> Vec<&'static str> {
        let world = self.world;
        let before = world.call("/mcp", &self.tokens.access);
        let refreshed = world.refresh(&self.public, &self.tokens.refresh);
        let access = if refreshed.status == 200 { Tokens::of(&refreshed).access } else { self.tokens.access };
        let session = world.send(&call_request("/mcp", &access).header("Mcp-Session-Id", &self.mcp_session));
        let approved = self.asked.answer(&self.consent, "approve");
        let code = world.provider.issue(&self.authorization, Script::default());
        let back = self.away.callback(&[("code", &code), ("state", self.authorization.param("state"))]);
        let known = world.browser().authorize(&Ask::of(&self.public, &Pkce::new()));
        let proven = world.refresh(&self.confidential, "pcr_nothing").json()["error"] == "invalid_grant";
        let shown = [
            ("access token", before.status == 200),
            ("refresh token", refreshed.status == 200),
            ("MCP session", session.status == 200),
            ("consent form", approved.status == 303),
            ("login", back.status == 302),
            ("client", known.status == 200),
            ("client secret", proven),
        ];
        shown.into_iter().filter(|(_, good)| !good).map(|(what, _)| what).collect()
    }
}

#[test]
fn t159_t290_master_keys_are_exchanged_in_turn_without_a_restart_and_end_what_they_alone_could_open() {
    let gate = Rotating::start();
    let none: [&str; 0] = [];
    let first = HandedOut::by(&gate.world);
    gate.becomes(keys(&[OLD, NEW]));
    assert_eq!(first.refused(), none);
    assert_eq!(gate.published(), (2, Some(0)), "the new one is there before it signs");
    let (second, retired, gone) = (HandedOut::by(&gate.world), HandedOut::by(&gate.world), HandedOut::by(&gate.world));
    gate.becomes(keys(&[NEW, OLD]));
    assert_eq!(second.refused(), none);
    assert_eq!(gate.published(), (2, Some(0)), "and signs from now on");
    let (third, fourth) = (HandedOut::by(&gate.world), HandedOut::by(&gate.world));

    gate.becomes(json!([key(NEW), { "key": key(OLD), "clientIdsOnly": true }]));
    assert_eq!(third.refused(), none);
    assert_eq!(gate.published(), (1, Some(0)));
    // Nobody is logged out: a refresh token holds no master key.
    assert_eq!(retired.refused(), ["access token", "MCP session", "consent form", "login"]);

    gate.becomes(keys(&[NEW]));
    assert_eq!(fourth.refused(), none);
    // The client is not known any more, and nothing of it is.
    let all = ["access token", "refresh token", "MCP session", "consent form", "login", "client", "client secret"];
    assert_eq!(gone.refused(), all);

    // At once, as when a key was stolen: no assertion of the stolen one is shown to anybody any more.
    let stolen = HandedOut::by(&gate.world);
    gate.becomes(keys(&[OLD]));
    assert_eq!(stolen.refused(), all);
    let fresh = HandedOut::by(&gate.world);
    assert_eq!(gate.published(), (1, Some(0)));
    assert_eq!(fresh.refused(), none);
    assert_eq!(gate.world.happened("master_keys_exchanged"), 5);
    gate.becomes(keys(&[OLD]));
    assert_eq!(gate.world.happened("master_keys_exchanged"), 5, "they are the same");
}

/// Two gates on one server, which change their keys one after the other.
struct Fleet {
    world: World,
    other: Gate,
    configs: [Value; 2],
}

impl Fleet {
    fn on(server: &Server) -> Self {
        let (provider, upstream) = (Provider::start(), Upstream::start());
        let config = || {
            let mut config = configuration(&provider, &upstream);
            config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
            config["clients"] = json!([{ "clientId": "fixed", "name": "Fixed", "redirectUris": [REDIRECT] }]);
            config["masterKeys"] = keys(&[OLD]);
            config
        };
        let configs = [config(), config()];
        let [first, other] = configs.each_ref().map(|config| {
            let gate = Gate::start(config);
            gate.until_ready();
            gate
        });
        Self { world: World::around(first, provider, upstream), other, configs }
    }

    fn becomes(&self, place: usize, firsts: &[u8]) -> Result<(), String> {
        let mut config = self.configs[place].clone();
        config["masterKeys"] = keys(firsts);
        [&self.world.gate, &self.other][place].take_over(&config)
    }

    /// A session whose every second step the other gate answers.
    fn lives(&self, subject: &str) {
        let there = |request: &Request| self.other.connect(Ipv4Addr::LOCALHOST).last(request);
        let metadata = json!({
            "client_name": "A client", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
        });
        let registered = there(&Request::json("/oauth/register", &metadata));
        let client = Client::public(registered.json()["client_id"].as_str().unwrap());
        let pkce = Pkce::new();
        let code = self.world.code_for(&Ask::of(&client, &pkce), Script::person(subject));
        let tokens = Tokens::of(&there(&exchange_request(&client, &code, &pkce)));
        assert_eq!(self.world.call("/mcp", &tokens.access).status, 200);
        let next = Tokens::of(&self.world.refresh(&client, &tokens.refresh));
        for access in [&tokens.access, &next.access] {
            assert_eq!(there(&call_request("/mcp", access)).status, 200);
        }
        assert_eq!(Tokens::of(&there(&refresh_request(&client, &tokens.refresh))).refresh, next.refresh);
        let last = Tokens::of(&there(&refresh_request(&client, &next.refresh)));
        assert_eq!(self.world.call("/mcp", &last.access).status, 200);
    }
}

#[test]
fn t159_p13_two_gates_go_through_a_rotation_while_people_come_and_go_and_nobody_is_refused() {
    let mut server = Server::with(Options::of(Make::Valkey9).persistence(Persistence::Always));
    let fleet = Fleet::on(&server);
    let fixed = Client::public("fixed");
    let before = fleet.world.tokens(&fixed);
    let (over, lives) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 2]);
    std::thread::scope(|scope| {
        // Whatever becomes of the steps below, people stop coming.
        let people = ["bob", "eve"].iter().zip(&lives).map(|(subject, lives)| {
            let (fleet, over) = (&fleet, &over);
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    fleet.lives(subject);
                    lives.fetch_add(1, SeqCst);
                }
            })
        });
        let people: Vec<_> = people.collect();
        let steps: [&[u8]; 3] = [&[OLD, NEW], &[NEW, OLD], &[NEW]];
        let taken: Vec<Result<(), String>> = steps
            .into_iter()
            .flat_map(|ring| [(0, ring), (1, ring)])
            .map(|(place, ring)| {
                // What is held by then was begun after the step before.
                let since = lives.each_ref().map(|lives| lives.load(SeqCst));
                eventually("sessions begin and are used", || {
                    let is_over = people.iter().any(std::thread::ScopedJoinHandle::is_finished);
                    is_over || lives.iter().zip(since).all(|(lives, since)| lives.load(SeqCst) >= since + 2)
                });
                if ring == [NEW] && place == 0 {
                    assert!(fleet.world.admits(&before.access), "its key is there still");
                }
                fleet.becomes(place, ring)
            })
            .collect();
        over.store(true, SeqCst);
        assert_eq!(taken, vec![Ok(()); 6]);
    });
    // What the old key alone could open is over at once, also where it was known a moment ago.
    assert_eq!(fleet.world.call("/mcp", &before.access).status, 401);
    fleet.world.refresh(&fixed, &before.refresh).refuses(400, "invalid_grant");

    let after = fleet.world.tokens(&fixed);
    let refused = fleet.becomes(0, &[OLD]).unwrap_err();
    assert!(refused.contains("other master keys"), "{refused}");
    server.kill();
    let refused = fleet.becomes(0, &[NEW, OLD]).unwrap_err();
    assert!(refused.contains("cannot be reached"), "{refused}");
    server.again();
    eventually("the store is back", || fleet.world.call("/mcp", &after.access).status == 200);
    eventually("and is asked for changes", || fleet.becomes(0, &[NEW, OLD]) == Ok(()));
    assert!(fleet.world.admits(&after.access), "nothing has changed for whoever is in");
}
