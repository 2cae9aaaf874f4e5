//! Who may enter, and what each kind of provider is asked for (T197, T203, M12, M13).

use super::harness::{Ask, Pkce, Provider, Response, Returned, Script, Tokens, World};
use super::two::{login, session_of};
use serde_json::{Value, json};

/// Moves the provider's block to that of another kind, with this in it beside.
pub fn as_provider(config: &mut Value, kind: &str, more: &Value) {
    let mut block = config["oidc"].take();
    for (name, value) in more.as_object().unwrap() {
        block[name] = value.clone();
    }
    let config = config.as_object_mut().unwrap();
    config.remove("oidc");
    config.insert("provider".to_owned(), json!(kind));
    config.insert(kind.to_owned(), block);
}

fn dex(more: &Value) -> World {
    World::with(|config| as_provider(config, "dex", more))
}

/// What the provider is asked for at a login.
fn asked(world: &World) -> super::harness::Authorization {
    let client = world.public_client("A client");
    let mut browser = world.browser();
    let consent = browser.consent_page(&Ask::of(&client, &Pkce::new()));
    browser.approve(&consent)
}

/// The person is told so on a page, from which the application is told too.
#[track_caller]
fn assert_kept_out(answer: &Response, what: &Value) {
    assert_eq!((answer.status, answer.header("location")), (200, None), "{what}: {}", answer.text());
    let text = answer.text();
    assert!(text.contains("This account may not use this service."), "{what}: {text}");
    assert!(text.contains("<meta http-equiv=\"refresh\" content=\"8;url=http://127.0.0.1"), "{what}: {text}");
    assert!(text.contains("error=access_denied") && !text.contains("code="), "{what}: {text}");
}

#[test]
fn t197_who_is_in_no_list_is_told_so_and_the_client_hears_access_denied() {
    let world = World::with(|config| {
        config["allowedPeople"] = json!({
            "emailDomains": ["allowed.example"], "emails": ["bob@other.example"], "groups": ["staff"], "subjects": ["s-7"],
        });
    });
    let client = world.public_client("A client");
    for claims in [
        json!({ "email": "ada@allowed.example" }),
        json!({ "email": "Bob@Other.example" }),
        json!({ "groups": ["guests", "staff"] }),
        json!({ "sub": "s-7", "email": null }),
    ] {
        session_of(&world, &client, |ask| ask, Script::claims(claims));
    }
    for claims in [
        json!({}),
        json!({ "email": "ada@allowed.example", "email_verified": false }),
        json!({ "email": "ada@allowed.example", "email_verified": null }),
        json!({ "email": "ada@allowed.example", "email_verified": "true" }),
        json!({ "email": "ada@allowed.example.evil" }),
        json!({ "email": "ada@sub.allowed.example" }),
        json!({ "email": "ada@evil.example@allowed.example" }),
        json!({ "email": ["ada@allowed.example"] }),
        json!({ "groups": "staff" }),
        json!({ "groups": ["staff", 1] }),
        json!({ "groups": { "staff": true } }),
        json!({ "groups": [["staff"]] }),
        json!({ "groups": [] }),
        json!({ "roles": ["staff"], "groups": null }),
        json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": { "endpoint": "https://id.example" } } }),
        json!({ "sub": "s-70" }),
    ] {
        assert_kept_out(&login(&world, &client, Script::claims(claims.clone())), &claims);
    }
}

#[test]
fn t197_the_hosted_domain_is_what_google_signs_and_not_what_it_is_asked_for() {
    let world = World::with(|config| as_provider(config, "google", &json!({ "hostedDomain": "allowed.example" })));
    let authorization = asked(&world);
    assert_eq!(authorization.param("hd"), "allowed.example");
    let client = world.public_client("A client");
    session_of(&world, &client, |ask| ask, Script::claims(json!({ "hd": "allowed.example" })));
    for claims in [
        json!({}),
        json!({ "hd": "evil.example" }),
        json!({ "hd": ["allowed.example"] }),
        json!({ "email": "ada@allowed.example" }),
        json!({ "hd": "allowed.example.evil" }),
    ] {
        assert_kept_out(&login(&world, &client, Script::claims(claims.clone())), &claims);
    }
}

/// What is stored is found by a digest: neither the subject's length nor the groups' is that of a key.
#[test]
fn seed_bug_20_a_subject_of_any_length_that_is_allowed_logs_in_and_stays_in() {
    let world = dex(&json!({}));
    let client = world.public_client("A client");
    let long = "C".repeat(255);
    let script = Script {
        claims: json!({ "sub": long, "groups": vec!["g".repeat(100); 10] }),
        members: json!({ "expires_in": 200 }),
        ..Script::default()
    };
    let tokens = session_of(&world, &client, |ask| ask, script);
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    assert_eq!(world.upstream.seen().pop().unwrap().header("X-Forwarded-User"), Some(long.as_str()));
    let again = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&again.access));
    let longer = Script::claims(json!({ "sub": "C".repeat(256) }));
    assert_eq!(Returned::of(&login(&world, &client, longer)).param("code"), None);
}

#[test]
fn seed_bug_61_a_great_many_groups_keep_nobody_out_and_the_first_600_count() {
    let many = |first: &str| {
        let names = (0..700).map(|number| if number == 0 { first.into() } else { format!("g{number}") });
        let names: Vec<String> = names.collect();
        json!({ "groups": names })
    };
    let world = World::with(|config| config["allowedPeople"] = json!({ "groups": ["staff"] }));
    let client = world.public_client("A client");
    let tokens = session_of(&world, &client, |ask| ask, Script::claims(many("staff")));
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    let seen = world.upstream.seen().pop().unwrap();
    let groups = seen.header("X-Forwarded-Groups").unwrap();
    assert!(groups.starts_with("staff,g1,") && groups.split(',').count() == 600, "{groups}");
}

#[test]
fn m12_dex_is_asked_for_its_connector_groups_audiences_and_offline_access() {
    let world = dex(&json!({ "connectorId": "ldap", "crossClientAudiences": ["kubernetes"] }));
    let authorization = asked(&world);
    assert_eq!(authorization.param("connector_id"), "ldap");
    assert_eq!(
        authorization.param("scope"),
        "openid profile email groups offline_access audience:server:client_id:kubernetes"
    );
    // The ID token is then good for several, and says who asked for it.
    let client = world.public_client("A client");
    let several =
        json!({ "aud": ["kubernetes", super::harness::PROVIDER_CLIENT], "azp": super::harness::PROVIDER_CLIENT });
    session_of(&world, &client, |ask| ask, Script::claims(several));
}

#[test]
fn seed_bug_03_m13_google_is_asked_for_offline_access_by_parameter_and_never_by_scope() {
    let scopes = json!({ "scopes": ["openid", "email", "offline_access"] });
    let world = World::with(|config| as_provider(config, "google", &scopes));
    let authorization = asked(&world);
    assert_eq!(authorization.param("scope"), "openid email");
    assert_eq!((authorization.param("access_type"), authorization.param("prompt")), ("offline", "consent"));
}

/// What a client asks of the gate and what the gate asks of the provider are two things.
#[test]
fn seed_bug_04_seed_bug_05_seed_bug_45_t203_nothing_of_the_clients_request_reaches_the_provider() {
    let world = dex(&json!({}));
    let client = world.public_client("A client");
    let pkce = Pkce::new();
    let ask = Ask::of(&client, &pkce)
        .set("scope", "mcp claudeai")
        .again("connector_id", "evil")
        .again("access_type", "online")
        .again("hd", "evil.example");
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask);
    let authorization = browser.approve(&consent);
    assert_eq!(authorization.param("scope"), "openid profile email groups offline_access");
    assert_ne!(authorization.param("code_challenge"), pkce.challenge, "the gate has a verifier of its own");
    let names: Vec<&str> = authorization.params.iter().map(|(name, _)| name.as_str()).collect();
    let ours = ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge"];
    assert_eq!(names, [&ours[..], &["code_challenge_method"]].concat());
}

#[test]
fn m13_a_provider_that_lists_its_scopes_is_asked_for_none_that_it_does_not_know() {
    for (kind, listed, scope) in [
        ("keycloak", json!(["openid", "profile", "email", "offline_access"]), "openid profile email"),
        ("okta", json!(["openid", "profile", "email", "groups"]), "openid profile email groups"),
        ("entra", json!(["openid", "profile", "email", "offline_access"]), "openid profile email offline_access"),
        ("auth0", json!(["openid", "email"]), "openid email"),
    ] {
        let (provider, upstream) = (Provider::start(), super::harness::Upstream::start());
        provider.document(|document| document["scopes_supported"] = listed.clone());
        let mut config = super::harness::configuration(&provider, &upstream);
        config["provider"] = json!(kind);
        let gate = super::harness::Gate::start(&config);
        gate.until_ready();
        let world = World::around(gate, provider, upstream);
        assert_eq!(asked(&world).param("scope"), scope, "{kind}");
    }
}
