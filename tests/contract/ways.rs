//! The ways to a server: over TLS, and to whichever server the Sentinels name.

use crate::clauses::{self, key, landed, load, value, write};
use crate::engine::fixture::sealer;
use crate::near::{gate_reads, near, put, warm};
use crate::servers::{Gate, USER, endpoint, examined, settings};
use crate::valkey::{Cluster, Make, Options, Sentinels as Set, Server, Tls as Spoken, server::tls_client, until};
use portcullis_adapters::valkey::{Access, Mode, Refusal, Sentinels, Settings, Tls};
use portcullis_domain::key::Key;
use portcullis_domain::operation::Keys;
use portcullis_domain::secret::SecretText;
use portcullis_ports::{Outcome, Seen, Store};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

pub(crate) fn gate(settings: Settings) -> Gate {
    Gate::with(settings, sealer())
}

fn with_tls(config: Arc<ClientConfig>, server_name: Option<&str>) -> Access {
    Access { tls: Some(Tls { config, server_name: server_name.map(str::to_owned) }), ..Access::default() }
}

/// Over TLS, trusting the tests' authority, with the tests' certificate.
fn over_tls(address: SocketAddr, server_name: Option<&str>) -> Settings {
    Settings { access: with_tls(tls_client(), server_name), ..settings(address) }
}

/// Who cannot speak with a server that asks for certificates: whoever does not trust its authority, and whoever shows none.
fn strangers() -> [Access; 2] {
    let authority = std::fs::read(crate::valkey::server::certificate("authority.pem")).unwrap();
    let client = |roots: &[&[u8]]| portcullis_adapters::tls::client(roots.iter().copied(), None).unwrap();
    [client(&[]), client(&[&authority])].map(|config| with_tls(Arc::new(config), None))
}

fn refusal(settings: Settings) -> Refusal {
    let gate = gate(settings);
    gate.run(gate.store.ready()).unwrap_err()
}

#[test]
fn t262_tls_is_spoken_with_a_server_that_shows_and_asks_for_certificates() {
    for spoken in [Spoken::Server, Spoken::Mutual] {
        let server = Server::with(Options::of(Make::Redis7).tls(spoken));
        for server_name in [None, Some("gate.example")] {
            let gate = gate(over_tls(server.address(), server_name));
            assert_eq!(gate.run(gate.store.ready()), Ok(()), "{spoken:?}");
        }
        let gate = gate(over_tls(server.address(), None));
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
        gate.run(clauses::all(&gate.store));
    }
}

#[test]
fn t262_tls_with_the_wrong_server_or_without_what_it_asks_for_is_refused_and_never_downgraded() {
    let server = Server::with(Options::of(Make::Redis7).tls(Spoken::Mutual));
    let wrong_name = refusal(over_tls(server.address(), Some("elsewhere.example")));
    assert!(matches!(wrong_name, Refusal::Tls(_)), "{wrong_name}");
    let [strangers, nameless] = strangers().map(|access| refusal(Settings { access, ..settings(server.address()) }));
    assert!(matches!(strangers, Refusal::Tls(_)), "whom nobody of the web vouches for: {strangers}");
    assert!(matches!(nameless, Refusal::Tls(_)), "without a certificate of one's own: {nameless}");

    // Neither does a gate that speaks TLS fall back, nor is one that does not mistaken for one that does.
    let plain = Server::start(Make::Redis7);
    let refused = refusal(over_tls(plain.address(), None));
    assert!(
        matches!(refused, Refusal::Tls(_) | Refusal::Unreachable(_)),
        "it takes the greeting for a long line: {refused}"
    );
    let refused = refusal(settings(server.address()));
    assert!(matches!(refused, Refusal::Unreachable(_) | Refusal::Nonsense), "{refused}");
}

fn under(set: &Set) -> Settings {
    under_with(set, Access::default(), Access::default())
}

/// Its servers are spoken to by the first of these, its Sentinels by the second.
fn under_with(set: &Set, access: Access, sentinels: Access) -> Settings {
    let endpoints = set.addresses().into_iter().map(endpoint).collect();
    let sentinels = Sentinels { endpoints, name: "sessions".to_owned(), access: Arc::new(sentinels) };
    let address = set.servers[set.primary()].address();
    Settings { mode: Mode::Sentinel(Arc::new(sentinels)), access, ..settings(address) }
}

#[test]
fn t267_a_failover_is_followed_and_what_was_seen_before_it_does_not_land_after() {
    for make in [Make::Valkey9, Make::Redis7] {
        let mut set = Set::start(make);
        let gate = gate(under(&set));
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
        let facts = gate.run(load(&gate.store, [key(60, 0)]));
        gate.run(landed(&gate.store, &facts, vec![write(key(60, 0), 1)]));
        let before = gate.run(load(&gate.store, [key(60, 0)]));
        // Its replica has it, or nobody could promise that it is there after.
        let offset = |server: &Server, name| server.info(name);
        let [primary, replica] = [set.primary(), 1 - set.primary()];
        until("the replica has it", || {
            offset(&set.servers[primary], "master_repl_offset") == offset(&set.servers[replica], "slave_repl_offset")
        });
        set.servers[primary].kill();
        let begin = Instant::now();
        until("the other is the primary", || gate.run(gate.store.load(Keys::of([key(60, 0)]))).is_ok());
        assert!(begin.elapsed() < Duration::from_secs(10), "{make:?}: {:?}", begin.elapsed());
        let after = gate.run(load(&gate.store, [key(60, 0)]));
        assert_eq!(value(&after, &key(60, 0)), Some(1), "{make:?}");
        assert_ne!(after.epoch(), before.epoch());
        let stale = gate.run(gate.store.commit(Seen::of(&before), vec![write(key(60, 0), 2)]));
        assert_eq!(stale, Outcome::Stale);
        gate.run(landed(&gate.store, &after, vec![write(key(60, 0), 2)]));
    }
}

#[test]
fn t269_a_primary_that_hangs_is_left_for_the_one_that_the_sentinels_name() {
    let set = Set::start(Make::Valkey8);
    let gate = gate(under(&set));
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    let hanging = set.primary();
    set.servers[hanging].pause();
    let begin = Instant::now();
    until("the other is turned to", || gate.run(gate.store.load(Keys::of([key(61, 0)]))).is_ok());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let facts = gate.run(load(&gate.store, [key(61, 0)]));
    gate.run(landed(&gate.store, &facts, vec![write(key(61, 0), 1)]));
    // It comes back, and takes itself for the primary until it is told otherwise: nobody listens to it.
    set.servers[hanging].resume();
    std::thread::sleep(Duration::from_secs(2));
    let facts = gate.run(load(&gate.store, [key(61, 0)]));
    assert_eq!(value(&facts, &key(61, 0)), Some(1));
    gate.run(landed(&gate.store, &facts, vec![write(key(61, 0), 2)]));
}

pub(crate) fn across(cluster: &Cluster) -> Settings {
    let nodes = cluster.addresses().into_iter().map(endpoint).collect();
    Settings { mode: Mode::Cluster(nodes), ..settings(cluster.addresses()[0]) }
}

#[test]
fn t262_a_cluster_is_spoken_to_over_tls_alone_also_where_a_slot_has_moved() {
    let cluster = Cluster::with(&Options::of(Make::Redis7).tls(Spoken::Mutual));
    let over = |access| Settings { access, ..across(&cluster) };
    let gate = gate(over(with_tls(tls_client(), None)));
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    gate.run(clauses::all(&gate.store));
    put(&gate, key(68, 0), 1);
    assert_eq!(warm(&gate, key(68, 0)), Some(1));
    let moved = slot(&cluster, 68);
    cluster.reshard(moved..moved + 1, (cluster.owner(moved) + 1) % 3);
    until("it is found where it has gone", || gate_reads(&gate, key(68, 0), 1));
    put(&gate, key(68, 0), 2);
    let refused = strangers().map(|access| refusal(over(access)));
    assert!(refused.iter().all(|refused| matches!(refused, Refusal::Tls(_))), "{refused:?}");
    let refused = refusal(over(Access::default()));
    assert!(matches!(refused, Refusal::Unreachable(_) | Refusal::Nonsense), "{refused}");
}

#[test]
fn t262_sentinels_and_their_servers_are_each_spoken_to_over_tls_alone() {
    let mut set = Set::with(&Options::of(Make::Redis7).tls(Spoken::Mutual));
    let known = || with_tls(tls_client(), None);
    let gate = gate(under_with(&set, known(), known()));
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    put(&gate, key(68, 0), 1);
    // Neither of the two is spoken to as the other is.
    let refused = strangers().map(|access| refusal(under_with(&set, access, known())));
    assert!(refused.iter().all(|refused| matches!(refused, Refusal::Tls(_))), "servers: {refused:?}");
    let refused = strangers().map(|access| refusal(under_with(&set, known(), access)));
    assert!(refused.iter().all(|refused| matches!(refused, Refusal::Tls(_))), "Sentinels: {refused:?}");
    for (access, sentinels) in [(known(), Access::default()), (Access::default(), known())] {
        let refused = refusal(under_with(&set, access, sentinels));
        assert!(matches!(refused, Refusal::Unreachable(_) | Refusal::Nonsense), "{refused}");
    }
    set.fail_over();
    until("the other is found", || gate.run(gate.store.load(Keys::of([key(68, 0)]))).is_ok());
    put(&gate, key(68, 0), 2);
}

#[test]
fn t266_a_cluster_keeps_the_contract() {
    for make in Make::ALL {
        let cluster = Cluster::start(make);
        let gate = gate(across(&cluster));
        assert_eq!(gate.run(gate.store.ready()), Ok(()), "{make:?}");
        gate.run(clauses::all(&gate.store));
        let held: Vec<i64> = cluster.nodes.iter().map(|node| node.ask(&["DBSIZE"]).number()).collect();
        assert!(held.iter().all(|count| *count > 0), "spread over all: {held:?}");
    }
}

#[test]
fn t275_the_documented_user_is_enough_for_a_cluster_too() {
    let more = "+cluster|slots +cluster|info +cluster|nodes +asking";
    assert!(include_str!("../../docs/valkey.md").contains(&format!("`{more}`")));
    let user = format!("{USER} {more}");
    let cluster = Cluster::with(&Options::of(Make::Valkey9).acl(&[&user, "user default on nopass ~* &* +@all"]));
    let password = Some(SecretText::new("hush".to_owned()));
    let access = || Access { username: Some("portcullis".to_owned()), password: password.clone(), ..Access::default() };
    let examined = || examined(Settings { access: access(), ..across(&cluster) });
    assert!(!examined().contains("every question"), "{}", examined());
    let gate = gate(Settings { access: access(), ..across(&cluster) });
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    let facts = gate.run(load(&gate.store, [key(69, 0)]));
    gate.run(landed(&gate.store, &facts, vec![write(key(69, 0), 1)]));
    assert_eq!(warm(&gate, key(69, 0)), Some(1));
    // Without the right to ask who has what it is asked each time.
    let less = |node: &Server| node.ask(&["ACL", "SETUSER", "portcullis", "-cluster|nodes"]);
    cluster.nodes.iter().for_each(|node| drop(less(node)));
    assert!(examined().contains("give the user +cluster|info +cluster|nodes"), "{}", examined());
    until("nothing is at hand", || near(&gate, key(69, 0)).is_none());
    assert!(gate_reads(&gate, key(69, 0), 1));
    assert_eq!(near(&gate, key(69, 0)), None);
}

#[test]
fn t266_slots_that_move_under_load_lose_and_double_nothing() {
    let cluster = Cluster::start(Make::Valkey9);
    let gates = [gate(across(&cluster)), gate(across(&cluster))];
    for gate in &gates {
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
    }
    let done = AtomicBool::new(false);
    let counted: u64 = std::thread::scope(|scope| {
        let (cluster, gates, done) = (&cluster, &gates, &done);
        let counting: Vec<_> = (0..4_u8)
            .map(|place| scope.spawn(move || counts(&gates[usize::from(place % 2)], key(70 + place / 2, 0), done)))
            .collect();
        // The slots of both records, back and forth, while both gates count in them.
        for round in 0..6 {
            for person in [70, 71] {
                cluster.reshard(slot(cluster, person)..slot(cluster, person) + 1, round % 3);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        done.store(true, Relaxed);
        counting.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let value_of = |person| {
        let facts = gates[0].run(load(&gates[1].store, [key(person, 0)]));
        value(&facts, &key(person, 0)).unwrap()
    };
    assert_eq!(value_of(70) + value_of(71), counted, "none is lost and none counts twice");
    assert!(counted > 100, "{counted}");
}

/// Adds one again and again until it is told to stop: how often it landed. Where that is in doubt, it is looked for.
fn counts(gate: &Gate, key: Key, done: &AtomicBool) -> u64 {
    let mut landed = 0;
    while !done.load(Relaxed) {
        let Ok(facts) = gate.run(gate.store.load(Keys::of([key]))) else { continue };
        let next = write(key, value(&facts, &key).unwrap_or(0) + 1);
        match gate.run(gate.store.commit(Seen::of(&facts), vec![next])) {
            Outcome::Landed(_) => landed += 1,
            Outcome::Stale | Outcome::Away => {}
            other => panic!("{other:?}"),
        }
    }
    landed
}

pub(crate) fn slot(cluster: &Cluster, person: u8) -> u16 {
    let name = format!("portcullis:{}", key(person, 0));
    u16::try_from(cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", &name]).number()).unwrap()
}
