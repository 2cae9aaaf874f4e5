//! What servers answer when they are in trouble, and while a cluster changes: nothing is lost, nothing is taken for absent, and
//! nobody is spoken to whom neither the operator nor the cluster has named.

use crate::clauses::{key, landed, load, value, write};
use crate::near::{BOUND, near, until_gone, warm};
use crate::servers::{Gate, endpoint, settings};
use crate::valkey::{Cluster, Make, Options, Reply, Server, server::Folder, until};
use crate::ways::{across, gate, slot};
use portcullis_adapters::valkey::{Mode, Refusal, Settings};
use portcullis_domain::key::Key;
use portcullis_domain::limits::CLUSTER_HELD;
use portcullis_domain::operation::Keys;
use portcullis_ports::{Outcome, Seen, Store, Unavailable};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Tries to write, on what is there now.
fn commit(gate: &Gate, key: Key, value: u64) -> Outcome {
    let facts = gate.run(load(&gate.store, [key]));
    gate.run(gate.store.commit(Seen::of(&facts), vec![write(key, value)]))
}

#[test]
fn t266_a_server_that_cannot_save_takes_no_writes_and_goes_on_reading() {
    for make in Make::ALL {
        let folder = Folder::new();
        let place = format!("dir {}", folder.0.display());
        let server = Server::with(Options::of(make).line("save 3600 1000000").line(&place));
        let gate = Gate::ready(server.address());
        assert!(matches!(commit(&gate, key(100, 0), 1), Outcome::Landed(_)));
        std::fs::remove_dir_all(&folder.0).unwrap();
        server.ask(&["BGSAVE"]);
        until("it cannot save", || server.info("rdb_last_bgsave_status").as_deref() == Some("err"));
        assert_eq!(commit(&gate, key(100, 0), 2), Outcome::Away, "{make:?}: MISCONF");
        assert_eq!(commit(&gate, key(100, 1), 2), Outcome::Away, "{make:?}: MISCONF");
        let facts = gate.run(load(&gate.store, [key(100, 0), key(100, 1)]));
        assert_eq!((value(&facts, &key(100, 0)), value(&facts, &key(100, 1))), (Some(1), None), "{make:?}");
        std::fs::create_dir_all(&folder.0).unwrap();
        server.ask(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
        assert!(matches!(commit(&gate, key(100, 0), 2), Outcome::Landed(_)), "{make:?}");
    }
}

#[test]
fn t266_a_server_that_somebodys_script_keeps_busy_is_away_until_that_ends() {
    for make in Make::ALL {
        let server = Server::with(Options::of(make).line("lua-time-limit 50"));
        let gate = Gate::ready(server.address());
        assert!(matches!(commit(&gate, key(101, 0), 1), Outcome::Landed(_)));
        let facts = gate.run(load(&gate.store, [key(101, 0)]));
        std::thread::scope(|scope| {
            let hangs = scope.spawn(|| server.talk().try_ask(&["EVAL", "while true do end", "0"]));
            until("it is busy", || {
                let said = server.talk().try_ask(&["GET", "x"]);
                matches!(said, Ok(Reply::Error(said)) if said.starts_with("BUSY"))
            });
            assert_eq!(gate.run(gate.store.load(Keys::of([key(101, 0)]))).err(), Some(Unavailable), "{make:?}");
            assert_eq!(gate.run(gate.store.load(Keys::of([key(101, 1)]))).err(), Some(Unavailable), "no absence");
            let refused = gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(101, 0), 2)]));
            assert_eq!(refused, Outcome::Away, "{make:?}");
            server.ask(&["SCRIPT", "KILL"]);
            assert!(hangs.join().unwrap().is_ok());
        });
        until("it answers again", || gate.run(gate.store.load(Keys::of([key(101, 0)]))).is_ok());
        gate.run(landed(&gate.store, &facts, vec![write(key(101, 0), 2)]));
    }
}

#[test]
fn t266_t269_a_primary_without_the_replicas_that_it_needs_takes_no_writes() {
    for make in Make::ALL {
        let server = Server::with(Options::of(make).line("min-replicas-to-write 1"));
        // The gate's own check is a write, so it begins with one that is there.
        let replica = Server::with(Options::of(make).replica_of(server.address()));
        until("the replica follows", || server.info("min_slaves_good_slaves").as_deref() == Some("1"));
        let gate = Gate::ready(server.address());
        assert!(matches!(commit(&gate, key(102, 0), 1), Outcome::Landed(_)), "{make:?}");
        drop(replica);
        until("it has noticed", || server.info("min_slaves_good_slaves").as_deref() == Some("0"));
        assert_eq!(commit(&gate, key(102, 0), 2), Outcome::Away, "{make:?}: NOREPLICAS");
        let facts = gate.run(load(&gate.store, [key(102, 0)]));
        assert_eq!(value(&facts, &key(102, 0)), Some(1), "{make:?}");
        let _replica = Server::with(Options::of(make).replica_of(server.address()));
        until("it lands again", || matches!(commit(&gate, key(102, 0), 2), Outcome::Landed(_)));
    }
}

#[test]
fn t266_records_that_are_on_two_nodes_for_a_moment_are_waited_for_and_never_taken_for_absent() {
    let cluster = Cluster::start(Make::Valkey9);
    let gate = gate(across(&cluster));
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    let (here, there, slot) = (key(103, 0), key(103, 1), slot(&cluster, 103));
    gate.run(async {
        let facts = load(&gate.store, [here, there]).await;
        landed(&gate.store, &facts, vec![write(here, 1), write(there, 2)]).await;
    });
    let to = (cluster.owner(slot) + 1) % 3;
    let from = cluster.open_move(slot, to).unwrap();
    cluster.carry(&format!("portcullis:{there}"), from, to);
    let both = Keys::of([here, there]);
    let begun = Instant::now();
    for read in [gate.run(gate.store.load(both)), gate.run(gate.store.recall(both))] {
        assert_eq!(read.err(), Some(Unavailable), "half of it is no answer");
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    std::thread::scope(|scope| {
        // Whoever asks while it moves is answered as soon as it has arrived.
        let asking = scope.spawn(|| {
            until("it is answered", || {
                let read = gate.run(gate.store.load(both));
                read.is_ok_and(|facts| (value(&facts, &here), value(&facts, &there)) == (Some(1), Some(2)))
            });
        });
        std::thread::sleep(Duration::from_millis(100));
        cluster.end_move(slot, from, to);
        asking.join().unwrap();
    });
}

#[test]
fn t267_a_node_of_a_cluster_that_dies_is_followed_by_its_replica() {
    for make in [Make::Valkey9, Make::Redis7] {
        let mut cluster = Cluster::with_replica(make);
        let gates = [gate(across(&cluster)), gate(across(&cluster))];
        for gate in &gates {
            assert_eq!(gate.run(gate.store.ready()), Ok(()));
        }
        let person = |node| (80..=255).find(|person| cluster.owner(slot(&cluster, *person)) == node).unwrap();
        let (dies, lives) = (key(person(0), 0), key(person(1), 0));
        for key in [dies, lives] {
            assert!(matches!(commit(&gates[1], key, 1), Outcome::Landed(_)));
            assert_eq!(warm(&gates[0], key), Some(1));
        }
        let seen = gates[0].run(load(&gates[0].store, [dies]));
        until("the replica has it", || {
            cluster.nodes[0].info("master_repl_offset") == cluster.nodes[3].info("slave_repl_offset")
        });
        cluster.nodes[0].kill();
        assert!(until_gone(&gates[0], dies, Some(1)) < BOUND, "what a dead node said is not served");
        until("its replica is found", || gates[0].run(gates[0].store.load(Keys::of([dies]))).is_ok());
        let facts = gates[0].run(load(&gates[0].store, [dies]));
        assert_eq!(value(&facts, &dies), Some(1), "{make:?}");
        assert_ne!(facts.epoch(), seen.epoch());
        let stale = gates[0].run(gates[0].store.commit(Seen::of(&seen), vec![write(dies, 2)]));
        assert_eq!(stale, Outcome::Stale, "what was seen before does not land after");
        for key in [dies, lives] {
            assert_eq!(warm(&gates[0], key), Some(1));
            until("the other has found it too", || {
                let loaded = gates[1].run(gates[1].store.load(Keys::of([key])));
                loaded.is_ok() && matches!(commit(&gates[1], key, 3), Outcome::Landed(_))
            });
            assert!(until_gone(&gates[0], key, Some(1)) < BOUND, "{make:?}");
            assert_eq!(warm(&gates[0], key), Some(3));
        }
    }
}

/// A server that says of itself and of its cluster what a node says, and of records what it is told to.
struct Liar {
    address: SocketAddr,
    /// The answer to `CLUSTER SLOTS`.
    map: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Liar {
    /// Of every record, that it is elsewhere, by `MOVED` or `ASK`; or `CLUSTERDOWN`, and then it says of the cluster that it does not go on.
    fn sends(kind: &'static str, to: SocketAddr) -> Self {
        let liar =
            Self::says(if kind == "CLUSTERDOWN" { "fail" } else { "ok" }, move |_| format!("-{kind} 1 {to}\r\n"));
        *liar.map.lock().unwrap() = format!("*1\r\n{}", served(0, 16_383, liar.address));
        liar
    }

    fn says(state: &'static str, answers: impl Fn(&[Reply]) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (map, answers) = (Arc::new(Mutex::new(String::new())), Arc::new(answers));
        let (count, slots) = (Arc::clone(&asked), Arc::clone(&map));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (count, slots, answers) = (Arc::clone(&count), Arc::clone(&slots), Arc::clone(&answers));
                std::thread::spawn(move || {
                    let (mut client, mut ahead, mut buffer) = (client, Vec::new(), [0; 4_096]);
                    while let Ok(read @ 1..) = client.read(&mut buffer) {
                        ahead.extend_from_slice(&buffer[..read]);
                        while let Some((request, length)) = Reply::first(&ahead).filter(|_| !ahead.is_empty()) {
                            ahead.drain(..length);
                            let words = request.list();
                            let answer = match words[0].text().as_str() {
                                "MGET" | "EVALSHA" | "EVAL" => {
                                    count.fetch_add(1, SeqCst);
                                    answers(&words)
                                }
                                "INFO" => bulk(&format!(
                                    "redis_version:7.2.4\r\nrun_id:{0:040}\r\nloading:0\r\naof_enabled:1\r\n\
                                     maxmemory_policy:noeviction\r\nrole:master\r\nmaster_replid:{0:040}\r\ncluster_enabled:1\r\n",
                                    u128::from(address.port()) * 10_u128.pow(30)
                                )),
                                "CLUSTER" if words[1].text() == "INFO" => {
                                    bulk(&format!("cluster_enabled:1\r\ncluster_state:{state}\r\n"))
                                }
                                "CLUSTER" => slots.lock().unwrap().clone(),
                                _ => "+OK\r\n".to_owned(),
                            };
                            if client.write_all(answer.as_bytes()).is_err() {
                                return;
                            }
                            if ahead.is_empty() {
                                break;
                            }
                        }
                    }
                });
            }
        });
        Self { address, map, asked }
    }
}

/// One line of a map.
fn served(first: u16, last: u16, by: SocketAddr) -> String {
    format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n{}:{}\r\n", bulk(&by.ip().to_string()), by.port())
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[test]
fn t266_a_redirection_to_a_stranger_is_not_followed() {
    for kind in ["MOVED", "ASK"] {
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        stranger.set_nonblocking(true).unwrap();
        let liar = Liar::sends(kind, stranger.local_addr().unwrap());
        let mode = Mode::Cluster(vec![endpoint(liar.address)]);
        let gate = gate(Settings { mode, ..settings(liar.address) });
        assert!(gate.run(gate.store.ready()).is_err(), "{kind}: it is of no use");
        assert!(liar.asked.load(SeqCst) > 1, "{kind}: it was asked, and asked again");
        let visited = stranger.accept().map(|(_, address)| address);
        assert_eq!(visited.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{kind}: nobody came by");
    }
}

#[test]
fn t266_what_a_node_that_has_lost_the_others_says_of_who_has_what_is_not_believed() {
    let cluster = Cluster::start(Make::Valkey8);
    let alone = Liar::sends("CLUSTERDOWN", cluster.addresses()[0]);
    let among = |place: usize| {
        let mut nodes: Vec<_> = cluster.addresses().into_iter().map(endpoint).collect();
        nodes.insert(place, endpoint(alone.address));
        gate(Settings { mode: Mode::Cluster(nodes), ..settings(alone.address) })
    };
    for place in [0, 3] {
        let gate = among(place);
        assert_eq!(gate.run(gate.store.ready()), Ok(()), "{place}");
        assert!(matches!(commit(&gate, key(105, 0), 1), Outcome::Landed(_)));
    }
    let only = gate(Settings { mode: Mode::Cluster(vec![endpoint(alone.address)]), ..settings(alone.address) });
    assert_eq!(only.run(only.store.ready()), Err(Refusal::NoMap));
}

#[test]
fn p05_what_a_gate_has_changed_is_looked_for_where_it_was_taken_whatever_the_map_says() {
    let absent = |words: &[Reply]| format!("*{}\r\n{}", words.len() - 1, "_\r\n".repeat(words.len() - 1));
    // One that reads on, and one that takes changes, and says of what it is told to forget that it is there.
    let reads = Liar::says("ok", absent);
    let (forgets, to) = (Arc::new(AtomicBool::new(false)), reads.address);
    let forgotten = Arc::clone(&forgets);
    let other = format!("portcullis:{}", key(107, 0));
    let takes = Liar::says("ok", move |words| match words[0].text().as_str() {
        "MGET" if words[1].text() == other && forgotten.load(SeqCst) => format!("-MOVED 1 {to}\r\n"),
        "MGET" => absent(words),
        _ => "+LANDED\r\n".to_owned(),
    });
    let is_with = |owner: &Liar, rest: &Liar| {
        let map = format!("*2\r\n{}{}", served(0, 16_382, owner.address), served(16_383, 16_383, rest.address));
        for liar in [&reads, &takes] {
            liar.map.lock().unwrap().clone_from(&map);
        }
    };
    let asked = || [&reads, &takes].map(|liar| liar.asked.load(SeqCst));
    let asks = |gate: &Gate, key: Key, by_question: bool| {
        let before = asked();
        let keys = Keys::of([key]);
        assert!(if by_question { gate.run(gate.store.recall(keys)) } else { gate.run(gate.store.load(keys)) }.is_ok());
        let after = asked();
        [after[0] - before[0], after[1] - before[1]]
    };
    let mut rounds = 0..20;
    loop {
        assert!(rounds.next().is_some(), "this machine is too slow for it");
        forgets.store(false, SeqCst);
        is_with(&takes, &reads);
        let gate = gate(Settings { mode: Mode::Cluster(vec![endpoint(takes.address)]), ..settings(takes.address) });
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
        assert!(matches!(commit(&gate, key(106, 0), 1), Outcome::Landed(_)));
        let taken = Instant::now();
        // The next map says otherwise, and is asked for as soon as a node says so too.
        is_with(&reads, &takes);
        forgets.store(true, SeqCst);
        until("the map is another", || asks(&gate, key(107, 0), false) == [1, 0]);
        let found = [asks(&gate, key(106, 0), false), asks(&gate, key(106, 0), true)];
        if taken.elapsed() < CLUSTER_HELD {
            assert_eq!(found, [[0, 1], [0, 1]], "whoever has taken it is asked, and nobody else");
            until("the map counts again", || asks(&gate, key(106, 0), false) == [1, 0]);
            return;
        }
    }
}

#[test]
fn what_a_dead_cluster_said_is_not_at_hand_after_a_second() {
    let mut cluster = Cluster::start(Make::Valkey8);
    let gate = gate(across(&cluster));
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    assert_eq!(warm(&gate, key(104, 0)), None);
    // Two of three are gone: the third serves nothing any more, whoever it belongs to.
    let owner = cluster.owner(slot(&cluster, 104));
    for other in [1, 2].map(|step| (owner + step) % 3) {
        cluster.nodes[other].kill();
    }
    until("it has noticed", || cluster.nodes[owner].ask(&["CLUSTER", "INFO"]).text().contains("cluster_state:fail"));
    assert!(until_gone(&gate, key(104, 0), None) < BOUND);
    assert_eq!(near(&gate, key(104, 0)), None);
}
