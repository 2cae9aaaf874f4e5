//! A replica that takes over without having heard everything (T267, T269): two primaries for a while, and then one that has lost
//! what was answered. That costs a login now and then, and lets nobody in twice.

use crate::fleet::{Fleet, storage};
use crate::harness::{Pkce, Tokens, eventually};
use crate::valkey::{Make, Options, Proxy, Server, until};

#[test]
fn p02_p03_t267_t269_what_a_failover_has_lost_redeems_no_code_twice_and_logs_nobody_out() {
    for make in [Make::Valkey9, Make::Redis7] {
        let mut primary = Server::start(make);
        let replica = Server::with(Options::of(make).replica_of(primary.address()));
        let proxy = Proxy::before(primary.address());
        let mut fleet = Fleet::start(1, &storage(proxy.address()));
        let (client, [first, second]) = (fleet.at(0).public_client("A client"), [Pkce::new(), Pkce::new()]);
        let [rotated, third] = [0, 0].map(|gate| fleet.at(gate).tokens(&client));
        let [redeemed, other] = [&first, &second].map(|pkce| fleet.at(0).code(&client, pkce));
        until("the replica has it all", || {
            replica.info("master_link_status").as_deref() == Some("up")
                && primary.info("master_repl_offset") == replica.info("slave_repl_offset")
        });

        // It hears nothing from here on, and takes over.
        replica.ask(&["REPLICAOF", "NO", "ONE"]);
        let lost = Tokens::of(&fleet.at(0).exchange(&client, &redeemed, &first));
        let next = Tokens::of(&fleet.at(0).refresh(&client, &rotated.refresh));
        fleet.add(|config| config["storage"] = storage(replica.address()));
        // There are two primaries, and to the new one both codes are as they were when they were issued.
        for (code, pkce) in [(&redeemed, &first), (&other, &second)] {
            fleet.at(1).exchange(&client, code, pkce).refuses(400, "invalid_grant");
        }
        assert!(fleet.at(0).admits(&lost.access), "{make:?}: where it was answered, nothing is lost yet");

        // A gate that still speaks to the old one does not know what the new one was told, says so to the operator, and ends nothing.
        let third = Tokens::of(&fleet.at(1).refresh(&client, &third.refresh));
        fleet.at(0).refresh(&client, &third.refresh).refuses(400, "invalid_grant");
        assert_eq!(fleet.happened("refresh_token_ahead_of_store"), 1, "{make:?}");

        // Now the old one is gone, and its gate is led to the new one.
        primary.kill();
        proxy.leads_to(replica.address());
        proxy.cut();
        let stranger = fleet.at(0).public_client("A stranger");
        eventually("the new one is found", || fleet.at(0).refresh(&stranger, &rotated.refresh).status != 503);
        for gate in 0..2 {
            fleet.at(gate).exchange(&client, &redeemed, &first).refuses(400, "invalid_grant");
        }
        // Whoever holds a refresh token of which the new primary has not heard has it from the old one, and goes on, wherever.
        for (gate, tokens) in [(0, &lost), (1, &next), (0, &third)] {
            let on = Tokens::of(&fleet.at(gate).refresh(&client, &tokens.refresh));
            assert!(fleet.replicas.iter().all(|replica| replica.world.admits(&on.access)), "{make:?}");
        }
        assert_eq!(fleet.happened("refresh_token_reuse_detected"), 0, "{make:?}");
    }
}
