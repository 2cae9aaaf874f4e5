//! From a name to its addresses, once per call, bounded in time and number.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use portcullis_domain::limits::{FETCH_ADDRESSES_MAX, FETCH_LOOKUP_DEADLINE, FETCH_LOOKUPS_MAX};
use tokio::time::timeout;

use super::Refusal;
use crate::apart::Apart;

/// Whoever knows the addresses of names.
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of `host`, a name in lower case; at most one more than [`FETCH_ADDRESSES_MAX`].
    ///
    /// # Errors
    /// [`Refusal::Resolve`] or [`Refusal::ResolveDeadline`]; a name without addresses may also be an empty list.
    fn resolve(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, Refusal>> + Send;
}

/// The resolver of the operating system (`getaddrinfo`).
///
/// A lookup cannot be called back, so one that outlives its deadline keeps its thread until the system gives up. Their number has
/// a bound of its own, so that a stranger's dead name servers hold up no other lookups.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    threads: Apart,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { threads: Apart::new(FETCH_LOOKUPS_MAX) }
    }
}

impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Refusal> {
        let host = host.to_owned();
        let lookup = self.threads.run(move || look_up(&host));
        let answers = timeout(FETCH_LOOKUP_DEADLINE, lookup).await.map_err(|_| Refusal::ResolveDeadline)?;
        answers.map_err(|_| Refusal::Resolve)?
    }
}

fn look_up(host: &str) -> Result<Vec<IpAddr>, Refusal> {
    // The port plays no part in the lookup; the call brings its own.
    let answers = (host, 0).to_socket_addrs().map_err(|_| Refusal::Resolve)?;
    Ok(answers.take(FETCH_ADDRESSES_MAX.saturating_add(1)).map(|answer: SocketAddr| answer.ip()).collect())
}
