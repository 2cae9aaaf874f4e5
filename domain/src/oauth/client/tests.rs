//! Who a client is, by every way in which it can be known, and how it proves it.

use super::*;
use crate::oauth::client_id::{Declared, sign};
use crate::oauth::policy::tests::{NOW, policy};
use crate::oauth::policy::{Clients, RegistrationPolicy};
use crate::seal::tests::master;
use crate::seal::{CurrentRing, KeyRing};

const CB: &str = "https://app.example/cb";

fn configured(id: &str, secret: Option<&str>, redirects: &[&str]) -> Configured {
    Configured {
        id: id.into(),
        name: "App".into(),
        redirects: redirects.iter().map(|uri| (*uri).to_owned()).collect(),
        secret: secret.map(|secret| SecretText::new(secret.into())),
        keys: None,
        without_page: false,
    }
}

fn with_clients() -> Policy {
    let mut policy = policy();
    policy.registration.open = true;
    let made = |it| Client::configured(it, &RedirectPolicy::default()).unwrap();
    policy.clients = Clients::from(vec![
        made(configured("secretive", Some("hush+%hush"), &[CB])),
        made(configured("public", None, &[CB, "myapp:/cb"])),
        made(configured("other", Some("other hush"), &["http://localhost/cb"])),
    ]);
    policy
}

fn registered(policy: &Policy, redirects: &[&str], method: AuthMethod, salt: Option<[u8; 16]>) -> String {
    let redirects = redirects.iter().map(|uri| (*uri).to_owned()).collect();
    let declared = Declared { name: Some("Self".into()), redirects, method, keys: None, refreshes: false };
    sign(&declared, salt.as_ref(), &policy.ring.now(), NOW).unwrap()
}

/// The client that a request speaks for, authenticated.
pub(crate) fn identify(policy: &Policy, presented: &Presented<'_>) -> Result<Client, Fault> {
    let id = presented.client_id()?.ok_or(Fault::Missing("client_id"))?;
    let client = lookup(policy, id)?;
    authenticate(&client, presented).map(|()| client)
}

fn basic(id: &str, secret: &str) -> Credentials {
    Credentials { id: id.into(), secret: SecretText::new(secret.into()) }
}

#[test]
fn i_4_one_lookup_finds_both_kinds_and_nothing_else() {
    let policy = with_clients();
    let client = lookup(&policy, "secretive").unwrap();
    assert_eq!(
        (client.known_by(), client.method(), client.refreshes()),
        (KnownBy::Operator, AuthMethod::ClientSecretBasic, true)
    );
    let id = registered(&policy, &[CB], AuthMethod::None, None);
    let client = lookup(&policy, &id).unwrap();
    assert_eq!(
        (client.known_by(), client.method(), client.refreshes()),
        (KnownBy::SelfDeclared, AuthMethod::None, false)
    );
    assert_eq!((client.id(), client.hash(), client.name()), (&*id, ClientHash::of(&id), Some("Self")));
    for unknown in
        ["", "Secretive", "secretive ", "dcr_", "https://app.example/client", &"x".repeat(1 << 16), "\0", "ä"]
    {
        assert_eq!(lookup(&policy, unknown).err(), Some(Fault::ClientUnknown), "{unknown:?}");
    }
    let elsewhere =
        Policy { ring: CurrentRing::of(KeyRing::new(&[master(50)], "https://gate.example", NOW).unwrap()), ..policy };
    assert_eq!(lookup(&elsewhere, &id).err(), Some(Fault::ClientUnknown));
}

#[test]
fn t030_what_was_registered_is_judged_by_today_s_policy() {
    let mut policy = policy();
    policy.registration.open = true;
    let loopback = registered(&policy, &[CB, "http://127.0.0.1/cb"], AuthMethod::None, None);
    let scheme = registered(&policy, &["myapp:/cb"], AuthMethod::None, None);
    let legacy = registered(&policy, &["javascript:alert(1)"], AuthMethod::None, None);
    assert!(lookup(&policy, &loopback).is_ok());
    assert_eq!(lookup(&policy, &scheme).err(), Some(Fault::ClientPolicy));
    policy.redirects =
        RedirectPolicy { loopback: false, schemes: vec!["myapp".into(), "javascript".into()], uris: vec![] };
    assert_eq!(lookup(&policy, &loopback).err(), Some(Fault::ClientPolicy));
    assert!(lookup(&policy, &scheme).is_ok());
    assert_eq!(lookup(&policy, &legacy).err(), Some(Fault::ClientPolicy));
}

#[test]
fn t101_closing_registration_closes_it_for_ids_that_were_handed_out_before() {
    let mut policy = policy();
    let stranger = registered(&policy, &[CB], AuthMethod::None, None);
    let known = registered(&policy, &["http://127.0.0.1/cb"], AuthMethod::None, None);
    for (open, token, at_known, is_known) in [
        (true, None, false, true),
        (false, Some("a token of the operator"), false, true),
        (false, None, true, true),
        (false, None, false, false),
    ] {
        let token = token.map(|token| SecretText::new(token.into()));
        policy.registration = RegistrationPolicy { open, token, known: at_known };
        assert_eq!(lookup(&policy, &known).is_ok(), is_known);
        assert_eq!(lookup(&policy, &stranger).is_ok(), is_known && !at_known);
    }
}

#[test]
fn t038_only_the_operator_s_client_with_one_redirect_may_leave_it_out() {
    let policy = with_clients();
    let redirect = |id: &str, presented: Option<&str>| lookup(&policy, id).unwrap().redirect(presented);
    let missing = Err(Fault::Missing("redirect_uri"));
    assert_eq!(redirect("secretive", None).map(|it| it.as_str().to_owned()), Ok(CB.into()));
    assert_eq!(redirect("public", None), missing, "several");
    assert_eq!(redirect("other", None), missing, "loopback without a port");
    assert_eq!(redirect(&registered(&policy, &[CB], AuthMethod::None, None), None), missing);
    assert_eq!(redirect("public", Some("myapp:/cb")).map(|it| it.kind()), Ok(Kind::App));
    assert_eq!(redirect("public", Some("myapp:/cb2")), Err(Fault::RedirectUnregistered));
    assert!(redirect("other", Some("http://localhost:9/cb")).is_ok());
}

#[test]
fn t065_t067_i_20_a_secret_by_either_way_and_only_the_right_one() {
    let policy = with_clients();
    let id = registered(&policy, &[CB], AuthMethod::ClientSecretPost, Some([3; 16]));
    let own = lookup(&policy, &id).unwrap().secret().unwrap().expose().to_owned();
    let public = registered(&policy, &[CB], AuthMethod::None, None);
    let long = "x".repeat(1 << 20);
    let wrong = Some(Fault::ClientAuthentication);
    for (id, secret, expected) in [
        ("secretive", "hush+%hush", None),
        (&*id, &*own, None),
        ("public", "", None),
        (&*public, "", None),
        ("secretive", "", wrong),
        ("secretive", "hush+%hush\n", wrong),
        ("secretive", "hush+%hus", wrong),
        ("secretive", "other hush", wrong),
        ("secretive", &*own, wrong),
        ("secretive", &*long, wrong),
        (&*id, "", wrong),
        (&*id, "hush+%hush", wrong),
        ("public", "hush+%hush", wrong),
        (&*public, &*own, wrong),
        ("unknown", "hush", Some(Fault::ClientUnknown)),
    ] {
        let credentials = basic(id, secret);
        let by_basic = Presented { basic: Some(&credentials), ..Presented::default() };
        let with_id = Presented { id: Some(id), ..by_basic.clone() };
        let by_post =
            Presented { id: Some(id), secret: Some(secret).filter(|it| !it.is_empty()), ..Presented::default() };
        for presented in [by_basic, with_id, by_post] {
            assert_eq!(identify(&policy, &presented).err(), expected, "{id} {presented:?}");
        }
    }
}

#[test]
fn t066_credentials_in_two_places_are_refused_even_if_they_agree() {
    let policy = with_clients();
    let credentials = basic("secretive", "hush+%hush");
    let twice = Some(Fault::ClientAuthenticationTwice);
    for (id, secret) in [(None, Some("hush+%hush")), (Some("secretive"), Some("hush+%hush")), (Some("public"), None)] {
        let presented = Presented { basic: Some(&credentials), id, secret, ..Presented::default() };
        assert_eq!(identify(&policy, &presented).err(), twice, "{presented:?}");
    }
    assert_eq!(identify(&policy, &Presented::default()).err(), Some(Fault::Missing("client_id")));
    let no_id = Presented { secret: Some("hush+%hush"), ..Presented::default() };
    assert_eq!(identify(&policy, &no_id).err(), Some(Fault::Missing("client_id")));
    let other = lookup(&policy, "public").unwrap();
    let presented = Presented { id: Some("secretive"), ..Presented::default() };
    assert_eq!(authenticate(&other, &presented), Err(Fault::ClientAuthentication));
}

#[test]
fn the_operator_s_mistakes_are_refused() {
    let refused = |it: Configured| Client::configured(it, &RedirectPolicy::default()).err();
    let trusted = |it: Configured| Configured { without_page: true, ..it };
    assert_eq!(refused(configured("a", Some("s"), &[CB])), None);
    assert_eq!(refused(trusted(configured("a", Some("s"), &[CB]))), None);
    for wrong in [
        configured("", None, &[CB]),
        configured("dcr_x", None, &[CB]),
        configured("a", Some(""), &[CB]),
        configured("a", Some("s"), &[]),
        configured("a", Some("s"), &["javascript:alert(1)"]),
        trusted(configured("a", None, &[CB])),
        trusted(configured("a", Some("s"), &[CB, "http://localhost/cb"])),
        trusted(configured("a", Some("s"), &["myapp:/cb"])),
    ] {
        let text = format!("{wrong:?}");
        assert!(refused(wrong).is_some(), "{text}");
    }
}

#[test]
fn p11_debug_prints_no_secret() {
    let policy = with_clients();
    let credentials = basic("a", "hush+%hush");
    let presented = Presented { basic: Some(&credentials), secret: Some("hush"), ..Presented::default() };
    let text = format!("{:?} {presented:?}", policy.clients);
    assert!(!text.contains("hush"), "{text}");
}
