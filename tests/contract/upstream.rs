//! The provider's tokens of a person, while the provider cannot be reached: what is there serves, and nothing is lost.

use crate::engine::fixture::{Party, policy, sealer};
use crate::engine::scheduler::Scheduler;
use crate::engine::stores::Bytes;
use crate::engine::world::{START, Surroundings};
use portcullis_domain::key::Key;
use portcullis_domain::limits::{REFRESH_GRACE, UPSTREAM_FRESH};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::upstream::{Brought, Wanted};
use portcullis_domain::oidc::profile::DEX;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request::Credentials;
use portcullis_domain::operation::{Epoch, Fact, Keys};
use portcullis_domain::record::Record;
use portcullis_domain::secret::SecretText;
use portcullis_ports::gateway::Gateway;
use portcullis_ports::{Clock, Store, World, transact};
use std::sync::Arc;
use std::time::Duration;

type World1 = Surroundings<Bytes>;

/// A gateway, and somebody whose tokens of the provider end in so long.
async fn after_a_login(world: &Arc<World1>, refresh: Option<&str>, ends: Duration) -> (Gateway<World1>, Party) {
    let policy = policy(REFRESH_GRACE);
    let party = Party::new(&policy, 1, 1, 1);
    let mut callback = party.callback(world.clock().now());
    callback.brought = Brought {
        refresh: refresh.map(|token| SecretText::new(token.to_owned())),
        id_token: Some((SecretText::new("id".to_owned()), START.plus(ends))),
        withheld: false,
        ends: Some(START.plus(ends)),
    };
    transact(world, callback).await.unwrap();
    let credentials = Credentials { client_id: "gate".to_owned(), client_secret: SecretText::new("s".to_owned()) };
    (Gateway::new(Arc::clone(world), policy, RelyingParty::new(credentials, DEX)), party)
}

async fn identity(world: &World1, party: &Party) -> Arc<Record> {
    let key = Key::Identity(party.person());
    match world.store().load(Keys::of([key])).await.unwrap().of(&key).unwrap() {
        Fact::Found(stored) => Arc::clone(&stored.record),
        other => panic!("{other:?}"),
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Arc<World1>) -> F) {
    let scheduler = Scheduler::new(7);
    let world = Surroundings::new(&scheduler, Arc::new(Bytes::new(sealer(), Epoch([1; 16]))));
    scheduler.run(test(world));
}

#[test]
fn m20_tokens_that_live_on_are_taken_from_memory_and_those_that_end_soon_serve_while_there_are_no_newer_ones() {
    run(async |world: Arc<World1>| {
        let (gateway, party) = after_a_login(&world, Some("refresh"), UPSTREAM_FRESH * 2).await;
        let known = identity(&world, &party).await;
        let person = party.person();
        let fresh = gateway.fresh_identity(person, &known).await.unwrap();
        assert!(Arc::ptr_eq(&fresh, &known), "nobody is asked");
        world.clock().sleep(UPSTREAM_FRESH + Duration::from_secs(60)).await;
        assert!(Arc::ptr_eq(&gateway.fresh_identity(person, &known).await.unwrap(), &known));
        world.clock().sleep(UPSTREAM_FRESH).await;
        assert_eq!(gateway.fresh_identity(person, &known).await.err(), Some(Fault::ProviderUnavailable));
        // The token is still there, and whoever comes next may ask at once.
        let after = identity(&world, &party).await;
        let after = after.identity().unwrap();
        assert!(after.upstream_refresh.as_ref().unwrap().same("refresh"));
        assert!(after.upstream.lease.until <= world.clock().now() && after.upstream.lease.number == 2);
    });
}

#[test]
fn m18_without_a_refresh_token_only_a_login_brings_newer_ones() {
    run(async |world: Arc<World1>| {
        let (gateway, party) = after_a_login(&world, None, UPSTREAM_FRESH).await;
        let newer = Wanted::After(world.clock().now());
        assert_eq!(gateway.renew(party.person(), newer).await.err(), Some(Fault::SessionEnded));
        let older = Wanted::After(START.minus(Duration::from_secs(1)));
        assert!(gateway.renew(party.person(), older).await.is_ok(), "somebody has brought them since");
    });
}
