//! A gate in front of two MCP servers, and the few steps that the tests of its back half share.

use crate::harness::{Ask, BASE, Client, Pkce, Response, Returned, Script, Tokens, Upstream, World, configuration};
use crate::harness::{Gate, Provider};
use serde_json::{Value, json};

/// The path and the scope of the second resource.
pub const OTHER: &str = "/other";

/// A gate with two resources: that of every gate here, and a second one with a server of its own.
pub struct Two {
    pub world: World,
    pub other: Upstream,
}

impl Two {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// With a configuration that is changed first.
    pub fn with(change: impl FnOnce(&mut Value)) -> Self {
        let other = Upstream::start();
        let world = World::with(|config| {
            let second = json!({ "path": OTHER, "upstream": format!("{}/behind", other.url()), "scopes": ["other"] });
            config["resources"].as_array_mut().unwrap().push(second);
            change(config);
        });
        Self { world, other }
    }

    /// A session at the second resource.
    pub fn other_tokens(&self, client: &Client) -> Tokens {
        let of_other = |ask: Ask| ask.set("resource", &format!("{BASE}{OTHER}")).set("scope", "other");
        session(&self.world, client, of_other)
    }
}

/// A session of a login whose request is changed first.
#[track_caller]
pub fn session(world: &World, client: &Client, change: impl FnOnce(Ask) -> Ask) -> Tokens {
    session_of(world, client, change, Script::default())
}

/// The same, of this person.
#[track_caller]
pub fn session_of(world: &World, client: &Client, change: impl FnOnce(Ask) -> Ask, script: Script) -> Tokens {
    let pkce = Pkce::new();
    let code = world.code_for(&change(Ask::of(client, &pkce)), script);
    Tokens::of(&world.exchange(client, &code, &pkce))
}

/// What an authorization request leads back to that is refused by redirect.
#[track_caller]
pub fn refused(world: &World, ask: &Ask) -> Returned {
    Returned::of(&world.browser().authorize(ask))
}

/// What a login leads to in which the provider does what the script says.
pub fn login(world: &World, client: &Client, script: Script) -> Response {
    world.browser().login(&Ask::of(client, &Pkce::new()), script)
}

/// A world whose provider has not been reached when the gate starts: its document is another's.
pub fn without_provider() -> World {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    provider.document(|document| document["issuer"] = "https://elsewhere.example".into());
    let gate = Gate::start(&configuration(&provider, &upstream));
    World::around(gate, provider, upstream)
}

/// A world with a session of [`super::harness::SCOPE`].
pub fn with_session() -> (World, Tokens) {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    (world, tokens)
}
