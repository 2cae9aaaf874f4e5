//! What the operator may do on the admin listener: over the whole gate, and by the lines of docs/operations.md as they stand there.

use super::harness::http::once;
use super::harness::{Client, Request, Response, Script, Tokens, World, tls};
use super::people::as_provider;
use super::two::{session, session_of};
use serde_json::{Value, json};
use std::process::Command;

pub const TOKEN: &str = "an-admin-token-of-a-test-0123456789abcdef";

pub fn world() -> World {
    with(|_| {})
}

pub fn with(change: impl FnOnce(&mut Value)) -> World {
    World::with(|config| {
        config["adminToken"] = TOKEN.into();
        change(config);
    })
}

pub fn ask(world: &World, request: Request) -> Response {
    once(world.gate.admin(), &request.bearer(TOKEN))
}

#[track_caller]
pub fn done(world: &World, path: &str, body: Value) -> String {
    let answer = ask(world, Request::json(path, &body));
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()["outcome"].as_str().unwrap().to_owned()
}

/// The sessions of a person, as they are listed.
#[track_caller]
pub fn sessions(world: &World, subject: &str) -> Vec<Value> {
    let answer = ask(world, Request::get(&format!("/sessions?subject={subject}")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["sessions"].as_array().unwrap().clone()
}

fn of(world: &World, client: &Client, subject: &str) -> Tokens {
    session_of(world, client, |ask| ask, Script::claims(json!({ "sub": subject })))
}

fn id(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_operator_sees_a_person_s_sessions_and_ends_one_of_them() {
    let world = world();
    let client = world.public_client("A client");
    let (first, second) = (of(&world, &client, "ada"), of(&world, &client, "ada"));
    of(&world, &client, "bob");
    let listed = sessions(&world, "ada");
    assert_eq!(listed.len(), 2);
    for session in &listed {
        assert_eq!((&session["state"], &session["client_name"]), (&json!("lives"), &json!("A client")));
        assert_eq!((&session["resource"], &session["scope"]), (&json!("https://gate.example/mcp"), &json!("mcp")));
        assert!(session["created"].as_u64().unwrap() <= session["ends"].as_u64().unwrap());
        assert!(session.get("refreshed").is_none());
    }
    // What the MCP server knows it by.
    world.call("/mcp", &first.access);
    let name = world.upstream.seen().pop().unwrap().header("X-Session-Id").unwrap().to_owned();
    assert_eq!(listed[0]["x_session_id"], json!(name));
    let renewed = Tokens::of(&world.refresh(&client, &first.refresh));
    assert!(sessions(&world, "ada")[0]["refreshed"].is_u64());

    let path = format!("/sessions/{}", id(&listed[0]));
    let look = |state: &str| assert_eq!(ask(&world, Request::get(&path)).json()["state"], json!(state));
    look("lives");
    let end = || ask(&world, Request::new("DELETE", &path)).json()["outcome"].as_str().unwrap().to_owned();
    assert_eq!((end().as_str(), end().as_str()), ("revoked", "revoked_before"));
    look("revoked");
    for access in [&first.access, &renewed.access] {
        assert!(!world.admits(access));
    }
    assert_eq!(world.refresh(&client, &renewed.refresh).status, 400);
    assert!(world.admits(&second.access), "the other one lives on");
    assert_eq!(world.happened("operator_revoked_session"), 1);
    assert_eq!(world.happened("operator_looked_at_sessions"), 4);
}

#[test]
fn a_list_of_sessions_comes_in_pages_and_tells_no_secret() {
    let world = world();
    let client = world.public_client("A client");
    let tokens: Vec<Tokens> = (0..5).map(|_| of(&world, &client, "ada")).collect();
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = ask(&world, Request::get(&format!("/sessions?subject=ada&limit=2{after}")));
        let text = page.text();
        for secret in
            tokens.iter().flat_map(|tokens| [&tokens.access, &tokens.refresh]).chain(&world.provider.handed_out())
        {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
        let page = page.json();
        found.extend(page["sessions"].as_array().unwrap().iter().map(id));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let unique: std::collections::BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), unique.len()), (5, 5));
    assert_eq!(sessions(&world, "nobody"), Vec::<Value>::new());
}

#[test]
fn i06_p05_a_cut_ends_whom_it_names_and_nobody_else() {
    for named in ["person", "client", "everything", "sid"] {
        let world = world();
        let (client, other) = (world.public_client("A client"), world.public_client("Another"));
        let script = Script::claims(json!({ "sub": "ada", "sid": "there" }));
        let tokens = session_of(&world, &client, |ask| ask, script);
        let apart = of(&world, &other, "bob");
        let (body, spared) = match named {
            "person" => (json!({ "subject": "ada" }), true),
            "client" => (json!({ "client_id": client.id }), true),
            "sid" => (json!({ "sid": "there" }), true),
            _ => (json!({ "everything": true }), false),
        };
        assert_eq!(done(&world, "/cuts", body), "cut");
        assert!(!world.admits(&tokens.access), "{named}");
        assert_eq!(world.refresh(&client, &tokens.refresh).status, 400, "{named}");
        assert_eq!(sessions(&world, "ada")[0]["state"], json!("cut"), "{named}");
        assert_eq!(world.admits(&apart.access), spared, "{named}");
        let again = of(&world, &client, "ada");
        assert!(world.admits(&again.access), "{named}: who logs in again is in");
        assert_eq!(world.happened("operator_cut"), 1);
    }
}

#[test]
fn t085_who_is_kept_out_stays_out_until_let_in_and_nothing_comes_back() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = of(&world, &client, "ada");
    assert_eq!(done(&world, "/cuts/lift", json!({ "client_id": client.id })), "not_blocked");
    let hash = sessions(&world, "ada")[0]["client"].clone();
    assert_eq!(done(&world, "/cuts", json!({ "client": hash, "keep_out": true })), "blocked");
    assert!(!world.admits(&tokens.access));
    let kept_out = super::two::login(&world, &client, Script::default());
    assert_eq!((kept_out.status, kept_out.header("location")), (200, None), "the person is told on a page");
    let text = kept_out.text();
    assert!(text.contains("This client has been blocked by the operator.") && !text.contains("code="), "{text}");
    assert!(text.contains("error=unauthorized_client"), "and the client hears of it: {text}");
    // A cut on top of it does not lift it.
    assert_eq!(done(&world, "/cuts", json!({ "client_id": client.id })), "cut");
    assert_eq!(done(&world, "/cuts/lift", json!({ "client_id": client.id })), "lifted");
    assert_eq!(done(&world, "/cuts/lift", json!({ "client_id": client.id })), "not_blocked");
    assert!(!world.admits(&tokens.access), "it stays ended");
    assert!(world.admits(&of(&world, &client, "ada").access));
    assert_eq!((world.happened("operator_blocked"), world.happened("operator_lifted_block")), (1, 1));
}

#[test]
fn a_person_who_is_erased_is_nowhere_and_may_come_again() {
    let world = world();
    let client = world.public_client("A client");
    let tokens: Vec<Tokens> = (0..9).map(|_| of(&world, &client, "ada")).collect();
    let bob = of(&world, &client, "bob");
    assert_eq!(done(&world, "/people/erase", json!({ "subject": "ada" })), "erased");
    assert_eq!(sessions(&world, "ada"), Vec::<Value>::new());
    for tokens in &tokens {
        assert!(!world.admits(&tokens.access));
        assert_eq!(world.refresh(&client, &tokens.refresh).status, 400);
        assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    }
    assert!(world.admits(&bob.access));
    assert_eq!(done(&world, "/people/erase", json!({ "subject": "ada" })), "erased");
    let again = of(&world, &client, "ada");
    assert!(world.admits(&again.access));
    assert_eq!(sessions(&world, "ada").len(), 1);
    assert_eq!(world.upstream.seen().pop().unwrap().header("X-Forwarded-User"), Some("ada"));
    assert_eq!(world.happened("operator_erased_person"), 1);
}

#[test]
fn m18_the_provider_s_tokens_of_a_session_are_renewed_and_the_client_s_stay() {
    let world = with(|config| as_provider(config, "dex", &json!({})));
    let client = world.public_client("A client");
    let tokens = session(&world, &client, |ask| ask);
    let path = format!("/sessions/{}/refresh", id(&sessions(&world, "ada")[0]));
    let refresh = || ask(&world, Request::post(&path).body(""));
    let asked = || {
        let seen = world.provider.seen("/token");
        seen.iter().filter(|seen| String::from_utf8_lossy(&seen.body).contains("grant_type=refresh_token")).count()
    };
    // They came with the login just now.
    assert_eq!((refresh().json()["outcome"].as_str(), asked()), (Some("fresh"), 0));
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    world.provider.refreshes(|script| {
        script.instead = Some(("503 Service Unavailable".to_owned(), "text/plain".to_owned(), Vec::new()));
    });
    let away = refresh();
    assert_eq!((away.status, away.header("retry-after").is_some()), (503, true), "{}", away.text());
    world.provider.refreshes(|script| script.members = json!({ "expires_in": 250 }));
    let answer = refresh();
    assert_eq!(answer.json()["outcome"], json!("refreshed"), "{}", answer.text());
    let ends = answer.json()["provider_tokens_end"].as_u64().unwrap();
    assert!(ends.abs_diff(super::harness::provider::now() + 250) <= 5);
    assert_eq!((refresh().json()["outcome"].as_str(), asked()), (Some("fresh"), 2));
    assert!(world.admits(&tokens.access));
    assert_eq!(world.refresh(&client, &tokens.refresh).status, 200, "the client's own is untouched");
    assert_eq!(
        ask(&world, Request::post("/sessions/AQEBAQEBAQEBAQEBAQEBAQ.AQEBAQEBAQEBAQEBAQEBAQ/refresh").body("")).status,
        404
    );
}

#[test]
fn t089_a_person_whom_the_provider_no_longer_knows_is_out_after_it_has_said_so_twice() {
    let world = with(|config| as_provider(config, "dex", &json!({})));
    let client = world.public_client("A client");
    let (tokens, other) = (session(&world, &client, |ask| ask), session(&world, &client, |ask| ask));
    let bob = of(&world, &client, "bob");
    let path = format!("/sessions/{}/refresh", id(&sessions(&world, "ada")[0]));
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    world.provider.refreshes(|script| {
        let refusal = json!({ "error": "invalid_grant" }).to_string().into_bytes();
        script.instead = Some(("400 Bad Request".to_owned(), "application/json".to_owned(), refusal));
    });
    let answer = ask(&world, Request::post(&path).body(""));
    assert_eq!((answer.status, answer.json()["outcome"].as_str()), (410, Some("ended")), "{}", answer.text());
    for tokens in [&tokens, &other] {
        assert!(!world.admits(&tokens.access));
        assert_eq!(world.refresh(&client, &tokens.refresh).status, 400);
    }
    assert!(world.admits(&bob.access), "nobody else");
    assert_eq!(world.happened("provider_tokens_refused"), 1);
    assert_eq!(ask(&world, Request::post(&path).body("")).status, 404);
    world.provider.refreshes(|_| {});
    assert!(world.admits(&session(&world, &client, |ask| ask).access), "who is known again may come again");
}

#[test]
fn m18_without_a_refresh_token_of_the_provider_a_session_lives_on() {
    let world = world();
    let client = world.public_client("A client");
    let script = Script { members: json!({ "refresh_token": Value::Null }), ..Script::default() };
    let tokens = session_of(&world, &client, |ask| ask, script);
    let path = format!("/sessions/{}/refresh", id(&sessions(&world, "ada")[0]));
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let answer = ask(&world, Request::post(&path).body(""));
    assert_eq!((answer.status, answer.json()["outcome"].as_str()), (409, Some("login_needed")), "{}", answer.text());
    assert!(world.admits(&tokens.access));
}

#[test]
fn t143_t287_nobody_but_the_operator_is_listened_to() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let session = format!("/sessions/{}", id(&sessions(&world, "ada")[0]));
    let cut = || Request::json("/cuts", &json!({ "everything": true }));
    let requests = [
        Request::get("/sessions?subject=ada"),
        Request::get(&session),
        Request::new("DELETE", &session),
        Request::post(&format!("{session}/refresh")).body(""),
        cut(),
        Request::json("/cuts/lift", &json!({ "everything": true })),
        Request::json("/people/erase", &json!({ "subject": "ada" })),
    ];
    let lower = TOKEN.to_lowercase().replace('a', "b");
    for request in &requests {
        for shown in [
            request.clone(),
            request.clone().bearer(&tokens.access),
            request.clone().bearer(&lower),
            request.clone().bearer(&TOKEN[..TOKEN.len() - 1]),
            request.clone().basic("admin", TOKEN),
        ] {
            let answer = once(world.gate.admin(), &shown);
            assert_eq!(answer.status, 401, "{} {}", shown.target, answer.text());
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        // Nor at the public listener, with whatever token.
        assert!(matches!(world.send(&request.clone().bearer(TOKEN)).status, 400 | 404), "{}", request.target);
    }
    assert_eq!(world.call("/mcp", TOKEN).status, 401, "it is no access token");
    assert!(world.admits(&tokens.access));
    assert!(world.happened("operator_token_refused") >= 28);
    // Without a token in the configuration there is nobody to listen to.
    let off = World::start();
    for request in requests {
        let answer = once(off.gate.admin(), &request.bearer(TOKEN));
        assert!(answer.status == 404 && answer.text().contains("adminToken"), "{}", answer.text());
    }
}

#[test]
fn what_the_operator_misspells_changes_nothing_and_says_what_to_do() {
    let world = world();
    let tokens = world.tokens(&world.public_client("A client"));
    for body in [
        json!({}),
        json!([]),
        json!({ "subject": "ada", "client_id": "x" }),
        json!({ "subject": "" }),
        json!({ "subject": 7 }),
        json!({ "subject": "ada", "keepOut": true }),
        json!({ "subject": "ada", "keep_out": "true" }),
        json!({ "everything": false }),
        json!({ "everything": "true" }),
        json!({ "client_id": "x", "issuer": "https://id.example" }),
        json!({ "person": "ada" }),
        json!({ "client": "ada" }),
        json!({ "sid": null }),
    ] {
        let answer = ask(&world, Request::json("/cuts", &body));
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(answer.json()["error_description"].as_str().unwrap().len() > 30, "{body}");
    }
    for target in
        ["/sessions", "/sessions?subject=a&person=b", "/sessions?subject=a&subject=b", "/sessions?subject=a&limit=x"]
    {
        assert_eq!(ask(&world, Request::get(target)).status, 400, "{target}");
    }
    let erase = |body: Value| ask(&world, Request::json("/people/erase", &body)).status;
    assert_eq!([erase(json!({ "everything": true })), erase(json!({ "client_id": "x" })), erase(json!({}))], [400; 3]);
    let form = Request::form("/cuts", &[("subject", "ada")]);
    assert_eq!(ask(&world, form).status, 400, "only JSON is read");
    let large = Request::json("/cuts", &json!({ "subject": "a".repeat(70_000) }));
    assert_eq!(ask(&world, large).status, 413);
    for (method, target, allowed) in
        [("PUT", "/cuts", "POST"), ("POST", "/sessions", "GET"), ("PUT", "/sessions/x", "GET, DELETE")]
    {
        let answer = ask(&world, Request::new(method, target).body(""));
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {target}");
    }
    assert!(world.admits(&tokens.access), "nothing of it has ended anything");
    assert_eq!(world.happened("operator_cut") + world.happened("operator_blocked"), 0);
}

#[test]
fn t287_the_admin_listener_speaks_tls_where_it_is_given_a_certificate() {
    let world = with(|config| {
        config["adminTls"] = json!({ "certFile": tls::file("server.pem"), "keyFile": tls::file("server-key.pem") });
    });
    let secured = || {
        let config = tls::client(rustls::ALL_VERSIONS, &["http/1.1"]);
        super::harness::Connection::to(world.gate.admin()).secured(&config, "localhost")
    };
    assert_eq!(secured().last(&Request::get("/livez")).status, 200);
    assert_eq!(secured().last(&Request::get("/sessions?subject=ada").bearer(TOKEN)).status, 200);
}

/// The lines of the documentation, each block as it stands.
#[test]
fn the_lines_of_the_operations_manual_do_what_it_says() {
    let manual = include_str!("../../docs/operations.md");
    let blocks: Vec<&str> = manual.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 7, "{}", blocks.len());
    for block in blocks {
        let world = with(|config| as_provider(config, "dex", &json!({})));
        let client = world.public_client("A client");
        let tokens = session(&world, &client, |ask| ask);
        let listed = id(&sessions(&world, "ada")[0]);
        for line in block.lines() {
            let ran = Command::new("sh")
                .args(["-ec", line])
                .env("ADMIN", format!("http://{}", world.gate.admin()))
                .env("AUTH", format!("Authorization: Bearer {TOKEN}"))
                .env("SESSION", &listed)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(ran.status.success(), "{line}: {said}{}", String::from_utf8_lossy(&ran.stderr));
            let expected = match line {
                line if line.contains("lift") => r#"{"outcome":"lifted"}"#,
                line if line.contains("keep_out") => r#"{"outcome":"blocked"}"#,
                line if line.contains("/cuts") => r#"{"outcome":"cut"}"#,
                line if line.contains("erase") => r#"{"outcome":"erased"}"#,
                line if line.contains("DELETE") => r#"{"outcome":"revoked"}"#,
                line if line.contains("/refresh") => r#"{"outcome":"fresh""#,
                _ => r#""state":"lives""#,
            };
            assert!(said.contains(expected), "{line}: {said}");
        }
        let ends = ["\"subject\":\"ada\"", "DELETE"].iter().any(|word| block.contains(word));
        assert_eq!(world.admits(&tokens.access), !ends, "{block}");
    }
}
