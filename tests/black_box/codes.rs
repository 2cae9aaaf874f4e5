//! Codes and PKCE: what a code is good for, for whom, and how often (security group C, promise P2).
//!
//! Not here: the end of a code after 60 seconds and of the memory of redeemed codes (T050's half minute), which the engine's own
//! tests judge with a clock of theirs; T057, because DPoP is not offered yet (`token_endpoint` shows that it is passed over);
//! T059, which is in `causes`.

use crate::harness::browser::exchange_request;
use crate::harness::http::Request;
use crate::harness::{Ask, Client, Pkce, REDIRECT, Returned, Script, Tokens, World};
use std::collections::BTreeSet;
use std::time::Duration;

/// The request goes back to the client with this error, and no login begins.
#[track_caller]
fn goes_back(world: &World, ask: &Ask, error: &str) {
    let response = world.browser().authorize(ask);
    let returned = Returned::of(&response);
    assert_eq!((returned.to.as_str(), returned.error()), (REDIRECT, error));
    assert_eq!((returned.param("state"), returned.param("code")), (Some("state-1"), None));
    assert!(response.all("set-cookie").is_empty(), "a login began: {response:?}");
}

#[test]
fn as_19_t042_t046_without_a_challenge_no_login_begins() {
    let world = World::start();
    let client = world.public_client("A client");
    let good = Ask::of(&client, &Pkce::new());
    goes_back(&world, &good.clone().without("code_challenge"), "invalid_request");
    goes_back(&world, &good.clone().set("code_challenge", ""), "invalid_request");
    goes_back(&world, &good.without("code_challenge").without("code_challenge_method"), "invalid_request");
}

#[test]
fn t043_only_s256_is_a_method_and_none_is_not_s256() {
    let world = World::start();
    let client = world.public_client("A client");
    let good = Ask::of(&client, &Pkce::new());
    for method in ["plain", "s256", "S512", "S256 ", " S256", "none", ""] {
        goes_back(&world, &good.clone().set("code_challenge_method", method), "invalid_request");
    }
    goes_back(&world, &good.without("code_challenge_method"), "invalid_request");
}

#[test]
fn t043_a_challenge_is_the_base64url_form_of_a_digest() {
    let world = World::start();
    let client = world.public_client("A client");
    let (pkce, good) = (Pkce::new(), Pkce::new().challenge);
    let cut = &good[..42];
    for challenge in
        [cut, &format!("{good}="), &format!("{good}A"), &format!("{cut}+"), &format!("{cut} "), &pkce.verifier]
    {
        goes_back(&world, &Ask::of(&client, &pkce).set("code_challenge", challenge), "invalid_request");
    }
}

#[test]
fn t045_a_code_needs_its_verifier_and_survives_every_wrong_one() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let code = world.code(&client, &pkce);
    let with = |verifier: &str| {
        let pkce = Pkce { verifier: verifier.to_owned(), ..pkce.clone() };
        world.exchange(&client, &code, &pkce)
    };
    let missing = client.form("/oauth/token", &[("grant_type", "authorization_code"), ("code", &code)]);
    world.send(&missing).refuses(400, "invalid_request");
    with("").refuses(400, "invalid_request");
    let verifier = &pkce.verifier;
    for wrong in [
        &Pkce::new().verifier,
        &pkce.challenge,
        &verifier[..42],
        &verifier.to_uppercase(),
        &format!("{verifier} "),
        &format!("{verifier}="),
        &format!("{verifier}\n"),
        &"a".repeat(42),
        &"a".repeat(43),
        &"a".repeat(128),
        &"a".repeat(129),
        &"a".repeat(60_000),
        &format!("{}é", "a".repeat(50)),
    ] {
        with(wrong).refuses(400, "invalid_grant");
    }
    let tokens = Tokens::of(&world.exchange(&client, &code, &pkce));
    assert!(world.admits(&tokens.access));
}

#[test]
fn t046_a_verifier_alone_makes_no_challenge() {
    // A stripped challenge leads to no code, so all that is left is a code of somebody else's challenge.
    let world = World::start();
    let (client, own, other) = (world.public_client("A client"), Pkce::new(), Pkce::new());
    let code = world.code(&client, &other);
    world.exchange(&client, &code, &own).refuses(400, "invalid_grant");
}

#[test]
fn t047_a_poor_verifier_is_the_clients_own_affair() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::of(&"A".repeat(43)));
    Tokens::of(&world.exchange(&client, &world.code(&client, &pkce), &pkce));
}

#[test]
fn t049_a_redeemed_code_with_anything_wrong_ends_nothing() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let (other, confidential) = (world.public_client("Another"), world.confidential_client("A third"));
    let code = world.code(&client, &pkce);
    let tokens = Tokens::of(&world.exchange(&client, &code, &pkce));
    world.exchange(&client, &code, &Pkce::new()).refuses(400, "invalid_grant");
    world.exchange(&other, &code, &pkce).refuses(400, "invalid_grant");
    world.exchange(&confidential, &code, &pkce).refuses(400, "invalid_grant");
    let elsewhere = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "http://127.0.0.1:33418/other"),
        ("code_verifier", &pkce.verifier),
    ];
    world.send(&client.form("/oauth/token", &elsewhere)).refuses(400, "invalid_grant");
    assert!(world.admits(&tokens.access), "a stranger ended the session");
    Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert_eq!(world.happened("authorization_code_reuse_detected"), 0);
}

#[test]
fn p02_t050_a_code_is_good_once_and_its_replay_ends_the_session() {
    for pause in [Duration::ZERO, Duration::from_millis(1_100)] {
        let world = World::start();
        let (client, pkce) = (world.public_client("A client"), Pkce::new());
        let code = world.code(&client, &pkce);
        let tokens = Tokens::of(&world.exchange(&client, &code, &pkce));
        std::thread::sleep(pause);
        world.exchange(&client, &code, &pkce).refuses(400, "invalid_grant");
        assert!(!world.admits(&tokens.access));
        world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
        world.exchange(&client, &code, &pkce).refuses(400, "invalid_grant");
        assert_eq!(world.happened("authorization_code_reuse_detected"), 1);
    }
}

#[test]
fn t051_r47_a_code_of_another_client() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let (public, confidential) = (world.public_client("Another"), world.confidential_client("A third"));
    let code = world.code(&client, &pkce);
    world.exchange(&public, &code, &pkce).refuses(400, "invalid_grant");
    world.exchange(&confidential, &code, &pkce).refuses(400, "invalid_grant");
    let nobody = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", &pkce.verifier)];
    world.send(&Request::form("/oauth/token", &nobody)).refuses(400, "invalid_request");
    // Whoever names the owner of a public client's code is the owner, as far as anybody can tell.
    Tokens::of(&world.exchange(&client, &code, &pkce));
}

#[test]
fn t051_a_code_of_a_confidential_client_needs_its_secret() {
    let world = World::start();
    let (client, pkce) = (world.confidential_client("A client"), Pkce::new());
    let other = world.confidential_client("Another");
    let code = world.code(&client, &pkce);
    world.exchange(&Client::public(&client.id), &code, &pkce).refuses(401, "invalid_client");
    let borrowed = Client::confidential(&client.id, other.secret.as_deref().unwrap());
    world.exchange(&borrowed, &code, &pkce).refuses(401, "invalid_client");
    world.exchange(&other, &code, &pkce).refuses(400, "invalid_grant");
    Tokens::of(&world.exchange(&client, &code, &pkce));
}

#[test]
fn t039_t051_a_code_goes_with_the_redirect_that_it_was_sent_to() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let code = world.code(&client, &pkce);
    for redirect in
        ["http://127.0.0.1:33418/other", "http://127.0.0.1:33419/callback", "http://localhost:33418/callback"]
    {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", redirect),
            ("code_verifier", &pkce.verifier),
        ];
        world.send(&client.form("/oauth/token", &fields)).refuses(400, "invalid_grant");
    }
    // OAuth 2.1 does not ask for it any more.
    let without = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", &pkce.verifier)];
    Tokens::of(&world.send(&client.form("/oauth/token", &without)));
}

#[test]
fn t053_codes_have_nothing_in_common_but_the_person() {
    const COUNT: usize = 40;
    let world = World::start();
    let client = world.public_client("A client");
    let codes: Vec<String> = (0..COUNT)
        .map(|number| {
            let ask = Ask::of(&client, &Pkce::new());
            world.code_for(&ask, Script::person(&format!("person-{}", number % 2)))
        })
        .collect();
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), COUNT);
    let length = codes[0].len();
    // 16 bytes name the login and 32 are a MAC: 64 characters at the end, of which two codes share no more than by chance.
    for (place, one) in codes.iter().enumerate() {
        assert_eq!(one.len(), length);
        for other in &codes[..place] {
            let pairs = one.bytes().rev().take(60).zip(other.bytes().rev());
            assert!(pairs.filter(|(one, other)| one == other).count() < 20, "{one} and {other}");
        }
    }
}

#[test]
fn t054_r31_nothing_else_is_a_code_and_a_code_is_nothing_else() {
    let world = World::start();
    let (client, pkce) = (world.confidential_client("A client"), Pkce::new());
    let mut browser = world.browser();
    let consent = browser.consent_page(&Ask::of(&client, &pkce));
    let authorization = browser.approve(&consent);
    let state = authorization.param("state").to_owned();
    let login = browser.cookies.values().cloned().collect::<Vec<_>>();
    let provider_code = world.provider.issue(&authorization, Script::default());
    let returned = Returned::of(&browser.callback(&[("code", &provider_code), ("state", &state)]));
    let code = returned.code();
    assert_eq!(world.call("/mcp", code).status, 401);
    world.refresh(&client, code).refuses(400, "invalid_grant");
    assert_eq!(world.revoke(&client, code).status, 200);
    let tokens = Tokens::of(&world.exchange(&client, code, &pkce));

    let registration = client.registration["registration_access_token"].as_str().unwrap();
    let others = [&tokens.access, &tokens.refresh, &state, &consent.flow, &consent.csrf, &provider_code, &client.id];
    let others = others.into_iter().map(String::as_str).chain(login.iter().map(String::as_str)).chain([registration]);
    for other in others {
        world.exchange(&client, other, &pkce).refuses(400, "invalid_grant");
        if other != tokens.refresh {
            world.refresh(&client, other).refuses(400, "invalid_grant");
        }
        if other != tokens.access {
            assert_eq!(world.call("/mcp", other).status, 401, "{other}");
        }
        if other != registration {
            let path = client.registration["registration_client_uri"].as_str().unwrap();
            let path = path.strip_prefix(crate::harness::BASE).unwrap();
            assert_eq!(world.send(&Request::get(path).bearer(other)).status, 401, "{other}");
        }
    }
    assert!(world.admits(&tokens.access), "a wrong use ended the session");
}

#[test]
fn t055_a_code_may_hold_anything_and_is_only_wrong() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let good = world.code(&client, &pkce);
    let shapes = ["*", "?", "[a-z]", "{", "}", "a:b", "\r\nDEL x\r\n", "\u{2028}", "é", " ", "../..", "%00", "$(x)"];
    for shape in shapes {
        world.exchange(&client, shape, &pkce).refuses(400, "invalid_grant");
        world.exchange(&client, &format!("{good}{shape}"), &pkce).refuses(400, "invalid_grant");
        world.exchange(&client, &format!("{shape}{good}"), &pkce).refuses(400, "invalid_grant");
    }
    // No form holds NUL.
    world.exchange(&client, &format!("{good}\0"), &pkce).refuses(400, "invalid_request");
    world.exchange(&client, &"A".repeat(60_000), &pkce).refuses(400, "invalid_grant");
    world.exchange(&client, "", &pkce).refuses(400, "invalid_request");
    let huge = world.exchange(&client, &"A".repeat(1 << 20), &pkce);
    assert_eq!(huge.status, 413);
    Tokens::of(&world.exchange(&client, &good, &pkce));
}

#[test]
fn t055_a_code_with_any_character_changed_is_no_code() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let good = world.code(&client, &pkce);
    let mut connection = world.connect();
    for place in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        connection.exchange(&exchange_request(&client, &changed, &pkce)).refuses(400, "invalid_grant");
    }
    Tokens::of(&world.exchange(&client, &good, &pkce));
}

#[test]
fn t058_the_answer_with_the_code_is_kept_nowhere() {
    let world = World::start();
    let client = world.public_client("A client");
    let response = world.browser().login(&Ask::of(&client, &Pkce::new()), Script::default());
    Returned::of(&response).code();
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    assert!(response.body.is_empty(), "a body may be kept: {}", response.text());
}
