//! Connections of one core to one upstream, the last one used taken first.
//!
//! A connection is leased for one request and comes back when the response body is at its end; a lease that is dropped
//! before ends the connection. How many are open is counted over all cores.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_domain::limits;

use super::leg::Leg;
use super::upstream::Upstream;
use crate::apart::{is_short, tell_of_shortage};

/// One core's connections to an upstream. Clones share them; a pool must stay on the core that made it.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    upstream: Arc<Upstream>,
    idle: Mutex<Vec<Idle>>,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreachable {
    /// The upstream cannot be found or refuses.
    Down,
    /// It has not answered in time.
    Late,
    /// Too many connections are open, and none became free in time; or the system gives none.
    Busy,
}

impl Pool {
    /// An empty pool. Must be called inside the runtime of its core.
    pub fn new(upstream: Arc<Upstream>) -> Self {
        let pool = Self(Arc::new(Shelf { upstream, idle: Mutex::new(Vec::new()) }));
        let shelf = Arc::downgrade(&pool.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(shelf) = shelf.upgrade() else { return };
                shelf.sweep(Instant::now());
            }
        });
        pool
    }

    /// The upstream.
    pub fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    /// An idle connection to this address, if there is one, for a request that came at `now`.
    pub(super) fn take(&self, place: usize, now: Instant) -> Option<Lease> {
        let link = self.0.take(place, now)?;
        Some(self.lease(link, false))
    }

    /// A new connection: to this address, or to the one behind it if it cannot be reached.
    pub(super) async fn connect(&self, place: usize) -> Result<Lease, Unreachable> {
        let upstream = &self.0.upstream;
        let begin = Instant::now();
        let open = loop {
            if let Some(open) = Open::take(upstream) {
                break open;
            }
            if begin.elapsed() >= upstream.connect_deadline {
                return Err(Unreachable::Busy);
            }
            // Whoever gives a connection back while somebody waits closes it instead, so that a place becomes free for
            // whichever core asks first.
            let _waiting = Waiting::new(upstream);
            tokio::time::sleep(BUSY_PAUSE).await;
        };
        let (count, mut place, mut failure) = (upstream.addresses(), place, Unreachable::Down);
        for tried in 0..count {
            // One that stays silent leaves the others their share of the time.
            let left = upstream.connect_deadline.saturating_sub(begin.elapsed());
            let share = u32::try_from(count.saturating_sub(tried)).ok().and_then(|others| left.checked_div(others));
            match tokio::time::timeout(share.unwrap_or(left), upstream.connect(place)).await {
                Ok(Ok(stream)) => {
                    let link = Link { leg: Box::new(Leg::new(stream)), place, _open: open };
                    return Ok(self.lease(link, true));
                }
                // No address is to blame for it, and another one would not help.
                Ok(Err(error)) if is_short(&error) => {
                    tell_of_shortage(&error);
                    return Err(Unreachable::Busy);
                }
                Ok(Err(_)) => failure = Unreachable::Down,
                Err(_) => failure = Unreachable::Late,
            }
            upstream.address(place).failed();
            place = place.saturating_add(1).checked_rem(count).unwrap_or(0);
        }
        Err(failure)
    }

    fn lease(&self, link: Link, fresh: bool) -> Lease {
        Lease { link, fresh, shelf: self.0.clone(), life: limits::UPSTREAM_IDLE_LIFE }
    }
}

impl Shelf {
    fn take(&self, place: usize, now: Instant) -> Option<Link> {
        let mut idle = self.lock();
        let mut end = idle.len();
        while let Some(last) = end.checked_sub(1) {
            end = last;
            let entry = idle.get_mut(last)?;
            if entry.link.place != place {
                continue;
            }
            let Idle { mut link, until } = idle.remove(last);
            if until > now && link.leg.is_quiet() {
                return Some(link);
            }
        }
        None
    }

    fn put(&self, link: Link, since: Instant, life: Duration) {
        if life.is_zero() || !link.leg.keeps() || self.upstream.waiting.load(Relaxed) > 0 {
            return;
        }
        if let Some(until) = since.checked_add(life) {
            self.lock().push(Idle { link, until });
        }
    }

    fn sweep(&self, now: Instant) {
        let is_short = self.upstream.waiting.load(Relaxed) > 0;
        self.lock().retain_mut(|entry| !is_short && entry.until > now && entry.link.leg.is_quiet());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Idle {
    link: Link,
    until: Instant,
}

/// A connection, where it leads, and its place among those that may be open.
#[derive(Debug)]
struct Link {
    leg: Box<Leg>,
    place: usize,
    _open: Open,
}

/// A connection in use by one request.
#[derive(Debug)]
pub(super) struct Lease {
    link: Link,
    /// It was made for this request.
    fresh: bool,
    shelf: Arc<Shelf>,
    life: Duration,
}

impl Lease {
    pub(super) fn leg(&self) -> &Leg {
        &self.link.leg
    }

    pub(super) fn leg_mut(&mut self) -> &mut Leg {
        &mut self.link.leg
    }

    /// Which of the upstream's addresses it leads to.
    pub(super) fn place(&self) -> usize {
        self.link.place
    }

    /// The upstream has begun to answer on it.
    pub(super) fn succeeded(&self) {
        self.shelf.upstream.address(self.link.place).succeeded();
    }

    /// It broke off before an answer began. A connection that was kept may have been closed for its age.
    pub(super) fn failed(&self) {
        if self.fresh {
            self.shelf.upstream.address(self.link.place).failed();
        }
    }

    /// How long the upstream says that it keeps an idle connection, which is believed but for a second of margin.
    pub(super) fn keep_for(&mut self, seconds: u64) {
        self.life = Duration::from_secs(seconds.saturating_sub(1)).min(limits::UPSTREAM_IDLE_LIFE_MAX);
    }

    /// The response is at its end, and the connection has nothing to do `since` then. Unless the request is at its end too, the
    /// connection ends.
    pub(super) fn give_back(self, since: Instant) {
        let Self { link, shelf, life, .. } = self;
        shelf.put(link, since, life);
    }
}

/// One of the upstream's connections that may be open.
#[derive(Debug)]
struct Open(Arc<Upstream>);

impl Open {
    fn take(upstream: &Arc<Upstream>) -> Option<Self> {
        if upstream.open.fetch_add(1, Relaxed) >= upstream.connections_max {
            upstream.open.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Self(upstream.clone()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

struct Waiting<'a>(&'a Upstream);

impl<'a> Waiting<'a> {
    fn new(upstream: &'a Upstream) -> Self {
        upstream.waiting.fetch_add(1, Relaxed);
        Self(upstream)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// How often idle connections are looked over.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a request waits before it asks again for a place.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
