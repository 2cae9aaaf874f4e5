//! A provider of many tenants, such as Entra ID, over the whole gate: one document, one key set, an issuer for each tenant (M13).

use super::harness::http::once;
use super::harness::provider::{SEED, jwk, lay_over, now, sign};
use super::harness::{Client, Gate, PROVIDER_CLIENT, Provider, Request, Returned, Script, Tokens, Upstream, World};
use super::harness::{configuration, eventually};
use super::strangers::id_token;
use super::two::{login, session_of};
use super::upstream_tokens::asked;
use serde_json::{Value, json};

const OURS: &str = "aaaaaaaa-2222-3333-4444-555555555555";
const THEIRS: &str = "66666666-2222-3333-4444-555555555555";
const OTHERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const OTHER_SEED: [u8; 32] = *b"the key of one tenant by itself!";
const OPERATOR: &str = "the-token-of-the-operator-of-this-gate";

fn issuer(provider: &Provider, tenant: &str) -> String {
    format!("{}/{tenant}/v2.0", provider.issuer())
}

/// A gate that lets in two tenants; a third one has a key of its own beside the common one.
fn world(change: impl FnOnce(&mut Value)) -> World {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let template = issuer(&provider, "{tenantid}");
    provider.document(|document| document["issuer"] = json!(template));
    provider.keys(|keys| {
        keys["keys"][0]["issuer"] = json!(template);
        for (kid, own) in [("of-others", json!(issuer(&provider, OTHERS))), ("of-nobody", Value::Null)] {
            let mut key = jwk(&OTHER_SEED, kid);
            lay_over(&mut key, &json!({ "issuer": own }));
            keys["keys"].as_array_mut().unwrap().push(key);
        }
    });
    let mut config = configuration(&provider, &upstream);
    config["provider"] = json!("entra");
    config["oidc"]["issuerUrl"] = json!(issuer(&provider, "organizations"));
    config["oidc"]["tenants"] = json!([OURS, THEIRS]);
    change(&mut config);
    let gate = Gate::start(&config);
    gate.until_ready();
    World::around(gate, provider, upstream)
}

/// What a token of this tenant says of itself.
fn said(world: &World, tenant: &str) -> Value {
    json!({ "iss": issuer(&world.provider, tenant), "tid": tenant })
}

fn of(world: &World, client: &Client, tenant: &str, more: &Value) -> Tokens {
    let mut claims = said(world, tenant);
    lay_over(&mut claims, more);
    session_of(world, client, |ask| ask, Script::claims(claims))
}

#[test]
fn m13_people_of_the_tenants_that_are_named_log_in_each_as_their_own() {
    let world = world(|_| {});
    let client = world.public_client("A client");
    let mine = of(&world, &client, OURS, &json!({}));
    let theirs = of(&world, &client, THEIRS, &json!({}));
    // The same subject of another tenant is another person: the end of the one is none of the other.
    let over = json!({ "sub": "ada", "iss": issuer(&world.provider, OURS), "tid": OURS });
    assert_eq!(logout(&world, &over), 200);
    assert!(!world.admits(&mine.access) && world.admits(&theirs.access));
}

#[test]
fn t189_t193_whoever_is_not_of_a_tenant_that_is_named_does_not_get_in() {
    let world = world(|_| {});
    let client = world.public_client("A client");
    let (ours, others) = (issuer(&world.provider, OURS), issuer(&world.provider, OTHERS));
    let template = issuer(&world.provider, "{tenantid}");
    let organizations = issuer(&world.provider, "organizations");
    for claims in [
        json!({ "iss": ours }),
        json!({ "iss": ours, "tid": OTHERS }),
        json!({ "iss": others, "tid": OURS }),
        json!({ "iss": others, "tid": OTHERS }),
        json!({ "iss": ours, "tid": [OURS] }),
        json!({ "iss": ours, "tid": OURS.to_uppercase() }),
        json!({ "iss": format!("{ours}/"), "tid": OURS }),
        json!({ "iss": ours, "tid": format!("{OURS}/") }),
        json!({ "iss": template, "tid": "{tenantid}" }),
        json!({ "iss": organizations, "tid": "organizations" }),
        json!({ "iss": world.provider.issuer(), "tid": OURS }),
        json!({ "tid": OURS }),
    ] {
        let returned = Returned::of(&login(&world, &client, Script::claims(claims.clone())));
        assert_eq!((returned.error(), returned.param("code")), ("server_error", None), "{claims}");
    }
    // A key of one tenant, and one that does not say whose it is, sign for nobody else.
    for kid in ["of-others", "of-nobody"] {
        let script = Script { seed: OTHER_SEED, header: json!({ "kid": kid }), ..Script::claims(said(&world, OURS)) };
        assert_eq!(Returned::of(&login(&world, &client, script)).param("code"), None, "{kid}");
    }
    of(&world, &client, OURS, &json!({}));
}

#[test]
fn m13_any_tenant_is_let_in_only_where_that_is_said_and_only_by_its_own_keys() {
    let world = world(|config| {
        config["oidc"].as_object_mut().unwrap().remove("tenants");
        config["oidc"]["dangerAnyTenant"] = json!(true);
    });
    let client = world.public_client("A client");
    of(&world, &client, OURS, &json!({}));
    let by_own_key = |tenant: &str| Script {
        seed: OTHER_SEED,
        header: json!({ "kid": "of-others" }),
        ..Script::claims(said(&world, tenant))
    };
    session_of(&world, &client, |ask| ask, by_own_key(OTHERS));
    assert_eq!(Returned::of(&login(&world, &client, by_own_key(OURS))).param("code"), None);
    let nobody = Script::claims(said(&world, "x/../y"));
    assert_eq!(Returned::of(&login(&world, &client, nobody)).param("code"), None);
}

#[test]
fn t189_a_refresh_that_speaks_of_the_same_subject_of_another_tenant_is_not_taken_in() {
    let world = world(|config| config["oidc"]["bindToProvider"] = json!(true));
    let client = world.public_client("A client");
    let script = Script { members: json!({ "expires_in": 200 }), ..Script::claims(said(&world, OURS)) };
    let mut tokens = session_of(&world, &client, |ask| ask, script);
    let renewed = |tenant: &str, groups: Value| {
        let mut claims = said(&world, tenant);
        lay_over(&mut claims, &json!({ "groups": groups, "exp": now() + 3_600 }));
        world.provider.refreshes(|script| script.claims = claims);
    };
    let groups = |tokens: &Tokens| {
        assert_eq!(world.call("/mcp", &tokens.access).status, 200);
        world.upstream.seen().pop().unwrap().header("x-forwarded-groups").map(str::to_owned)
    };
    renewed(THEIRS, json!(["theirs"]));
    tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert_eq!((asked(&world), groups(&tokens)), (1, None));
    renewed(OURS, json!(["ours"]));
    tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert_eq!((asked(&world), groups(&tokens).as_deref()), (2, Some("ours")));
}

#[test]
fn t155_a_logout_is_of_the_tenant_that_it_names_and_its_key_signs_for() {
    let world = world(|_| {});
    let client = world.public_client("A client");
    let tokens = of(&world, &client, OURS, &json!({ "sid": "s-1" }));
    let ours = issuer(&world.provider, OURS);
    for over in [
        json!({ "sid": "s-1", "iss": ours }),
        json!({ "sid": "s-1", "iss": ours, "tid": THEIRS }),
        json!({ "sid": "s-1", "iss": issuer(&world.provider, OTHERS), "tid": OTHERS }),
        json!({ "sid": "s-1", "iss": world.provider.issuer(), "tid": OURS }),
    ] {
        assert_eq!(logout(&world, &over), 400, "{over}");
    }
    // Another tenant may say so of its own session of that name.
    assert_eq!(logout(&world, &json!({ "sid": "s-1", "iss": issuer(&world.provider, THEIRS), "tid": THEIRS })), 200);
    assert!(world.admits(&tokens.access));
    assert_eq!(logout(&world, &json!({ "sid": "s-1", "iss": ours, "tid": OURS })), 200);
    assert!(!world.admits(&tokens.access));
}

#[test]
fn m21_a_forwarded_id_token_is_of_a_tenant_that_is_named() {
    let world = world(|config| config["trustedAudiences"] = json!(["another"]));
    let call = |claims: &Value| world.call("/mcp", &id_token(&world, "another", claims)).status;
    assert_eq!(call(&said(&world, OURS)), 200);
    assert_eq!(call(&said(&world, OTHERS)), 401);
    assert_eq!(call(&json!({ "iss": issuer(&world.provider, OURS), "tid": THEIRS })), 401);
    assert_eq!(call(&json!({ "iss": issuer(&world.provider, OURS) })), 401);
}

#[test]
fn t191_an_iss_at_the_callback_is_one_of_a_tenant_that_is_named() {
    let world = world(|_| {});
    let client = world.public_client("A client");
    for (named, goes_on) in [(OURS, true), (OTHERS, false), ("{tenantid}", false), ("organizations", false)] {
        let mut browser = world.browser();
        let consent = browser.consent_page(&super::harness::Ask::of(&client, &super::harness::Pkce::new()));
        let authorization = browser.approve(&consent);
        let code = world.provider.issue(&authorization, Script::claims(said(&world, OURS)));
        let iss = issuer(&world.provider, named);
        let params = [("code", code.as_str()), ("state", authorization.param("state")), ("iss", &iss)];
        assert_eq!(browser.callback(&params).status != 400, goes_on, "{named}");
    }
}

#[test]
fn an_operator_names_the_issuer_of_a_person_where_there_are_many() {
    let world = world(|config| config["adminToken"] = json!(OPERATOR));
    let client = world.public_client("A client");
    let tokens = of(&world, &client, OURS, &json!({}));
    let cut = |body: Value| {
        let request = Request::json("/cuts", &body).bearer(OPERATOR);
        once(world.gate.admin(), &request).status
    };
    assert_eq!(cut(json!({ "subject": "ada" })), 400);
    assert!(world.admits(&tokens.access));
    assert_eq!(cut(json!({ "subject": "ada", "issuer": issuer(&world.provider, OURS) })), 200);
    eventually("the cut counts", || !world.admits(&tokens.access));
}

/// The status that a logout token with these claims is answered with.
fn logout(world: &World, over: &Value) -> u16 {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let mut claims = json!({
        "aud": PROVIDER_CLIENT, "iat": now(), "exp": now() + 120,
        "jti": format!("of-a-tenant-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst)),
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    lay_over(&mut claims, over);
    let token = sign(&SEED, r#"{"alg":"EdDSA","kid":"first","typ":"logout+jwt"}"#, &claims.to_string());
    world.send(&Request::form("/oauth/backchannel-logout", &[("logout_token", token.as_str())])).status
}
