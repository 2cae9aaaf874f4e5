//! Where sessions are kept: in this process, or on servers that replicas share.

use super::complaint::{Wrong, wrong};
use super::keys::{Keys, Part, Text, keys, objects};
use super::place::Place;
use super::values::{CaFile, CertificateFile, KeyFile, texts, unless};
use super::words::StorageType;
use portcullis_domain::limits::{HOST_MAX, KEY_PREFIX_MAX, STALE_MAX, STORE_SERVERS_MAX, STREAM_STALE};
use portcullis_domain::secret::SecretText;
use serde_json::{Value as Json, json};
use std::net::Ipv6Addr;
use std::time::Duration;

keys! {
    /// Where sessions are kept.
    pub struct Storage judged as StorageDraft by storage {
        kind: StorageType = required("type") "memory: in this process, forgotten at a restart; valkey: on Valkey or Redis, for any number of replicas.",
        valkey: Option<Valkey> = optional("valkey") "The servers, with `type` valkey.",
        stale_for: Duration = duration("staleFor", Duration::ZERO, Duration::ZERO..=STALE_MAX) "How much longer requests are admitted by what was known while the servers do not answer.",
        stream_stale_for: Duration = duration("streamStaleFor", STREAM_STALE, Duration::ZERO..=STALE_MAX) "How long open answers run on while the servers do not answer.",
    }
}

keys! {
    /// Valkey or Redis, as one server, as a primary under Sentinels, or as a cluster.
    pub struct Valkey judged as ValkeyDraft by valkey {
        servers: Servers = part() "Where it is.",
        username: Option<ServerUser> = optional("username") "A user of its access control list; left out, the default user.",
        password: Option<SecretText> = optional_secret(&["password", "passwordFile"], 1) "That user's password.",
        tls_enabled: bool = or("tlsEnabled", false) "Speak TLS to all of its servers, and to the Sentinels.",
        tls_server_name: Option<ServerName> = optional("tlsServerName") "The name in the servers' certificates, where it is not the host in their addresses.",
        tls_ca_file: Option<CaFile> = optional("tlsCaFile") "A file of PEM certificates that are trusted for it beside `caFiles`.",
        tls_cert_file: Option<CertificateFile> = optional("tlsCertFile") "The gate's own certificate for servers that ask for one, as PEM with its chain.",
        tls_key_file: Option<KeyFile> = optional("tlsKeyFile") "The private key of `tlsCertFile`, as PEM.",
        db: u32 = number("db", 0, 0..=65_535) "The number of the database.",
        key_prefix: KeyPrefix = or("keyPrefix", "portcullis:") "What the name of every record begins with.",
        wait_replicas: u32 = number("waitReplicas", 0, 0..=16) "How many replicas must have a revocation before it is answered; with too few, it is answered with 503, and stays.",
    }
}

keys! {
    /// A primary whose place Sentinels know.
    pub struct Sentinel {
        master_name: MasterName = required("masterName") "What they call the primary.",
        addresses: Vec<ServerAddress> = some("addresses") "Where they are, as host:port.",
        username: Option<ServerUser> = optional("username") "A user of their access control list; left out, the default user.",
        password: Option<SecretText> = optional_secret(&["password", "passwordFile"], 1) "That user's password there.",
    }
}

objects!(Storage, Valkey, Sentinel);

/// Where the servers are.
#[derive(Clone, Debug)]
pub enum Servers {
    /// One.
    Standalone(ServerAddress),
    /// Where Sentinels say.
    Sentinel(Sentinel),
    /// Where these nodes of a cluster say.
    Cluster(Vec<ServerAddress>),
}

impl Part for Servers {
    fn walk(keys: &mut Keys<'_>) -> Option<Self> {
        keys.choice(&["url", "sentinel", "cluster"], true);
        let one = keys.optional::<ServerAddress>("url", "The address of the one server, as host:port.");
        let sentinel = keys.optional::<Sentinel>("sentinel", "Sentinels that say which server is the primary.");
        let cluster = keys.optional::<Vec<ServerAddress>>(
            "cluster",
            "Nodes of a cluster, as host:port, that say which node serves what.",
        );
        match (one?, sentinel?, cluster?) {
            (Some(one), None, None) => Some(Self::Standalone(one)),
            (None, Some(sentinel), None) => Some(Self::Sentinel(sentinel)),
            (None, None, Some(nodes)) if nodes.is_empty() => {
                keys.place()?.key("cluster").complain("is empty", "write the address of at least one node");
                None
            }
            (None, None, Some(nodes)) => Some(Self::Cluster(nodes)),
            _ => None,
        }
    }
}

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Text for ServerAddress {
    fn shape() -> Json {
        json!({ "pattern": "^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$" })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        const NOT_ONE: Wrong =
            wrong("is not the address of a server", "write host:port, as valkey.example.com:6379, without a scheme");
        let (host, port) = text.rsplit_once(':').ok_or(NOT_ONE)?;
        let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0).ok_or(NOT_ONE)?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.filter(|inner| inner.parse::<Ipv6Addr>().is_ok()),
            None => Some(host).filter(|host| is_host_name(host)),
        };
        Ok(Self { host: host.ok_or(NOT_ONE)?.to_owned(), port })
    }
}

fn is_host_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    !text.is_empty() && text.len() <= HOST_MAX && letters
}

texts! {
    /// The name in a server's certificate.
    pub struct ServerName: json!({ "maxLength": HOST_MAX }), |text| {
        unless(!is_host_name(text), "is not a host name", "write the name that stands in the certificate")
    };

    /// A user of a server's access control list.
    pub struct ServerUser: json!({ "maxLength": 128 }), |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        unless(text.is_empty() || text.len() > 128 || !plain, "is not a user", "write plain ASCII without spaces")
    };

    /// What Sentinels call a primary.
    pub struct MasterName: json!({ "pattern": "^[A-Za-z0-9._-]+$" }), |text| {
        unless(!is_host_name(text), "is not the name of a primary", "write what stands behind `sentinel monitor`")
    };

    /// What the name of every record begins with.
    pub struct KeyPrefix: json!({ "maxLength": KEY_PREFIX_MAX, "pattern": "^[!-z|~]*$" }), |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte));
        let instead = "write at most 64 letters, digits and marks without spaces and braces, as portcullis:";
        unless(text.len() > KEY_PREFIX_MAX || !plain, "cannot stand before the names of records", instead)
    };
}

/// The rules of where sessions are kept.
fn storage(draft: &StorageDraft, at: &Place<'_>) {
    match (draft.kind, &draft.valkey) {
        (Some(StorageType::Valkey), Some(None)) => {
            at.key("valkey").complain("is missing", "add it, with url, or with sentinel");
        }
        (Some(StorageType::Memory), Some(Some(_))) => {
            at.key("valkey").complain("is of no use with memory", "write \"valkey\" in type, or remove it");
        }
        _ => {}
    }
}

/// The rules of the servers.
fn valkey(draft: &ValkeyDraft, at: &Place<'_>) {
    if let (Some(Some(_)), Some(None)) = (&draft.username, &draft.password) {
        at.key("password").complain("is missing beside username", "give password or passwordFile");
    }
    if let Some(Servers::Sentinel(sentinel)) = &draft.servers
        && sentinel.addresses.len() > STORE_SERVERS_MAX
    {
        at.key("sentinel").key("addresses").complain("holds too many addresses", "keep at most 16");
    }
    if let Some(Servers::Cluster(nodes)) = &draft.servers {
        if nodes.len() > STORE_SERVERS_MAX {
            at.key("cluster").complain("holds too many addresses", "keep at most 16: they name the others");
        }
        if draft.db.is_some_and(|db| db != 0) {
            at.key("db")
                .complain("is not 0, and a cluster has no other", "remove it, and tell gates apart by keyPrefix");
        }
    }
    // What could not be read was complained of, and is not missing.
    let certificate = !matches!(draft.tls_cert_file, Some(None));
    let key = !matches!(draft.tls_key_file, Some(None));
    if certificate != key {
        let missing = if certificate { "tlsKeyFile" } else { "tlsCertFile" };
        at.key(missing)
            .complain("is missing", "a certificate and its private key belong together: name both files, or none");
    }
    if draft.tls_enabled != Some(false) {
        return;
    }
    let given = [
        (matches!(draft.tls_server_name, Some(Some(_))), "tlsServerName"),
        (matches!(draft.tls_ca_file, Some(Some(_))), "tlsCaFile"),
        (matches!(draft.tls_cert_file, Some(Some(_))), "tlsCertFile"),
    ];
    for (_, name) in given.into_iter().filter(|(given, _)| *given) {
        at.key(name).complain("is of no use without tlsEnabled", "set tlsEnabled, or remove it");
    }
}
