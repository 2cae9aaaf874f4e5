//! A primary with one replica, and three Sentinels that watch over them.

use super::server::{Folder, Make, Options, Server, Tls, free_address};
use super::talk::Reply;
use super::{PATIENCE, until};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The name of the set.
pub const SET: &str = "sessions";

/// The servers, in no order that lasts, and their Sentinels.
pub struct Sentinels {
    pub servers: Vec<Server>,
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    pub fn start(make: Make) -> Self {
        Self::with(&Options::of(make))
    }

    /// A set whose servers both run like this.
    pub fn with(options: &Options) -> Self {
        let primary = Server::with(options.clone());
        let replica = Server::with(options.clone().replica_of(primary.address()));
        until("the replica has caught up", || replica.info("master_link_status").as_deref() == Some("up"));
        let sentinels: Vec<Server> = (0..3).map(|_| sentinel(options, primary.address())).collect();
        let set = Self { servers: vec![primary, replica], sentinels };
        set.until_watched();
        set
    }

    /// Waits until every Sentinel knows the others and a replica that could take over.
    pub fn until_watched(&self) {
        // On a busy machine Sentinels may replace a primary that lives, and it goes on for ten seconds or more before they make it
        // a replica.
        let end = Instant::now() + Duration::from_secs(60);
        while !self.is_watched() {
            assert!(Instant::now() < end, "no replica could take over: {}", self.told());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether all Sentinels agree on the primary, know each other, and know a replica that is in step with it.
    fn is_watched(&self) -> bool {
        let primary = self.sentinels[0].ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SET]);
        self.sentinels.iter().all(|sentinel| {
            let known = sentinel.ask(&["SENTINEL", "SENTINELS", SET]).list().len();
            let replicas = sentinel.ask(&["SENTINEL", "REPLICAS", SET]).list();
            let sound = |replica: &Reply| {
                let fields = replica.clone().list();
                let field =
                    |name: &str| fields.iter().position(|field| field.text() == name).map(|at| fields[at + 1].text());
                field("flags").as_deref() == Some("slave") && field("master-link-status").as_deref() == Some("ok")
            };
            sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SET]) == primary
                && known == 2
                && replicas.iter().any(sound)
        })
    }

    /// What each server is by its own word, and the last that each Sentinel has said.
    fn told(&self) -> String {
        let role = |server: &Server| {
            format!("{} {:?} {:?}\n", server.address(), server.info("role"), server.info("master_link_status"))
        };
        let last = |sentinel: &Server| {
            let log = sentinel.log();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n") + "\n\n"
        };
        self.servers.iter().map(role).chain(self.sentinels.iter().map(last)).collect()
    }

    /// Where the Sentinels listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(Server::address).collect()
    }

    /// The place in `servers` of the primary, by the first Sentinel's word.
    pub fn primary(&self) -> usize {
        let address = self.sentinels[0].ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SET]).list();
        let address: SocketAddr = format!("{}:{}", address[0].text(), address[1].text()).parse().unwrap();
        self.servers.iter().position(|server| server.address() == address).unwrap()
    }

    /// Waits until another server than this has become the primary, and says so of itself.
    pub fn until_other_than(&self, last: usize) -> usize {
        until("another server is the primary", || self.is_led_by_other_than(last));
        self.primary()
    }

    fn is_led_by_other_than(&self, last: usize) -> bool {
        let primary = self.primary();
        primary != last && self.servers[primary].info("role").as_deref() == Some("master")
    }

    /// Kills the primary, waits until the replica has taken over, and starts the killed one again, as a replica.
    pub fn fail_over(&mut self) {
        let (_, made) = self.kill_primary();
        assert!(made, "no replica took over: {}", self.told());
    }

    /// The same, but if nobody takes over, the killed one starts again as it was. When the kill was, and whether another took over.
    pub fn kill_primary(&mut self) -> (RangeInclusive<Instant>, bool) {
        let last = self.primary();
        let begun = Instant::now();
        self.servers[last].kill();
        let killed = begun..=Instant::now();
        let made = comes_about(|| self.is_led_by_other_than(last));
        if made {
            let primary = self.servers[self.primary()].address();
            self.servers[last].again_below(primary);
        } else {
            self.servers[last].again();
        }
        self.until_watched();
        (killed, made)
    }

    /// Has the Sentinels put the replica in the primary's place while both live. When that was; nothing if they cannot do it now.
    ///
    /// With `COORDINATED`, as Valkey 9.1 can, the primary waits for its replica and steps back. Otherwise it goes on beside the next one
    /// until the Sentinels make it a replica, ten seconds later and more.
    pub fn hand_over(&mut self, coordinated: bool) -> Option<RangeInclusive<Instant>> {
        let last = self.primary();
        let begun = Instant::now();
        let words = ["SENTINEL", "FAILOVER", SET, "COORDINATED"];
        match self.sentinels[0].talk().try_ask(if coordinated { &words } else { &words[..3] }).unwrap() {
            Reply::Error(said) if ["NOGOODSLAVE", "INPROG"].iter().any(|code| said.starts_with(code)) => return None,
            Reply::Error(said) => panic!("{said}"),
            _ => {}
        }
        let made = comes_about(|| self.is_led_by_other_than(last)).then(|| begun..=Instant::now());
        self.until_watched();
        made
    }
}

/// Whether something happens that may not happen.
fn comes_about(mut happened: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if happened() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// One that is spoken to, and speaks, as its servers are.
fn sentinel(options: &Options, primary: SocketAddr) -> Server {
    let own = Options { tls: options.tls, ..Options::of(options.make) };
    let address = free_address(own.tls != Tls::None);
    let (ip, port) = (primary.ip(), primary.port());
    // A primary that has just taken over is not taken for dead because a busy machine answers its first PING late.
    let text = format!(
        "bind {own}\n{listens}\nprotected-mode no\nsentinel announce-ip {own}\nsentinel announce-port {own_port}\n\
         sentinel monitor {SET} {ip} {port} 2\nsentinel down-after-milliseconds {SET} 3000\n\
         sentinel failover-timeout {SET} 3000\n",
        own = address.ip(),
        listens = own.listens(address.port()),
        own_port = address.port(),
    );
    Server::run(own, address, Folder::new(), &text, &["--sentinel"])
}
