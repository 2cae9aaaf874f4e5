//! GitHub, which gives no ID token, over the whole gate (M13): who somebody is says its API.

use super::harness::http::{fields, unescape};
use super::harness::provider::lay_over;
use super::harness::upstream::{Seen, request};
use super::harness::{Ask, Authorization, Client, Gate, PROVIDER_CLIENT, PROVIDER_SECRET, Pkce, Provider, Response};
use super::harness::{Returned, Tokens, Upstream, World, configuration};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A person there, as the API tells of them.
#[derive(Clone)]
struct Person {
    user: Value,
    emails: Value,
    organizations: Value,
    teams: Value,
}

fn ada() -> Person {
    Person {
        user: json!({ "id": 583_231, "login": "ada", "name": "Ada Lovelace", "email": "public@elsewhere.example" }),
        emails: json!([
            { "email": "old@example.com", "primary": false, "verified": true },
            { "email": "ada@example.com", "primary": true, "verified": true },
        ]),
        organizations: json!([{ "login": "acme", "id": 1 }]),
        teams: json!([{ "slug": "core", "name": "Core", "organization": { "login": "acme" } }]),
    }
}

/// The operator's token.
const OPERATOR: &str = "the-token-of-the-operator-of-this-gate";

/// How the app is registered there.
#[derive(Clone, Copy, PartialEq)]
enum App {
    /// Tokens that do not end.
    OAuth,
    /// Tokens that end after so many seconds, with refresh tokens that are good once.
    Expiring(u64),
}

struct Issued {
    challenge: String,
    redirect_uri: String,
    person: usize,
}

#[derive(Default)]
struct State {
    people: Vec<Person>,
    codes: HashMap<String, Issued>,
    access: HashMap<String, usize>,
    refresh: HashMap<String, usize>,
    count: usize,
    seen: Vec<Seen>,
    /// Instead of every answer of the API: a status.
    api_says: Option<u16>,
    /// The numbers of those whose account it has suspended.
    suspended: Vec<u64>,
}

#[derive(Clone)]
struct Hub {
    url: String,
    app: App,
    state: Arc<Mutex<State>>,
}

impl Hub {
    fn start(app: App) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hub = Self { url, app, state: Arc::default() };
        let own = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = own.clone();
                std::thread::spawn(move || hub.serve(stream));
            }
        });
        hub
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }

    /// Lets this person log in: their place, and the code.
    fn lets_in(&self, authorization: &Authorization, person: Person) -> (usize, String) {
        let (challenge, redirect_uri) =
            (authorization.param("code_challenge").to_owned(), authorization.param("redirect_uri").to_owned());
        self.with(|state| {
            state.people.push(person);
            state.count += 1;
            let (place, code) = (state.people.len() - 1, format!("code-{}", state.count));
            state.codes.insert(code.clone(), Issued { challenge, redirect_uri, person: place });
            (place, code)
        })
    }

    fn asked(&self, path: &str) -> usize {
        self.with(|state| state.seen.iter().filter(|seen| seen.target().split('?').next() == Some(path)).count())
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut ahead = Vec::new();
        while let Some(seen) = request(0, &mut stream, &mut ahead) {
            self.with(|state| state.seen.push(seen.clone()));
            let (status, content_type, body) = match seen.target() {
                "/login/oauth/access_token" => self.token(&seen),
                target => self.api(target, &seen),
            };
            let head = format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn token(&self, seen: &Seen) -> (u16, &'static str, String) {
        let form = fields(std::str::from_utf8(&seen.body).unwrap());
        let field = |wanted: &str| form.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value);
        let answer = self.with(|state| {
            if field("client_id") != PROVIDER_CLIENT || field("client_secret") != PROVIDER_SECRET {
                return json!({ "error": "incorrect_client_credentials" });
            }
            let person = if field("grant_type") == "refresh_token" {
                let Some(person) = state.refresh.remove(field("refresh_token")) else {
                    return json!({ "error": "bad_refresh_token", "error_description": "<script>" });
                };
                state.access.retain(|_, owner| *owner != person);
                person
            } else {
                let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, field("code_verifier").as_bytes()));
                let issued = state.codes.remove(field("code"));
                let issued = issued.filter(|it| it.challenge == challenge && it.redirect_uri == field("redirect_uri"));
                let Some(issued) = issued else { return json!({ "error": "bad_verification_code" }) };
                issued.person
            };
            state.count += 1;
            let (access, refresh) = (format!("gho_{}", state.count), format!("ghr_{}", state.count));
            state.access.insert(access.clone(), person);
            let mut answer = json!({ "access_token": access, "token_type": "bearer", "scope": "read:user,user:email" });
            if let App::Expiring(seconds) = self.app {
                state.refresh.insert(refresh.clone(), person);
                lay_over(&mut answer, &json!({ "expires_in": seconds, "refresh_token": refresh, "scope": "" }));
            }
            answer
        });
        // Whoever does not ask for JSON is answered with a form.
        if seen.header("accept") != Some("application/json") {
            return (200, "application/x-www-form-urlencoded", "error=not_acceptable".to_owned());
        }
        (200, "application/json; charset=utf-8", answer.to_string())
    }

    fn api(&self, target: &str, seen: &Seen) -> (u16, &'static str, String) {
        let json = "application/json; charset=utf-8";
        let said = |status: u16| (status, json, json!({ "message": "said" }).to_string());
        self.with(|state| {
            if let Some(status) = state.api_says {
                return said(status);
            }
            let token = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let Some(place) = token.and_then(|token| state.access.get(token)).copied() else { return said(401) };
            // It answers nobody who does not say what they are.
            if seen.header("user-agent").is_none() {
                return said(403);
            }
            let person = &state.people[place];
            if person.user["id"].as_u64().is_some_and(|id| state.suspended.contains(&id)) {
                return (403, json, json!({ "message": "Sorry. Your account was suspended." }).to_string());
            }
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let list = match path {
                "/api/v3/user" => return (200, json, person.user.to_string()),
                "/api/v3/user/emails" => &person.emails,
                "/api/v3/user/orgs" => &person.organizations,
                "/api/v3/user/teams" => &person.teams,
                _ => return said(404),
            };
            let number = |wanted: &str| -> usize {
                let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                pairs
                    .filter(|(name, _)| *name == wanted)
                    .map(|(_, value)| unescape(value).parse::<usize>().unwrap())
                    .sum()
            };
            let (size, page) = (number("per_page"), number("page"));
            let entries: Vec<&Value> = list.as_array().unwrap().iter().skip(size * (page - 1)).take(size).collect();
            (200, json, json!(entries).to_string())
        })
    }
}

fn world(app: App, change: impl FnOnce(&mut Value)) -> (Hub, World) {
    let (hub, provider, upstream) = (Hub::start(app), Provider::start(), Upstream::start());
    let mut config = configuration(&provider, &upstream);
    config.as_object_mut().unwrap().remove("oidc");
    config["provider"] = json!("github");
    config["github"] = json!({ "url": hub.url, "clientId": PROVIDER_CLIENT, "clientSecret": PROVIDER_SECRET });
    change(&mut config);
    let gate = Gate::start(&config);
    gate.until_ready();
    (hub, World::around(gate, provider, upstream))
}

/// What a login of this person leads to.
fn login(hub: &Hub, world: &World, ask: &Ask, person: Person) -> Response {
    let mut browser = world.browser();
    let consent = browser.consent_page(ask);
    let authorization = browser.approve(&consent);
    let (_, code) = hub.lets_in(&authorization, person);
    browser.callback(&[("code", &code), ("state", authorization.param("state"))])
}

#[track_caller]
fn session(hub: &Hub, world: &World, client: &Client, person: Person) -> Tokens {
    let pkce = Pkce::new();
    let returned = Returned::of(&login(hub, world, &Ask::of(client, &pkce), person));
    Tokens::of(&world.exchange(client, returned.param("code").unwrap(), &pkce))
}

/// What the MCP server is told of whoever has this token, under this name.
#[track_caller]
fn told(world: &World, tokens: &Tokens, name: &str) -> Option<String> {
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    world.upstream.seen().pop().unwrap().header(name).map(str::to_owned)
}

#[test]
fn m13_t202_github_is_asked_in_plain_oauth_with_state_and_pkce() {
    let (hub, world) = world(App::OAuth, |config| config["github"]["groups"] = json!("teams"));
    let client = world.public_client("A client");
    let mut browser = world.browser();
    let ask = Ask::of(&client, &Pkce::new()).set("login_hint", "ada").set("prompt", "select_account");
    let consent = browser.consent_page(&ask);
    let authorization = browser.approve(&consent);
    assert_eq!(authorization.endpoint, format!("{}/login/oauth/authorize", hub.url));
    assert_eq!(authorization.param("scope"), "read:user user:email read:org");
    assert_eq!((authorization.param("login"), authorization.param("prompt")), ("ada", "select_account"));
    assert_eq!(authorization.param("code_challenge").len(), 43);
    assert!(authorization.params.iter().all(|(name, _)| name != "nonce" && name != "login_hint"));
    // The code of one login is worth nothing in another one of the same browser.
    let consent = browser.consent_page(&ask);
    let other = browser.approve(&consent);
    let (_, code) = hub.lets_in(&authorization, ada());
    let crossed = Returned::of(&browser.callback(&[("code", &code), ("state", other.param("state"))]));
    assert_eq!((crossed.error(), crossed.param("code")), ("server_error", None));
}

#[test]
fn m13_r26_who_somebody_is_says_the_number_and_a_new_name_changes_nothing() {
    let (hub, world) = world(App::OAuth, |config| config["github"]["groups"] = json!("teams"));
    let client = world.public_client("A client");
    let first = session(&hub, &world, &client, ada());
    assert_eq!(told(&world, &first, "x-forwarded-user").as_deref(), Some("583231"));
    assert_eq!(told(&world, &first, "x-forwarded-email").as_deref(), Some("ada@example.com"));
    assert_eq!(told(&world, &first, "x-forwarded-preferred-username").as_deref(), Some("ada"));
    assert_eq!(told(&world, &first, "x-forwarded-groups").as_deref(), Some("acme,acme:core"));
    let mut renamed = ada();
    renamed.user["login"] = json!("countess");
    let second = session(&hub, &world, &client, renamed);
    assert_eq!(told(&world, &second, "x-forwarded-user").as_deref(), Some("583231"));
    // What is known of the person is one thing for all of their sessions.
    assert_eq!(told(&world, &first, "x-forwarded-preferred-username").as_deref(), Some("countess"));
    let mut heir = ada();
    heir.user["id"] = json!(7);
    let third = session(&hub, &world, &client, heir);
    assert_eq!(told(&world, &third, "x-forwarded-user").as_deref(), Some("7"));
    assert_eq!(told(&world, &first, "x-forwarded-preferred-username").as_deref(), Some("countess"));
}

#[test]
fn t197_an_address_or_a_group_in_doubt_opens_nothing() {
    let (hub, world) = world(App::OAuth, |config| {
        config["github"]["groups"] = json!("organizations");
        config["allowedPeople"] = json!({ "emailDomains": ["example.com"], "groups": ["acme"] });
    });
    let client = world.public_client("A client");
    let nobody = || Person { emails: json!([]), organizations: json!([]), teams: json!([]), ..ada() };
    let address = |primary: bool, verified: bool| json!([{ "email": "ada@example.com", "primary": primary, "verified": verified }]);
    session(&hub, &world, &client, Person { emails: address(true, true), ..nobody() });
    session(&hub, &world, &client, Person { organizations: json!([{ "login": "acme" }]), ..nobody() });
    for person in [
        nobody(),
        Person { emails: address(true, false), ..nobody() },
        Person { emails: address(false, true), ..nobody() },
        Person { user: json!({ "id": 1, "login": "acme", "email": "a@example.com" }), ..nobody() },
        Person { organizations: json!([{ "login": "Acme" }, { "login": "acme-evil" }]), ..nobody() },
        Person { teams: json!([{ "slug": "acme", "organization": { "login": "evil" } }]), ..nobody() },
    ] {
        let kept_out = login(&hub, &world, &Ask::of(&client, &Pkce::new()), person);
        assert_eq!(kept_out.status, 200, "{}", kept_out.text());
        assert!(kept_out.text().contains("error=access_denied") && !kept_out.text().contains("code="));
    }
    // The six hundredth and one more.
    let many: Vec<Value> = (0..650).map(|number| json!({ "login": format!("g{number}") })).collect();
    let many = Person { emails: address(true, true), organizations: json!(many), ..nobody() };
    let tokens = session(&hub, &world, &client, many);
    assert_eq!(told(&world, &tokens, "x-forwarded-groups").unwrap().split(',').count(), 600);
    assert_eq!(world.happened("groups_incomplete"), 1);
}

#[test]
fn t194_what_github_says_in_no_good_form_logs_nobody_in() {
    let (hub, world) = world(App::OAuth, |_| {});
    let client = world.public_client("A client");
    let ask = Ask::of(&client, &Pkce::new());
    for user in [json!({ "login": "ada" }), json!({ "id": "583231" }), json!({ "id": 0 }), json!([]), json!(null)] {
        let returned = Returned::of(&login(&hub, &world, &ask, Person { user: user.clone(), ..ada() }));
        assert_eq!((returned.error(), returned.param("code")), ("server_error", None), "{user}");
    }
    for (status, error) in [(401, "server_error"), (404, "server_error"), (403, "temporarily_unavailable")] {
        hub.with(|state| state.api_says = Some(status));
        let returned = Returned::of(&login(&hub, &world, &ask, ada()));
        assert_eq!((returned.error(), returned.param("code")), (error, None), "{status}");
    }
    hub.with(|state| state.api_says = None);
    // A code that it does not know is refused with status 200; nothing of its words goes on.
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask);
    let authorization = browser.approve(&consent);
    let unknown = browser.callback(&[("code", "code-x"), ("state", authorization.param("state"))]);
    assert_eq!(Returned::of(&unknown).error(), "server_error");
    // It cannot say how long ago somebody has proved who they are.
    let returned = Returned::of(&login(&hub, &world, &ask.set("max_age", "60"), ada()));
    assert_eq!(returned.error(), "server_error");
}

#[test]
fn t191_an_iss_at_the_callback_is_githubs_or_nobodys() {
    let (hub, world) = world(App::OAuth, |_| {});
    let client = world.public_client("A client");
    for (iss, goes_on) in [("/login/oauth", true), ("", false), ("/login/oauth/", false)] {
        let mut browser = world.browser();
        let consent = browser.consent_page(&Ask::of(&client, &Pkce::new()));
        let authorization = browser.approve(&consent);
        let (_, code) = hub.lets_in(&authorization, ada());
        let iss = format!("{}{iss}", hub.url);
        let answer = browser.callback(&[("code", &code), ("state", authorization.param("state")), ("iss", &iss)]);
        assert_eq!(answer.status != 400, goes_on, "{iss}");
    }
}

#[test]
fn m13_m07_a_person_is_asked_for_again_before_what_is_known_of_them_ends() {
    let (hub, world) = world(App::Expiring(240), |config| config["github"]["groups"] = json!("organizations"));
    let client = world.public_client("A client");
    let mut tokens = session(&hub, &world, &client, ada());
    let asked = hub.asked("/api/v3/user");
    hub.with(|state| state.people[0].organizations = json!([{ "login": "globex" }]));
    let answer = world.refresh(&client, &tokens.refresh);
    assert!(answer.json()["expires_in"].as_u64().unwrap() <= 240, "{}", answer.text());
    tokens = Tokens::of(&answer);
    assert_eq!(hub.asked("/api/v3/user"), asked + 1);
    assert_eq!(told(&world, &tokens, "x-forwarded-groups").as_deref(), Some("globex"));
    // Its limits and outages cost nobody a session, and the next refresh token is not lost with them.
    for status in [403, 429, 500] {
        hub.with(|state| state.api_says = Some(status));
        tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
        assert!(world.admits(&tokens.access), "{status}");
    }
    hub.with(|state| state.api_says = None);
    tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
    // Somebody else's account behind the same token is nobody's.
    hub.with(|state| state.people[0].user["id"] = json!(7));
    tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert_eq!(told(&world, &tokens, "x-forwarded-user").as_deref(), Some("583231"));
    // A refresh token that it has put an end to, told with status 200: twice, and every session is over.
    hub.with(|state| state.refresh.clear());
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    assert!(!world.admits(&tokens.access));
}

#[test]
fn m13_an_oauth_apps_access_token_is_asked_with_again_until_it_is_refused() {
    let (hub, world) = world(App::OAuth, |config| {
        config["allowedPeople"] = json!({ "emailDomains": ["example.com"] });
        config["adminToken"] = json!(OPERATOR);
    });
    let client = world.public_client("A client");
    let tokens = session(&hub, &world, &client, ada());
    hub.with(|state| state.people[0].user["login"] = json!("countess"));
    let renewed = renew(&world);
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(told(&world, &tokens, "x-forwarded-preferred-username").as_deref(), Some("countess"));
    assert_eq!(hub.asked("/login/oauth/access_token"), 1, "it has nothing to refresh with");
    hub.with(|state| state.api_says = Some(403));
    renew(&world);
    assert!(world.admits(&tokens.access), "a limit is no refusal");
    hub.with(|state| state.api_says = None);
    hub.with(|state| state.access.clear());
    renew(&world);
    super::harness::eventually("the sessions are over", || !world.admits(&tokens.access));
}

#[test]
fn m13_t194_whose_account_is_suspended_is_in_no_session_any_more_and_everybody_else_is() {
    for app in [App::OAuth, App::Expiring(240)] {
        let (hub, world) = world(app, |config| config["adminToken"] = json!(OPERATOR));
        let client = world.public_client("A client");
        let (ada, other) = (ada(), Person { user: json!({ "id": 7, "login": "grace" }), ..ada() });
        let suspended = session(&hub, &world, &client, ada.clone());
        let lives = session(&hub, &world, &client, other);
        hub.with(|state| state.suspended.push(583_231));
        if app == App::OAuth {
            // Nothing of hers ends so soon that a client's refresh would have to ask.
            assert_eq!(renew(&world).status, 410);
        }
        world.refresh(&client, &suspended.refresh).refuses(400, "invalid_grant");
        assert!(!world.admits(&suspended.access));
        let lives = Tokens::of(&world.refresh(&client, &lives.refresh));
        assert!(world.admits(&lives.access));
        let kept_out = login(&hub, &world, &Ask::of(&client, &Pkce::new()), ada);
        assert!(kept_out.text().contains("error=access_denied") && !kept_out.text().contains("code="));
    }
}

/// Has the operator ask for the tokens of the only session of the person.
fn renew(world: &World) -> Response {
    // What came within the last two seconds is not asked for again.
    std::thread::sleep(Duration::from_millis(2_100));
    let path = format!("/sessions/{}/refresh", session_id(world));
    super::harness::http::once(world.gate.admin(), &super::harness::Request::post(&path).bearer(OPERATOR))
}

/// The session of the only person, as the operator names it.
fn session_id(world: &World) -> String {
    let request = super::harness::Request::get("/sessions?subject=583231").bearer(OPERATOR);
    let answer = super::harness::http::once(world.gate.admin(), &request);
    answer.json()["sessions"][0]["id"].as_str().unwrap().to_owned()
}
