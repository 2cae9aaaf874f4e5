//! The servers and the proxy do what the other tests believe of them.

use crate::valkey::server::bus;
use crate::valkey::talk::encode;
use crate::valkey::{Cluster, Make, Options, Persistence, Proxy, Reply, Sentinels, Server, Talk, Tls, until};
use std::time::{Duration, Instant};

#[test]
fn all_three_makes_answer_and_say_what_they_are() {
    for (make, name, version) in [
        (Make::Valkey9, "valkey_version", "9.1."),
        (Make::Valkey8, "valkey_version", "8.1."),
        (Make::Redis7, "redis_version", "7.0."),
    ] {
        let server = Server::start(make);
        let told = server.info(name).unwrap();
        assert!(told.starts_with(version), "{told}");
        assert_eq!(server.ask(&["SET", "one", "1"]), Reply::Simple("OK".to_owned()));
        assert_eq!(server.ask(&["GET", "one"]).number(), 1);
        server.forget_calls();
        server.ask(&["GET", "one"]);
        assert!(server.calls().contains(&("get".to_owned(), 1)), "{:?}", server.calls());
    }
}

#[test]
fn what_is_appended_always_outlives_a_kill_and_what_is_not_persistent_does_not() {
    for (persistence, kept) in [(Persistence::Always, true), (Persistence::Nothing, false)] {
        let mut server = Server::with(Options::of(Make::Valkey9).persistence(persistence));
        server.ask(&["SET", "one", "1"]);
        server.kill();
        assert!(server.try_talk().is_err());
        server.again();
        assert_eq!(server.ask(&["GET", "one"]) != Reply::Nil, kept);
    }
}

#[test]
fn users_have_to_log_in_and_may_do_what_their_line_says() {
    let server = Server::with(Options::of(Make::Valkey8).acl(&["user default off", "user gate on >secret ~a:* +get"]));
    let mut talk = server.talk();
    assert!(matches!(talk.try_ask(&["GET", "a:1"]), Ok(Reply::Error(error)) if error.starts_with("NOAUTH")));
    talk.ask(&["AUTH", "gate", "secret"]);
    assert_eq!(talk.ask(&["GET", "a:1"]), Reply::Nil);
    for refused in [&["GET", "b:1"][..], &["SET", "a:1", "1"]] {
        assert!(matches!(talk.try_ask(refused), Ok(Reply::Error(error)) if error.starts_with("NOPERM")));
    }
}

#[test]
fn tls_is_spoken_and_a_certificate_asked_for() {
    for tls in [Tls::Server, Tls::Mutual] {
        let server = Server::with(Options::of(Make::Redis7).tls(tls));
        assert_eq!(server.ask(&["PING"]).text(), "PONG");
        let mut plain = Talk::to(server.address(), None).unwrap();
        assert!(plain.try_ask(&["PING"]).is_err());
    }
}

#[test]
fn a_cluster_of_three_serves_all_slots_and_moves_them() {
    for make in Make::ALL {
        let cluster = Cluster::start(make);
        // The slot of "{b}" is 3300, by the specification's CRC16.
        let (slot, from) = (3_300, cluster.owner(3_300));
        assert_eq!(from, 0);
        cluster.nodes[from].ask(&["SET", "{b}1", "1"]);
        let elsewhere = cluster.nodes[1].talk().try_ask(&["GET", "{b}1"]).unwrap();
        let told = format!("MOVED 3300 {}", cluster.nodes[0].address());
        assert_eq!(elsewhere, Reply::Error(told));
        cluster.reshard(slot..slot + 1, 2);
        assert_eq!(cluster.owner(slot), 2);
        assert_eq!(cluster.nodes[2].ask(&["GET", "{b}1"]).number(), 1);
        assert_ne!(bus(cluster.nodes[0].address()), cluster.nodes[0].address().port());
    }
}

#[test]
fn a_replica_takes_over_when_the_primary_is_killed() {
    let mut set = Sentinels::start(Make::Valkey9);
    let first = set.primary();
    set.servers[first].ask(&["SET", "one", "1"]);
    assert_eq!(set.servers[first].ask(&["WAIT", "1", "1000"]).number(), 1);
    set.fail_over();
    let second = set.primary();
    assert_ne!(first, second);
    assert_eq!(set.servers[second].ask(&["GET", "one"]).number(), 1);
    assert_eq!(set.servers[first].info("role").as_deref(), Some("slave"));
}

#[test]
fn the_proxy_fails_as_it_is_told() {
    let server = Server::start(Make::Valkey9);
    let proxy = Proxy::before(server.address());
    let talk = || Talk::to(proxy.address(), None).unwrap();
    let mut through = talk();
    assert_eq!(through.ask(&["PING"]).text(), "PONG");

    proxy.split(true);
    through.ask(&["SET", "one", "1"]);
    proxy.split(false);

    proxy.delay(Duration::from_millis(60));
    let begun = Instant::now();
    through.ask(&["PING"]);
    assert!(begun.elapsed() >= Duration::from_millis(120), "both ways");
    proxy.delay(Duration::ZERO);

    proxy.cut_before("INCR");
    assert!(through.try_ask(&["INCR", "one"]).is_err());
    assert_eq!(server.ask(&["GET", "one"]).number(), 1, "it did not arrive");

    let mut through = talk();
    proxy.cut_after("INCR");
    assert_eq!(through.ask(&["PING"]).text(), "PONG", "only what is meant");
    assert!(through.try_ask(&["INCR", "one"]).is_err());
    until("it is carried out", || server.ask(&["GET", "one"]).number() == 2);

    let mut through = talk();
    proxy.duplicate("GET");
    assert_eq!(through.ask(&["GET", "one"]).number(), 2);
    assert_eq!(through.ask(&["PING"]).number(), 2, "the answer of before");

    let mut through = talk();
    proxy.swallow("GET");
    // Two at once: the first is never answered.
    assert_eq!(through.ask(&["PING"]).text(), "PONG");
    assert_eq!(
        through.try_ask_all(&[encode(&["GET", "one"]), encode(&["PING"])]).unwrap(),
        Reply::Simple("PONG".into())
    );

    proxy.black_hole(true);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| through.ask(&["PING"]));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        proxy.black_hole(false);
        assert_eq!(waiting.join().unwrap().text(), "PONG", "it was held back and not lost");
    });

    proxy.cut();
    assert!(through.try_ask(&["PING"]).is_err());
    proxy.refuses(true);
    assert!(talk().try_ask(&["PING"]).is_err());
    proxy.refuses(false);
    assert_eq!(talk().ask(&["PING"]).text(), "PONG");
    assert_eq!(proxy.played(), 4);
}
