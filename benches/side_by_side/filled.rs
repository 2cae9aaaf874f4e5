//! The gate before a store that holds a great many sessions already: the same operations that logins and redeemed codes go through, in
//! the process that has the store, because a million logins through a browser and a provider would take half an hour.
//!
//! With its sessions in memory it is a process of its own, which makes them first and then listens: listener, routes, admission, forwarding
//! and store are the product's, only the wiring is that of this bench. On Valkey the sessions are made here, and written through the
//! product's own link and script; who answers is the gate itself, which finds them there under the same master key.

use super::engine::fixture::{Party, policy, sealer};
use super::engine::world::Elsewhere;
use super::harness::process::Process;
use portcullis_adapters::gate::{Allowance, AllowedOrigins, Behind, Gate, Introduction, Protection, Streams};
use portcullis_adapters::http::peer::TrustedProxies;
use portcullis_adapters::http::{Bound, Plain, Settings, Upstream, serve};
use portcullis_adapters::memory::Memory;
use portcullis_adapters::system::{
    CountedJournal, PersonLimiter, ProcessTurnstiles, RuntimeTasks, SystemClock, SystemEntropy,
};
use portcullis_adapters::valkey::{Access, Endpoint, Mode, Settings as StoreSettings, Valkey};
use portcullis_domain::bucket::Rate;
use portcullis_domain::oidc::profile::GENERIC;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request::Credentials;
use portcullis_domain::operation::Epoch;
use portcullis_domain::secret::SecretText;
use portcullis_ports::gateway::Gateway;
use portcullis_ports::{Clock, Store, World, transact};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// The product's parts around a store, as far as anybody needs them who has logged in.
struct Surroundings<S> {
    store: S,
    clock: SystemClock,
    entropy: SystemEntropy,
    journal: CountedJournal,
    tasks: RuntimeTasks,
    turnstiles: ProcessTurnstiles,
}

impl<S: Store> Surroundings<S> {
    fn around(store: S) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock: SystemClock::start(),
            entropy: SystemEntropy::new(),
            journal: CountedJournal::default(),
            tasks: RuntimeTasks::default(),
            turnstiles: ProcessTurnstiles::default(),
        })
    }
}

impl<S: Store> World for Surroundings<S> {
    type Store = S;
    type Clock = SystemClock;
    type Entropy = SystemEntropy;
    type Journal = CountedJournal;
    type Tasks = RuntimeTasks;
    type Turnstiles = ProcessTurnstiles;
    type Provider = Elsewhere;
    type Documents = Elsewhere;
    type Issuers = Elsewhere;
    type Limiter = Elsewhere;

    fn store(&self) -> &S {
        &self.store
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn entropy(&self) -> &SystemEntropy {
        &self.entropy
    }

    fn journal(&self) -> &CountedJournal {
        &self.journal
    }

    fn tasks(&self) -> &RuntimeTasks {
        &self.tasks
    }

    fn turnstiles(&self) -> &ProcessTurnstiles {
        &self.turnstiles
    }

    fn provider(&self) -> &Elsewhere {
        &Elsewhere
    }

    fn documents(&self) -> &Elsewhere {
        &Elsewhere
    }

    fn issuers(&self) -> &Elsewhere {
        &Elsewhere
    }

    fn limiter(&self) -> &Elsewhere {
        &Elsewhere
    }
}

/// The session of this person: login and redeemed code. Its access token.
async fn session<S: Store>(world: &Arc<Surroundings<S>>, number: usize) -> String {
    let policy = policy(Duration::from_secs(60));
    let party = Party::new(&policy, number as u64, 1, number as u64);
    let mut callback = party.callback(world.clock.now());
    // What a provider usually says of somebody.
    callback.claims.email = Some(format!("person-{number}@example.com"));
    callback.claims.email_verified = true;
    callback.claims.name = Some(format!("Person {number}"));
    callback.claims.groups = vec!["staff".to_owned(), "engineering".to_owned()];
    let code = transact(world, callback).await.unwrap();
    transact(world, party.exchange(code.expose(), None)).await.unwrap().access.expose().to_owned()
}

/// Where a gate with its sessions in memory is told what to hold: the first argument of its process, and then [`in_memory`]'s.
pub const IN_MEMORY: &str = "--gate-in-memory";

/// A gate that holds so many sessions in memory, as a process of its own, and their access tokens.
pub fn gate_in_memory(folder: &Path, listen: SocketAddr, behind: SocketAddr, count: usize) -> (Process, Vec<String>) {
    let file = folder.join(format!("tokens-{count}"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([IN_MEMORY, &listen.to_string(), &behind.to_string(), &count.to_string()]).arg(&file);
    let process = Process::start(&mut command);
    let begun = std::time::Instant::now();
    // A hundred microseconds for each would be slow.
    while std::net::TcpStream::connect(listen).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(30) + Duration::from_micros(100) * count as u32,
            "it never listens"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let lines = BufReader::new(std::fs::File::open(&file).unwrap()).lines();
    let tokens = lines.map(Result::unwrap).collect();
    std::fs::remove_file(file).unwrap();
    (process, tokens)
}

/// That process: it makes its sessions, writes their tokens into the file, listens, and goes on until it is killed.
pub fn in_memory(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().expect("listen, upstream, count and file");
    let (listen, behind, count, file) = (next(), next(), next().parse().unwrap(), next());
    let world = Surroundings::around(Memory::new(Epoch([1; 16])));
    let mut tokens = BufWriter::new(std::fs::File::create(file).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for number in 0..count {
            writeln!(tokens, "{}", session(&world, number).await).unwrap();
        }
    });
    tokens.flush().unwrap();
    drop((tokens, runtime));

    let policy = policy(Duration::from_secs(60));
    let often = Rate::new(1_000_000, Duration::from_secs(1), 1_000_000);
    let upstream = Upstream::at([format!("http://{behind}/mcp").as_str()], None, None).unwrap();
    let allowance = Allowance { people: PersonLimiter::new(often), body_max: 4 << 20 };
    let origins = AllowedOrigins::of(&policy.base_url, None);
    let (resource, behind) = (policy.resources.iter().next().unwrap(), Behind::Server(Arc::new(upstream)));
    let protection = Protection::default().with(resource, behind, origins, allowance, Introduction::default());
    let credentials = Credentials { client_id: "bench".to_owned(), client_secret: SecretText::new("bench".to_owned()) };
    let gateway = Gateway::new(world, policy, RelyingParty::new(credentials, GENERIC));
    let streams = Streams { overrun: Duration::from_secs(3_600), stale_for: Duration::from_secs(30) };
    let gate = Gate::new(gateway, "nobody", TrustedProxies::default(), protection, streams).unwrap();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bound = Bound::new(listen.parse().unwrap(), cores).unwrap();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    serve(bound, Settings::default(), Plain, move |_| gate.on_core(), stopped).unwrap().join();
}

/// The master key of the sessions that are made here, as a gate's configuration names it.
pub fn master_key() -> String {
    (1..=32).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes these sessions on the server at this address, so many at once. Their access tokens.
pub fn on_valkey(server: SocketAddr, numbers: Range<usize>) -> Vec<String> {
    const AT_ONCE: usize = 128;
    let access = Access { tls: None, username: None, password: None, database: 0 };
    let endpoint = Endpoint { host: server.ip().to_string(), port: server.port() };
    let settings = StoreSettings {
        mode: Mode::Standalone(endpoint),
        access,
        prefix: "portcullis:".to_owned(),
        wait: 0,
        stale_for: Duration::ZERO,
    };
    let valkey = Valkey::new(settings, sealer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let running = tokio::spawn(valkey.clone().run());
        valkey.ready().await.unwrap_or_else(|refusal| panic!("{refusal}"));
        let world = Surroundings::around(valkey);
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                let (world, numbers) = (Arc::clone(&world), numbers.clone());
                tokio::spawn(async move {
                    let mut tokens = Vec::new();
                    for number in numbers.skip(worker).step_by(AT_ONCE) {
                        tokens.push(session(&world, number).await);
                    }
                    tokens
                })
            })
            .collect();
        let mut tokens = Vec::with_capacity(numbers.len());
        for worker in workers {
            tokens.append(&mut worker.await.unwrap());
        }
        running.abort();
        tokens
    })
}
