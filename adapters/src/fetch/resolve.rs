//! From a name to its addresses, once per call, bounded in time and number.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use portcullis_domain::limits::{FETCH_ADDRESSES_MAX, FETCH_LOOKUP_DEADLINE, FETCH_LOOKUPS_MAX};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Refusal;

/// Whoever knows the addresses of names.
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of `host`, a name in lower case; at most one more than [`FETCH_ADDRESSES_MAX`].
    ///
    /// # Errors
    /// [`Refusal::Resolve`] or [`Refusal::ResolveDeadline`]; a name without addresses may also be an empty list.
    fn resolve(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, Refusal>> + Send;
}

/// The resolver of the operating system (`getaddrinfo`), on the runtime's blocking threads.
///
/// A lookup cannot be called back, so one that outlives its deadline keeps its thread until the system gives up. The
/// number of them is bounded by permits that the threads themselves hold; a stranger's dead name servers cannot take
/// every thread.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    permits: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(FETCH_LOOKUPS_MAX)) }
    }
}

impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Refusal> {
        let host = host.to_owned();
        let lookup = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Refusal::Resolve)?;
            let answers = spawn_blocking(move || {
                let answers = look_up(&host);
                drop(permit);
                answers
            });
            answers.await.map_err(|_| Refusal::Resolve)?
        };
        timeout(FETCH_LOOKUP_DEADLINE, lookup).await.map_err(|_| Refusal::ResolveDeadline)?
    }
}

fn look_up(host: &str) -> Result<Vec<IpAddr>, Refusal> {
    // The port plays no part in the lookup; the call brings its own.
    let answers = (host, 0).to_socket_addrs().map_err(|_| Refusal::Resolve)?;
    Ok(answers.take(FETCH_ADDRESSES_MAX.saturating_add(1)).map(|answer: SocketAddr| answer.ip()).collect())
}
