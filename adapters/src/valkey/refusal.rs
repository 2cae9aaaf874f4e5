//! Why a server is not used.

use std::fmt;

/// Why there is no link to a server. The first group may pass by itself; the second needs the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody answers there, or not in time.
    Unreachable(String),
    /// It still reads its files.
    Loading,
    /// It is a replica, and takes no writes.
    Replica,
    /// What it says is not RESP, or not the answer to what was asked.
    Nonsense,
    /// No Sentinel says where the primary is.
    NoPrimary,
    /// The cluster does not say who serves all of its slots.
    NoMap,

    /// TLS cannot be agreed on.
    Tls(String),
    /// It does not know this user, or not this password.
    Login(String),
    /// The user may not do what is needed.
    Forbidden(String),
    /// It may throw records away.
    Evicts(String),
    /// It is part of a cluster, and the configuration says that it is not, or the other way round.
    Mode {
        /// Whether it is.
        is_cluster: bool,
    },
    /// Its records were written under other master keys.
    OtherRing,
    /// It answers with this error.
    Error(String),
}

impl Refusal {
    /// Whether it passes only when somebody changes a configuration, here or there.
    #[must_use]
    pub const fn needs_somebody(&self) -> bool {
        matches!(
            self,
            Self::Login(_) | Self::Forbidden(_) | Self::Evicts(_) | Self::Mode { .. } | Self::OtherRing | Self::Tls(_)
        )
    }

    /// What to do about it.
    #[must_use]
    pub const fn instead(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "start it, or write in storage.valkey where it is",
            Self::Loading => "wait until it has read its files",
            Self::Replica => "write the address of the primary, or name its Sentinels",
            Self::Nonsense => "write the address of a Valkey or Redis server; with TLS on its port, set tlsEnabled",
            Self::NoPrimary => "look at sentinel.masterName and sentinel.addresses, and at what the Sentinels say",
            Self::NoMap => "look at CLUSTER INFO: every slot needs a primary",
            Self::Tls(_) => "look at tlsEnabled, tlsServerName, tlsCaFile, tlsCertFile and tlsKeyFile",
            Self::Login(_) => "look at username and password",
            Self::Forbidden(_) => "give the user the commands and keys that docs/valkey.md lists",
            Self::Evicts(_) => "set maxmemory-policy noeviction on it",
            Self::Mode { is_cluster: true } => "name a server that is part of no cluster",
            Self::Mode { is_cluster: false } => "name nodes of a cluster",
            Self::OtherRing => "use the master keys of the other replicas, or another keyPrefix or database",
            Self::Error(_) => "look at the server's own log",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(out, "cannot be reached: {why}"),
            Self::Loading => out.write_str("is still reading its files"),
            Self::Replica => out.write_str("is a replica, and takes no writes"),
            Self::Nonsense => out.write_str("does not speak as Valkey and Redis do"),
            Self::NoPrimary => out.write_str("has no Sentinel that names a primary"),
            Self::NoMap => out.write_str("is a cluster in which not every slot has a primary"),
            Self::Tls(why) => write!(out, "agrees on no TLS: {why}"),
            Self::Login(said) => write!(out, "refuses the login: {said}"),
            Self::Forbidden(said) => write!(out, "forbids what is needed: {said}"),
            Self::Evicts(policy) => write!(out, "may throw live sessions away: its maxmemory-policy is {policy}"),
            Self::Mode { is_cluster: true } => {
                out.write_str("is part of a cluster, and the configuration says that it is not")
            }
            Self::Mode { is_cluster: false } => {
                out.write_str("is no part of a cluster, and the configuration says that it is")
            }
            Self::OtherRing => out.write_str("holds records that were written under other master keys"),
            Self::Error(said) => write!(out, "answers with an error: {said}"),
        }
    }
}

/// What a server has said, in a form that can be written to a log: short, and on one line.
pub(super) fn quoted(said: &[u8]) -> String {
    String::from_utf8_lossy(said).chars().take(160).flat_map(char::escape_debug).collect()
}
