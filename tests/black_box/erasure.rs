//! A person is erased, and with them what the provider has given for them (RFC 7009).

use super::harness::http::fields;
use super::harness::{Client, Gate, Provider, Script, Tokens, Upstream, World, configuration, eventually};
use super::operator::{TOKEN, done};
use super::people::as_provider;
use super::two::session_of;
use serde_json::json;

/// A gate before a provider like Dex, whose document was changed before.
fn before(change: impl FnOnce(&Provider)) -> (World, Client) {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    change(&provider);
    let mut config = configuration(&provider, &upstream);
    as_provider(&mut config, "dex", &json!({}));
    config["adminToken"] = TOKEN.into();
    let gate = Gate::start(&config);
    gate.until_ready();
    let world = World::around(gate, provider, upstream);
    let client = world.public_client("A client");
    (world, client)
}

fn of(world: &World, client: &Client, subject: &str) -> Tokens {
    let script = Script { members: json!({ "expires_in": 200 }), ..Script::person(subject) };
    session_of(world, client, |ask| ask, script)
}

fn erase(world: &World, subject: &str) {
    assert_eq!(done(world, "/people/erase", json!({ "subject": subject })), "erased");
}

/// The tokens that the provider was asked to revoke, in order.
fn asked(world: &World) -> Vec<String> {
    let tokens = world.provider.seen("/revoke").into_iter().map(|seen| {
        assert_eq!(seen.method(), "POST");
        assert!(seen.header("authorization").unwrap().starts_with("Basic "));
        let form = fields(std::str::from_utf8(&seen.body).unwrap());
        let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names.as_slice(), form[1].1.as_str()), (&["token", "token_type_hint"][..], "refresh_token"));
        form[0].1.clone()
    });
    tokens.collect()
}

/// What the journal says of it: how often all was revoked, and how often not.
fn noted(world: &World) -> (u64, u64) {
    (world.happened("provider_tokens_revoked"), world.happened("provider_tokens_not_revoked"))
}

#[test]
fn the_provider_s_tokens_of_a_person_are_revoked_with_the_person_and_no_others() {
    let (world, client) = before(|provider| provider.revokes(&[200]));
    let ada = [of(&world, &client, "ada"), of(&world, &client, "ada")];
    let bob = of(&world, &client, "bob");
    // What ends otherwise keeps the provider's token: a login after it may bring none.
    assert_eq!(world.revoke(&client, &ada[0].refresh).status, 200);
    done(&world, "/cuts", json!({ "subject": "ada" }));
    assert_eq!((asked(&world).len(), world.provider.refreshable()), (0, 3));
    erase(&world, "ada");
    // The token of the latest login and the one that it might have been in the place of.
    eventually("both are revoked", || noted(&world) == (1, 0));
    let tokens = asked(&world);
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{}", tokens.len());
    assert_eq!(world.provider.refreshable(), 1, "that of somebody else is good");
    assert!(world.admits(&bob.access));
    erase(&world, "ada");
    erase(&world, "nobody");
    assert_eq!((asked(&world).len(), noted(&world)), (2, (1, 0)), "there is nothing left");
}

#[test]
fn an_erasure_waits_for_no_provider_and_fails_for_none() {
    let (world, client) = before(|provider| provider.revokes(&[503, 429, 200]));
    let tokens = of(&world, &client, "ada");
    erase(&world, "ada");
    assert!(!world.admits(&tokens.access), "it has come about before the provider has said anything");
    eventually("it is tried again", || noted(&world) == (1, 0));
    let tokens = asked(&world);
    assert_eq!(tokens.len(), 3);
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(world.provider.refreshable(), 0);
}

#[test]
fn what_the_provider_cannot_or_will_not_revoke_is_said() {
    for (refuses, calls) in [(true, 1), (false, 0)] {
        let (world, client) = before(|provider| {
            if refuses {
                provider.revokes(&[400])
            }
        });
        of(&world, &client, "ada");
        erase(&world, "ada");
        eventually("it is said", || noted(&world) == (0, 1));
        assert_eq!((asked(&world).len(), world.provider.refreshable()), (calls, 1));
    }
}

#[test]
fn what_the_provider_gives_while_the_person_is_erased_is_revoked_too() {
    let (world, client) = before(|provider| provider.revokes(&[200]));
    let tokens = of(&world, &client, "ada");
    world.provider.refreshes(|script| script.delay = std::time::Duration::from_millis(500));
    std::thread::scope(|scope| {
        let refresh = scope.spawn(|| world.refresh(&client, &tokens.refresh).status);
        eventually("the provider is being asked", || super::upstream_tokens::asked(&world) == 1);
        erase(&world, "ada");
        assert_eq!(refresh.join().unwrap(), 400);
    });
    eventually("both are revoked", || noted(&world) == (2, 0));
    assert_eq!((asked(&world).len(), world.provider.refreshable()), (2, 0));
}
