//! The system's clocks.

use portcullis_domain::time::Timestamp;
use portcullis_ports::Clock;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

/// The wall clock and the monotonic clock of the system.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock that stands before 1970 reads as 1970: everything that ends is still in the future then, and everything that
        // was issued in the meantime is refused as too new by nobody but the identity provider's judge.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(span)
    }
}
