//! Work that blocks, on a thread of its own; and connections to names, which have to be looked up first.
//!
//! The runtime's own threads for that end the request, or the task, in which the system has none to give. Here that is an error like
//! others, and passes.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock};

use portcullis_domain::limits::NAME_LOOKUPS_MAX;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use crate::pace::Seldom;

/// So many threads at a time, each for one piece of work. What cannot be called back keeps its thread, and its place, to its end.
#[derive(Clone, Debug)]
pub(crate) struct Apart {
    places: Arc<Semaphore>,
}

impl Apart {
    /// With this many places.
    pub(crate) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }

    /// Does the work, once there is a place, and hands back what came of it.
    ///
    /// # Errors
    /// The system gives no thread, or the work has panicked.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let (done, doing) = oneshot::channel();
        let begun = std::thread::Builder::new().name("apart".to_owned()).spawn(move || {
            // Whoever asked may have left.
            let _ = done.send(work());
            drop(place);
        });
        begun.inspect_err(tell_of_shortage)?;
        doing.await.map_err(io::Error::other)
    }
}

/// Connects to a host of the configuration. A name is tried at all its addresses in turn. Whoever calls sets a deadline.
///
/// # Errors
/// No address takes the connection, or the last one of them has this reason not to.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    static LOOKUPS: LazyLock<Apart> = LazyLock::new(|| Apart::new(NAME_LOOKUPS_MAX));
    if let Ok(address) = host.parse::<IpAddr>() {
        return TcpStream::connect((address, port)).await;
    }
    let name = host.to_owned();
    let addresses = LOOKUPS.run(move || Ok::<Vec<SocketAddr>, io::Error>((name, port).to_socket_addrs()?.collect()));
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.await?? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Says that the system has nothing to give, now and then.
pub(crate) fn tell_of_shortage(error: &io::Error) {
    static SAID: LazyLock<Seldom> = LazyLock::new(Seldom::default);
    if SAID.may() {
        tracing::error!(
            %error,
            "the system gives this process nothing more: who needs a new connection or thread is told 503, and what is open goes on; \
             raise its limits (LimitNOFILE, TasksMax), or lower connections"
        );
    }
}

/// Whether it is this process or its system that has nothing to give, be it file descriptors, threads or memory, and not the other
/// side's fault.
pub(crate) fn is_short(error: &io::Error) -> bool {
    // EAGAIN, ENOMEM, ENFILE, EMFILE and ENOBUFS, as Linux numbers them; the library has no names for some of them.
    matches!(error.raw_os_error(), Some(11 | 12 | 23 | 24 | 105))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn t283_work_is_done_apart_and_its_panic_is_an_error() {
        let apart = Apart::new(1);
        let own = std::thread::current().id();
        let other = apart.run(|| std::thread::current().id()).await.unwrap();
        assert_ne!(own, other);
        assert!(apart.run(|| panic!("on purpose")).await.is_err());
        assert_eq!(apart.run(|| 7).await.unwrap(), 7, "the place is free again");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_and_an_address_lead_to_the_same() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let stream = connect(host, port).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap().port(), port);
        }
        assert!(connect("no-such-name.invalid", port).await.is_err());
    }

    #[test]
    fn t283_what_the_system_lacks_is_told_from_what_the_other_side_does() {
        for (number, short) in [(24, true), (23, true), (12, true), (11, true), (111, false), (110, false)] {
            assert_eq!(is_short(&io::Error::from_raw_os_error(number)), short, "{number}");
        }
        assert!(!is_short(&io::ErrorKind::TimedOut.into()));
    }
}
