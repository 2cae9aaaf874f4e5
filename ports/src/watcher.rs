//! Whoever watches sessions from within the process.

use portcullis_domain::lifecycle::Lifecycle;
use portcullis_domain::oauth::visitor::Visitor;

/// Is told of people who are let in and of sessions that change: on a thread of its own, one after the other, in the order in which this
/// replica has come to know of it. No request ever waits for it. What it is too slow for is left out, the oldest first, and counted.
pub trait Watcher: Send + Sync + 'static {
    /// Somebody was let in to a protected resource: once for each request.
    fn authenticated(&self, _visitor: &Visitor) {}

    /// A session has begun, was refreshed, or has ended.
    fn changed(&self, _change: &Lifecycle) {}
}
