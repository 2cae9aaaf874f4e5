//! Waiting no longer than until a deadline.

use crate::Clock;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// The future's answer, or nothing if `deadline` (on the clock's monotonic scale) comes first.
///
/// A future that is ready at once never touches the clock: that is the hot path.
pub(crate) async fn within<C: Clock, T>(clock: &C, deadline: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    if let Poll::Ready(answer) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        return Some(answer);
    }
    let mut sleep = pin!(clock.sleep(deadline.saturating_sub(clock.monotonic())));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}
