//! The contract, on real servers, and what is special about them: connections that end, users that may do little, other gates.

use crate::clauses::{self, increments, key, landed, load, value, write};
use crate::engine::fixture::{BASE_URL, sealer};
use crate::valkey::{Make, Options, Persistence, Proxy, Server, until};
use portcullis_adapters::system::SystemClock;
use portcullis_adapters::valkey::{Access, Endpoint, Mode, Refusal, Settings, Valkey};
use portcullis_domain::operation::Keys;
use portcullis_domain::record::Sealer;
use portcullis_domain::seal::{CurrentRing, KeyRing, MasterKey};
use portcullis_domain::secret::Secret;
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Clock, Outcome, Seen, Store, Unavailable};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A gate's store, whose links run in a thread of their own, as in a gate, for as long as it is there.
pub(crate) struct Gate {
    runtime: tokio::runtime::Runtime,
    pub(crate) store: Valkey,
    background: Option<(tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>)>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Gate {
    pub(crate) fn with(settings: Settings, sealer: Sealer) -> Self {
        let store = Valkey::new(settings, sealer);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let links = store.clone();
        let background = std::thread::spawn(move || {
            runtime().block_on(async {
                tokio::spawn(links.run());
                let _ = stopped.await;
            });
        });
        Self { runtime: runtime(), store, background: Some((stop, background)) }
    }

    pub(crate) fn on(address: SocketAddr) -> Self {
        Self::with(settings(address), sealer())
    }

    /// One that is ready.
    pub(crate) fn ready(address: SocketAddr) -> Self {
        let gate = Self::on(address);
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
        gate
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some((stop, background)) = self.background.take() {
            let _ = stop.send(());
            let _ = background.join();
        }
    }
}

pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { host: address.ip().to_string(), port: address.port() }
}

pub(crate) fn settings(address: SocketAddr) -> Settings {
    let mode = Mode::Standalone(endpoint(address));
    Settings { mode, access: Access::default(), prefix: "portcullis:".to_owned(), wait: 0, stale_for: Duration::ZERO }
}

#[test]
fn a_store_on_a_server_keeps_the_contract() {
    for make in Make::ALL {
        let server = Server::start(make);
        let gate = Gate::ready(server.address());
        gate.run(clauses::all(&gate.store));
    }
}

#[test]
fn i20_two_gates_on_one_server_are_one_store() {
    for make in Make::ALL {
        let server = Server::start(make);
        let gates = [Gate::ready(server.address()), Gate::ready(server.address())];
        std::thread::scope(|scope| {
            for gate in &gates {
                scope.spawn(|| gate.run(increments(&gate.store, key(30, 0), 200)));
            }
        });
        let facts = gates[0].run(load(&gates[1].store, [key(30, 0)]));
        assert_eq!(value(&facts, &key(30, 0)), Some(400), "{make:?}");
    }
}

#[test]
fn t266_a_script_that_is_gone_is_sent_once_more() {
    let server = Server::start(Make::Valkey9);
    let gate = Gate::ready(server.address());
    gate.run(async {
        for value in 1..4 {
            server.ask(&["SCRIPT", "FLUSH"]);
            let facts = load(&gate.store, [key(31, 0)]).await;
            landed(&gate.store, &facts, vec![write(key(31, 0), value)]).await;
        }
        assert_eq!(value(&load(&gate.store, [key(31, 0)]).await, &key(31, 0)), Some(3));
    });
}

#[test]
fn t264_r83_callers_that_leave_cost_no_connection_and_nobody_gets_their_answers() {
    let server = Server::start(Make::Valkey9);
    let gate = Gate::ready(server.address());
    gate.run(async {
        for place in 0..4 {
            let facts = load(&gate.store, [key(32, place)]).await;
            landed(&gate.store, &facts, vec![write(key(32, place), u64::from(place) + 1)]).await;
        }
        let before = connections(&server);
        // Each one leaves as soon as its question is under way.
        for round in 0..10_000_u64 {
            let place = u8::try_from(round % 4).unwrap();
            let left = gate.store.load(Keys::of([key(32, place)]));
            let mut left = Box::pin(left);
            std::future::poll_fn(|context| {
                let _under_way = left.as_mut().poll(context);
                std::task::Poll::Ready(())
            })
            .await;
            drop(left);
            if round % 100 == 0 {
                let place = u8::try_from(round / 100 % 4).unwrap();
                let facts = load(&gate.store, [key(32, place)]).await;
                assert_eq!(value(&facts, &key(32, place)), Some(u64::from(place) + 1), "its own answer");
            }
        }
        assert_eq!(connections(&server), before, "no connection was given up");
    });
}

#[test]
fn t263_what_waits_for_a_silent_store_has_a_bound_and_whoever_comes_then_is_told_at_once() {
    use portcullis_domain::limits::{STORE_QUEUE, STORE_UNANSWERED};
    let server = Server::start(Make::Valkey9);
    let proxy = Proxy::before(server.address());
    let gate = Gate::ready(proxy.address());
    proxy.black_hole(true);
    gate.run(async {
        let mut asking: Vec<_> =
            (0..STORE_QUEUE * 2).map(|_| Box::pin(gate.store.load(Keys::of([key(34, 0)])))).collect();
        let mut told = 0;
        // Whoever polls so many at once would be made to pause by the runtime.
        tokio::task::unconstrained(std::future::poll_fn(|context| {
            for asked in &mut asking {
                match asked.as_mut().poll(context) {
                    std::task::Poll::Ready(answer) => {
                        assert_eq!(answer.err(), Some(Unavailable));
                        told += 1;
                    }
                    std::task::Poll::Pending => {}
                }
            }
            std::task::Poll::Ready(())
        }))
        .await;
        // Of the others, some are under way already.
        assert!(told >= STORE_QUEUE - STORE_UNANSWERED, "only {told} are told at once");
    });
    proxy.black_hole(false);
    until("it answers again", || gate.run(gate.store.load(Keys::of([key(34, 0)]))).is_ok());
}

/// How many connections the server has taken, beside the one that asks.
fn connections(server: &Server) -> i64 {
    server.info("total_connections_received").unwrap().parse::<i64>().unwrap()
        - QUESTIONS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

static QUESTIONS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);

#[test]
fn t262_a_store_that_is_away_is_unavailable_and_comes_back_by_itself() {
    for make in Make::ALL {
        let mut server = Server::start(make);
        let gate = Gate::ready(server.address());
        let facts = gate.run(load(&gate.store, [key(33, 0)]));
        gate.run(landed(&gate.store, &facts, vec![write(key(33, 0), 1)]));
        let facts = gate.run(load(&gate.store, [key(33, 0)]));
        server.kill();
        until("it is away", || gate.run(gate.store.load(Keys::of([key(33, 0)]))).err() == Some(Unavailable));
        let late = gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(33, 0), 2)]));
        assert_eq!(late, Outcome::Away, "it is said that nothing was written");
        server.again();
        until("it is back", || gate.run(gate.store.load(Keys::of([key(33, 0)]))).is_ok());
        let again = gate.run(load(&gate.store, [key(33, 0)]));
        assert_ne!(again.epoch(), facts.epoch(), "another process is another epoch");
        assert_eq!(value(&again, &key(33, 0)), None, "it had kept nothing");
        let stale = gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(33, 0), 2)]));
        assert_eq!(stale, Outcome::Stale);
        gate.run(landed(&gate.store, &again, vec![write(key(33, 0), 3)]));
    }
}

#[test]
fn t262_a_store_that_is_away_when_the_gate_begins_is_found_later() {
    let mut server = Server::start(Make::Valkey8);
    server.kill();
    let gate = Gate::on(server.address());
    assert!(matches!(gate.run(gate.store.ready()), Err(Refusal::Unreachable(_))));
    assert_eq!(gate.run(gate.store.load(Keys::of([key(34, 0)]))).err(), Some(Unavailable));
    server.again();
    until("it is found", || gate.run(gate.store.load(Keys::of([key(34, 0)]))).is_ok());
}

#[test]
fn t271_a_server_that_may_evict_is_refused_and_says_why() {
    for make in Make::ALL {
        let server = Server::with(Options::of(make).line("maxmemory-policy allkeys-lru"));
        let gate = Gate::on(server.address());
        let refusal = gate.run(gate.store.ready()).unwrap_err();
        assert_eq!(refusal, Refusal::Evicts("allkeys-lru".to_owned()));
        assert!(refusal.instead().contains("noeviction"));
    }
}

#[test]
fn t271_a_server_that_begins_to_evict_is_used_no_more_until_it_stops() {
    for make in Make::ALL {
        let server = Server::start(make);
        let gate = Gate::ready(server.address());
        assert_eq!(crate::near::warm(&gate, key(43, 0)), None);
        server.ask(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
        until("it is used no more", || gate.run(gate.store.load(Keys::of([key(43, 0)]))).is_err());
        until("for questions neither", || gate.run(gate.store.recall(Keys::of([key(43, 0)]))).is_err());
        assert_eq!(crate::near::near(&gate, key(43, 0)), None, "{make:?}: what it has said is not believed any more");
        server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        until("it is used again", || gate.run(gate.store.load(Keys::of([key(43, 0)]))).is_ok());
    }
}

#[test]
fn p02_a_gate_with_other_master_keys_is_refused_and_one_that_rotates_is_not() {
    let server = Server::start(Make::Valkey9);
    let gate = |masters: &[MasterKey]| {
        let gate = Gate::with(settings(server.address()), Sealer::new(ring(masters)));
        gate.run(gate.store.ready())
    };
    let of = |keys: &[u8]| keys.iter().map(|first| master(*first)).collect::<Vec<_>>();
    assert_eq!(gate(&of(&[1])), Ok(()));
    assert_eq!(gate(&of(&[1])), Ok(()), "the same ring");
    assert_eq!(gate(&of(&[2])), Err(Refusal::OtherRing));
    // The rotation, in two deploys, each replica at its own time; then the first key goes.
    for ring in [&[1, 2][..], &[1], &[1, 2], &[2, 1], &[1, 2], &[2, 1], &[2]] {
        assert_eq!(gate(&of(ring)), Ok(()), "{ring:?}");
    }
    assert_eq!(gate(&of(&[1])), Err(Refusal::OtherRing));
}

#[test]
fn t159_a_key_that_begins_to_seal_by_itself_takes_the_check_over() {
    let server = Server::start(Make::Valkey9);
    let now = SystemClock::start().now();
    let next = Sealer::new(ring(&[master(2)]));
    let gate = |seconds: u64| {
        let new = MasterKey { seals_from: now.plus(Duration::from_secs(seconds)), ..master(2) };
        let gate = Gate::with(settings(server.address()), Sealer::new(ring(&[new, master(1)])));
        assert_eq!(gate.run(gate.store.ready()), Ok(()));
        gate
    };
    let early = gate(86_400);
    assert_eq!(early.run(early.store.try_ring(&next)), Err(Refusal::OtherRing), "the old one seals still");
    let late = gate(1);
    until("the key before it can go", || late.run(late.store.try_ring(&next)) == Ok(()));
}

fn ring(masters: &[MasterKey]) -> Arc<CurrentRing> {
    CurrentRing::of(KeyRing::new(masters, BASE_URL, Timestamp::from_secs(1)).unwrap())
}

fn master(first: u8) -> MasterKey {
    let bytes = std::array::from_fn(|place| first.wrapping_mul(37).wrapping_add(u8::try_from(place).unwrap()));
    MasterKey { secret: Secret::new(bytes), seals_from: Timestamp::EPOCH, client_ids_only: false }
}

#[test]
fn t273_every_record_has_an_end_and_the_name_that_is_documented() {
    let server = Server::start(Make::Valkey9);
    let gate = Gate::ready(server.address());
    gate.run(async {
        let facts = load(&gate.store, [key(35, 0), key(35, 1)]).await;
        landed(&gate.store, &facts, vec![write(key(35, 0), 1), write(key(35, 1), 2)]).await;
    });
    let names = server.ask(&["KEYS", "*"]).list();
    assert_eq!(names.len(), 3, "two records, and the check of the ring");
    for name in names.iter().map(crate::valkey::Reply::text) {
        assert!(name.starts_with("portcullis:{"), "{name}");
        let end = server.ask(&["PTTL", &name]).number();
        if name.ends_with(":ring-check") {
            assert_eq!(end, -1, "it is for as long as the store is");
        } else {
            assert!((590_000..=600_000).contains(&end), "{name}: {end}");
        }
    }
}

#[test]
fn t270_a_record_that_somebody_has_changed_is_no_absence() {
    let server = Server::start(Make::Redis7);
    let gate = Gate::ready(server.address());
    let name = format!("portcullis:{}", key(36, 0));
    for bytes in ["", "x", "\x01123456789012345678901234567890"] {
        server.ask(&["SET", &name, bytes]);
        assert_eq!(gate.run(gate.store.load(Keys::of([key(36, 0)]))).err(), Some(Unavailable), "{bytes:?}");
    }
    server.ask(&["DEL", &name]);
    server.ask(&["LPUSH", &name, "x"]);
    // A list is no text: a reading takes it for absent, and the script refuses to write over it.
    let facts = gate.run(load(&gate.store, [key(36, 0)]));
    assert_eq!(gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(36, 0), 1)])), Outcome::Away);
}

#[test]
fn t266_a_full_store_says_so_and_goes_on_reading() {
    for make in Make::ALL {
        let server = Server::start(make);
        let gate = Gate::ready(server.address());
        let facts = gate.run(load(&gate.store, [key(37, 0)]));
        gate.run(landed(&gate.store, &facts, vec![write(key(37, 0), 1)]));
        server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        let facts = gate.run(load(&gate.store, [key(37, 0)]));
        assert_eq!(value(&facts, &key(37, 0)), Some(1));
        let full = gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(37, 0), 2)]));
        assert_eq!(full, Outcome::Full, "{make:?}");
        server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        gate.run(landed(&gate.store, &facts, vec![write(key(37, 0), 2)]));
    }
}

#[test]
fn t266_a_primary_that_becomes_a_replica_takes_nothing_more_and_is_looked_for_again() {
    let primary = Server::start(Make::Valkey9);
    let server = Server::start(Make::Valkey9);
    let gate = Gate::ready(server.address());
    let facts = gate.run(load(&gate.store, [key(38, 0)]));
    let [host, port] = [primary.address().ip().to_string(), primary.address().port().to_string()];
    server.ask(&["REPLICAOF", &host, &port]);
    let refused = gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(38, 0), 1)]));
    assert!(matches!(refused, Outcome::Away | Outcome::Stale), "{refused:?}");
    until("it is given up", || gate.run(gate.store.load(Keys::of([key(38, 0)]))).is_err());
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    until("it is back", || gate.run(gate.store.load(Keys::of([key(38, 0)]))).is_ok());
    // Its process is the same, and its history is not: what was seen before does not count.
    let again = gate.run(load(&gate.store, [key(38, 0)]));
    assert_ne!(again.epoch(), facts.epoch());
    assert_eq!(gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(38, 0), 1)])), Outcome::Stale);
    gate.run(landed(&gate.store, &again, vec![write(key(38, 0), 1)]));
}

#[test]
fn t267_another_history_of_the_same_process_is_seen_by_the_script_itself() {
    let server = Server::start(Make::Valkey8);
    let gate = Gate::ready(server.address());
    let facts = gate.run(load(&gate.store, [key(39, 0)]));
    // So fast that nobody has asked in between: a replica of nobody for a moment, and a primary again.
    let mut talk = server.talk();
    talk.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    talk.ask(&["REPLICAOF", "NO", "ONE"]);
    let stale = gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(39, 0), 1)]));
    assert_eq!(stale, Outcome::Stale);
    until("the connection knows", || gate.run(load(&gate.store, [key(39, 0)])).epoch() != facts.epoch());
    let facts = gate.run(load(&gate.store, [key(39, 0)]));
    gate.run(landed(&gate.store, &facts, vec![write(key(39, 0), 1)]));
}

#[test]
fn t269_what_keeps_somebody_out_waits_for_replicas_where_that_is_asked() {
    let primary = Server::start(Make::Valkey9);
    let gate = Gate::with(Settings { wait: 1, ..settings(primary.address()) }, sealer());
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    let durable = |value| clauses::durable(write(key(40, 0), value));
    let facts = gate.run(load(&gate.store, [key(40, 0)]));
    let alone = gate.run(gate.store.commit(Seen::of(&facts), vec![durable(1)]));
    assert_eq!(alone, Outcome::Undurable);
    assert_eq!(value(&gate.run(load(&gate.store, [key(40, 0)])), &key(40, 0)), Some(1), "the write stays");
    let replica = Server::with(Options::of(Make::Valkey9).replica_of(primary.address()));
    until("the replica follows", || replica.info("master_link_status").as_deref() == Some("up"));
    until("it is acknowledged", || {
        let facts = gate.run(load(&gate.store, [key(40, 0)]));
        let outcome = gate.run(gate.store.commit(Seen::of(&facts), vec![durable(2)]));
        matches!(outcome, Outcome::Landed(landed) if landed.acknowledged == 1)
    });
    let text = replica.ask(&["GET", &format!("portcullis:{}", key(40, 0))]);
    assert!(matches!(text, crate::valkey::Reply::Bulk(_)), "the replica has it");
    // What lets somebody in does not wait.
    let facts = gate.run(load(&gate.store, [key(41, 0)]));
    assert_eq!(gate.run(landed(&gate.store, &facts, vec![write(key(41, 0), 1)])).acknowledged, 0);
}

#[test]
fn t269_what_waits_for_replicas_at_the_same_time_waits_once() {
    // There is no replica, so a WAIT lasts a second: meanwhile the others gather, and are acknowledged, or not, together.
    let server = Server::start(Make::Valkey9);
    let gate = Gate::with(Settings { wait: 1, ..settings(server.address()) }, sealer());
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    let end = |login: u8| {
        let (store, key) = (gate.store.clone(), key(42, login));
        async move {
            let facts = load(&store, [key]).await;
            store.commit(Seen::of(&facts), vec![clauses::durable(write(key, 1))]).await
        }
    };
    let waits = || server.calls().into_iter().find(|(name, _)| name == "wait").map_or(0, |(_, times)| times);
    let begun = Instant::now();
    let outcomes = gate.run(async {
        let first = tokio::spawn(end(0));
        let sent = async || server.info("blocked_clients").as_deref() == Some("1");
        while !sent().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let others: Vec<_> = (1..50).map(|login| tokio::spawn(end(login))).collect();
        let mut outcomes = vec![first.await.unwrap()];
        for other in others {
            outcomes.push(other.await.unwrap());
        }
        outcomes
    });
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Undurable), "{outcomes:?}");
    assert_eq!(waits(), 2, "one for the first, and one for all the others");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    for login in 0..50 {
        assert_eq!(value(&gate.run(load(&gate.store, [key(42, login)])), &key(42, login)), Some(1));
    }
}

/// What docs/valkey.md gives the user, and nothing else.
pub(crate) const USER: &str = "user portcullis on >hush ~portcullis:* resetchannels -@all +info +ping +mget +getrange +set +eval +evalsha \
    +client|tracking +wait +select";

fn with_password(address: SocketAddr, password: &str) -> Settings {
    let secret = portcullis_domain::secret::SecretText::new(password.to_owned());
    let access =
        Access { username: Some("portcullis".to_owned()), password: Some(secret), database: 3, ..Access::default() };
    Settings { access, wait: 1, ..settings(address) }
}

#[test]
fn t275_the_documented_user_is_enough_and_may_do_nothing_else() {
    let documented = include_str!("../../docs/valkey.md").lines().find(|line| line.starts_with("user portcullis "));
    assert_eq!(documented.map(|line| line.replace("PASSWORD", "hush")).as_deref(), Some(USER));
    for make in Make::ALL {
        let server = Server::with(Options::of(make).acl(&[USER, "user default on nopass ~* &* +@all"]));
        let gate = Gate::with(with_password(server.address(), "hush"), sealer());
        assert_eq!(gate.run(gate.store.ready()), Ok(()), "{make:?}");
        gate.run(async {
            let facts = load(&gate.store, [key(50, 0)]).await;
            server.ask(&["SCRIPT", "FLUSH"]);
            landed(&gate.store, &facts, vec![write(key(50, 0), 1)]).await;
            assert!(gate.store.recall(Keys::of([key(50, 0)])).await.is_ok());
            let facts = load(&gate.store, [key(50, 0)]).await;
            let alone = gate.store.commit(Seen::of(&facts), vec![clauses::durable(write(key(50, 0), 2))]).await;
            assert_eq!(alone, Outcome::Undurable, "WAIT was carried out");
        });
        let forbidden = [
            "FLUSHALL",
            "KEYS *",
            "CONFIG GET save",
            "CONFIG SET save x",
            "SCRIPT FLUSH",
            "DEL a",
            "ACL LIST",
            "MONITOR",
        ];
        for command in forbidden {
            let words: Vec<&str> = command.split(' ').collect();
            let said = server.ask(&[&["ACL", "DRYRUN", "portcullis"], &words[..]].concat()).text();
            assert!(said.contains("no permissions"), "{make:?} {command}: {said}");
        }
        let elsewhere = server.ask(&["ACL", "DRYRUN", "portcullis", "MGET", "other:{a}:cut"]).text();
        assert!(elsewhere.contains("no permissions"), "{make:?}: {elsewhere}");
    }
}

#[test]
fn a_server_without_resp3_keeps_the_contract_and_is_asked_every_time() {
    for make in Make::ALL {
        let old = Options::of(make).line("rename-command HELLO \"\"");
        let server = Server::with(old.acl(&[USER, "user default on nopass ~* &* +@all"]));
        let of = |password| Gate::with(Settings { wait: 0, ..with_password(server.address(), password) }, sealer());
        let stranger = of("wrong");
        assert!(matches!(stranger.run(stranger.store.ready()), Err(Refusal::Login(_))), "{make:?}");
        let gate = of("hush");
        assert_eq!(gate.run(gate.store.ready()), Ok(()), "{make:?}");
        gate.run(clauses::all(&gate.store));
        crate::near::put(&gate, key(52, 0), 1);
        server.forget_calls();
        for _ in 0..3 {
            assert!(crate::near::gate_reads(&gate, key(52, 0), 1), "{make:?}");
            assert_eq!(crate::near::near(&gate, key(52, 0)), None, "{make:?}: nobody would tell of a change");
        }
        assert!(server.calls().contains(&("mget".to_owned(), 3)), "{make:?}: {:?}", server.calls());
    }
}

/// What `check` says of it.
pub(crate) fn examined(settings: Settings) -> String {
    runtime().block_on(Valkey::new(settings, sealer()).examine()).unwrap()
}

#[test]
fn check_says_what_a_server_forgets_to_tell_of_or_that_it_may_not_look() {
    let server = Server::with(Options::of(Make::Valkey9).acl(&[USER, "user default on nopass ~* &* +@all"]));
    for (most, warned) in [("1000000", false), ("0", false), ("5000", true)] {
        server.ask(&["CONFIG", "SET", "tracking-table-max-keys", most]);
        let said = examined(settings(server.address()));
        assert_eq!(said.contains("5000 names only: set tracking-table-max-keys 1000000"), warned, "{said}");
        assert!(said.starts_with("Valkey 9."), "{said}");
    }
    let said = examined(with_password(server.address(), "hush"));
    assert!(said.contains("may not see its tracking-table-max-keys"), "{said}");
    assert_eq!(server.ask(&["DBSIZE"]).number(), 0, "nothing is left behind");
}

#[test]
fn t270_check_says_where_what_was_acknowledged_may_not_be_on_the_disk() {
    let late = "revocations among it; set appendfsync always";
    for (persistence, said_to_be) in [
        (Persistence::Always, None),
        (Persistence::EverySecond, Some(late)),
        (Persistence::Nothing, Some("set appendonly yes and appendfsync always")),
    ] {
        let server = Server::with(Options::of(Make::Valkey8).persistence(persistence));
        let said = examined(settings(server.address()));
        assert_eq!(said.contains("; but "), said_to_be.is_some(), "{persistence:?}: {said}");
        assert!(said.contains(said_to_be.unwrap_or_default()), "{persistence:?}: {said}");
        server.ask(&["CONFIG", "SET", "appendfsync", "no"]);
        assert_eq!(
            examined(settings(server.address())).contains(late),
            persistence != Persistence::Nothing,
            "{persistence:?}"
        );
    }
}

#[test]
fn t262_a_login_that_is_refused_and_a_permission_that_is_missing_are_told_apart() {
    let server = Server::with(Options::of(Make::Valkey8).acl(&[USER, "user default on nopass ~* &* +@all"]));
    let refused = |settings| {
        let gate = Gate::with(settings, sealer());
        gate.run(gate.store.ready()).unwrap_err()
    };
    let wrong = refused(with_password(server.address(), "wrong"));
    assert!(matches!(&wrong, Refusal::Login(said) if !said.contains("wrong")), "{wrong}");
    server.ask(&["ACL", "SETUSER", "portcullis", "-info"]);
    let forbidden = refused(with_password(server.address(), "hush"));
    assert!(matches!(forbidden, Refusal::Forbidden(_)), "{forbidden}");
    server.ask(&["ACL", "SETUSER", "portcullis", "+info"]);

    // What is taken away while the gate runs is 503, and comes back with the permission.
    let gate = Gate::with(Settings { wait: 0, ..with_password(server.address(), "hush") }, sealer());
    assert_eq!(gate.run(gate.store.ready()), Ok(()));
    let facts = gate.run(load(&gate.store, [key(51, 0)]));
    server.ask(&["ACL", "SETUSER", "portcullis", "-set"]);
    let refused = gate.run(gate.store.commit(Seen::of(&facts), vec![write(key(51, 0), 1)]));
    assert_eq!(refused, Outcome::Away);
    server.ask(&["ACL", "SETUSER", "portcullis", "-mget"]);
    assert_eq!(gate.run(gate.store.load(Keys::of([key(51, 0)]))).err(), Some(Unavailable));
    server.ask(&["ACL", "SETUSER", "portcullis", "+set", "+mget"]);
    gate.run(landed(&gate.store, &facts, vec![write(key(51, 0), 1)]));
}
