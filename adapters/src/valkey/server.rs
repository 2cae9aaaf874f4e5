//! What a server says of itself, and whether sessions may be entrusted to it.
//!
//! `INFO` is asked for everything, because it needs no permission to read the configuration (`CONFIG GET` is often forbidden).

use super::refusal::Refusal;
use portcullis_domain::limits::STORE_CLOCKS_APART;
use portcullis_domain::operation::Epoch;
use portcullis_domain::time::Timestamp;
use std::fmt;

/// A server, as of the moment when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Valkey, or else Redis, whose version Valkey states as well.
    pub is_valkey: bool,
    /// Its version.
    pub version: [u16; 3],
    /// Which process this is; another one after every restart.
    pub run: String,
    /// Which life of it, and of the data in it.
    pub epoch: Epoch,
    /// Whether it takes writes.
    pub is_primary: bool,
    /// Whether it is part of a cluster.
    pub is_cluster: bool,
    /// Whether it still reads its files.
    pub is_loading: bool,
    /// Whether it keeps a log of writes on disk.
    pub appends: bool,
    /// What it does when its memory is full.
    pub eviction: String,
    /// Whether its clock and ours showed times that were too far apart.
    pub is_apart: bool,
}

impl Server {
    /// From the text of `INFO`, and what our clock shows. What is not there is taken for the worst: a server that does not say what it
    /// does is not used.
    #[must_use]
    pub fn read(info: &str, now: Timestamp) -> Option<Self> {
        let own = field(info, "valkey_version");
        let run = field(info, "run_id")?;
        let micros = field(info, "server_time_usec").and_then(|time| time.parse::<u64>().ok());
        let clock = micros.and_then(|micros| micros.checked_div(1_000)).map(Timestamp::from_millis);
        Some(Self {
            is_valkey: own.is_some(),
            version: version(own.or_else(|| field(info, "redis_version"))?),
            run: run.to_owned(),
            epoch: epoch(run, field(info, "master_replid")?)?,
            is_primary: field(info, "role")? == "master",
            is_cluster: field(info, "cluster_enabled") == Some("1"),
            is_loading: field(info, "loading") != Some("0"),
            appends: field(info, "aof_enabled") == Some("1"),
            eviction: field(info, "maxmemory_policy").unwrap_or("unknown").to_owned(),
            is_apart: clock.is_some_and(|clock| now.since(clock).max(clock.since(now)) > STORE_CLOCKS_APART),
        })
    }

    /// Whether sessions may be kept on it.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self) -> Result<(), Refusal> {
        if self.is_loading {
            return Err(Refusal::Loading);
        }
        if self.eviction != KEEPS {
            return Err(Refusal::Evicts(self.eviction.clone()));
        }
        if !self.is_primary {
            return Err(Refusal::Replica);
        }
        Ok(())
    }

    /// What is allowed, and worth a warning.
    pub fn warnings(&self) -> impl Iterator<Item = &'static str> {
        let old = match (self.is_valkey, self.version) {
            (true, [9, 0, patch]) => patch < 5,
            (true, version) => version < [8, 1, 6],
            (false, version) => version < [7, 0, 0],
        };
        let old = old.then_some(
            "the store is older than Valkey 8.1.6, 9.0.5 or Redis 7.0, and lacks corrections of its security: update it",
        );
        let forgets = (!self.appends).then_some(
            "the store keeps no log on disk, and forgets sessions when it ends: set appendonly yes and appendfsync always",
        );
        let apart = self.is_apart.then_some(
            "the store's clock and this gate's are more than five seconds apart, and one of them is wrong: sessions end too early or too \
             late, and cuts miss what has begun; have one time service set both",
        );
        old.into_iter().chain(forgets).chain(apart)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.version;
        write!(out, "{} {major}.{minor}.{patch}", if self.is_valkey { "Valkey" } else { "Redis" })
    }
}

/// What it says of itself, as far as it changes while a connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) is_primary: bool,
    pub(super) evicts: bool,
    pub(super) epoch: Epoch,
}

impl Role {
    /// From the text of `INFO` of this process.
    pub(super) fn read(run: &str, info: &str) -> Option<Self> {
        let is_primary = field(info, "role")? == "master";
        let evicts = field(info, "maxmemory_policy") != Some(KEEPS);
        Some(Self { is_primary, evicts, epoch: epoch(run, field(info, "master_replid")?)? })
    }
}

/// The life of a store: half of which process it is, and half of which history its data has. A restart changes the first, a
/// failover both. Each half is the first 16 of the 40 random hexadecimal digits that the server made for it.
fn epoch(run: &str, replication: &str) -> Option<Epoch> {
    let half = |text: &str| u64::from_str_radix(text.get(..HALF)?, 16).ok().map(u64::to_be_bytes);
    let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (half(run)?, half(replication)?);
    Some(Epoch([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
}

/// The digits of an epoch's second half: how the name of the history begins, as the script compares it.
pub(super) fn history(epoch: Epoch) -> String {
    let (_, half) = epoch.0.split_at(8);
    half.iter().fold(String::with_capacity(HALF), |digits, byte| format!("{digits}{byte:02x}"))
}

const HALF: usize = 16;

/// The only policy under which nothing is thrown away.
const KEEPS: &str = "noeviction";

/// The value of one line, as `name:value`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

fn version(text: &str) -> [u16; 3] {
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.8\r\nrun_id:00112233445566778899aabbccddeeff00112233\r\n# Persistence\r\nloading:0\r\n\
        aof_enabled:1\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n# Replication\r\nrole:master\r\nmaster_replid:ff112233445566778899aabbccddeeff00112233\r\n\
        # Cluster\r\ncluster_enabled:0\r\n";

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn read(info: &str) -> Option<Server> {
        Server::read(info, NOW)
    }

    #[test]
    fn t279_a_clock_that_is_far_from_ours_is_warned_of() {
        for (seconds, apart) in [(0, false), (4, false), (-4, false), (6, true), (-6, true), (400_000_000, true)] {
            let time = 1_800_000_000_i64.saturating_add(seconds);
            let server = read(&format!("{INFO}server_time_usec:{time}000000\r\n")).unwrap();
            assert_eq!((server.is_apart, server.warnings().count()), (apart, usize::from(apart)), "{seconds}");
        }
        assert!(!read(&format!("{INFO}server_time_usec:x\r\n")).unwrap().is_apart, "who does not say is not blamed");
    }

    #[test]
    fn a_server_says_what_it_is() {
        let server = read(INFO).unwrap();
        assert!(server.is_valkey && server.is_primary && server.appends && !server.is_cluster && !server.is_loading);
        assert_eq!(server.version, [8, 1, 8]);
        assert_eq!(server.judge(), Ok(()));
        assert_eq!(server.warnings().count(), 0);
        assert_eq!(read(&INFO.replace("run_id", "x")), None);
        assert_eq!(read(&INFO.replace("master_replid", "x")), None);
    }

    #[test]
    fn t266_a_server_that_reads_its_files_and_one_that_is_a_replica_are_refused() {
        for (from, to, refusal) in [
            ("loading:0", "loading:1", Refusal::Loading),
            ("loading:0", "", Refusal::Loading),
            ("role:master", "role:slave", Refusal::Replica),
        ] {
            assert_eq!(read(&INFO.replace(from, to)).unwrap().judge(), Err(refusal), "{to}");
        }
    }

    #[test]
    fn t271_a_server_that_may_evict_live_records_is_refused() {
        for policy in ["allkeys-lru", "volatile-ttl", "volatile-random", ""] {
            let server = read(&INFO.replace("noeviction", policy)).unwrap();
            assert_eq!(server.judge(), Err(Refusal::Evicts(policy.to_owned())));
        }
        let silent = read(&INFO.replace("maxmemory_policy", "x")).unwrap();
        assert!(silent.judge().is_err(), "a server that does not say is not trusted");
        for (policy, evicts) in [("noeviction", false), ("allkeys-lru", true), ("", true)] {
            let role = Role::read("0123456789abcdef", &INFO.replace("noeviction", policy)).unwrap();
            assert_eq!(role.evicts, evicts, "{policy}: it is looked at again while a connection lasts");
        }
    }

    #[test]
    fn r82_old_servers_and_servers_that_forget_are_warned_of() {
        let warned = |from: &str, to: &str| read(&INFO.replace(from, to)).unwrap().warnings().count();
        assert_eq!(warned("aof_enabled:1", "aof_enabled:0"), 1);
        for (version, old) in [("8.1.5", 1), ("8.1.6", 0), ("9.0.4", 1), ("9.0.5", 0), ("9.1.0", 0), ("7.2.9", 1)] {
            assert_eq!(warned("8.1.8", version), old, "{version}");
        }
        let redis = INFO.replace("valkey_version:8.1.8\r\n", "");
        assert_eq!(read(&redis).unwrap().warnings().count(), 0);
        assert_eq!(read(&redis.replace("7.2.4", "6.2.0")).unwrap().warnings().count(), 1);
    }

    #[test]
    fn t267_another_process_or_another_history_is_another_epoch() {
        let Server { run, epoch: first, .. } = read(INFO).unwrap();
        assert_ne!(read(&INFO.replace("run_id:00", "run_id:01")).unwrap().epoch, first);
        assert_ne!(read(&INFO.replace("replid:ff", "replid:fe")).unwrap().epoch, first);
        assert_eq!(Role::read(&run, INFO).unwrap(), Role { is_primary: true, evicts: false, epoch: first });
        assert_eq!(history(first), "ff11223344556677");
        assert_eq!(read(&INFO.replace("replid:ff", "replid:zz")), None);
    }
}
