//! Drives a [`Question`]: at most two readings, no writes.

use crate::deadline::within;
use crate::{Clock, Store, World};
use portcullis_domain::limits::TRANSACT_DEADLINE;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::operation::Question;

/// Asks, and answers.
///
/// # Errors
/// Whatever the question refuses with, or [`Fault::StoreUnavailable`]: a store that does not answer is never an absence.
pub async fn ask<W: World, Q: Question>(world: &W, question: &Q) -> Result<Q::Reply, Fault> {
    let (store, clock) = (world.store(), world.clock());
    let deadline = clock.monotonic().saturating_add(TRANSACT_DEADLINE);
    let load = async |keys| match within(clock, deadline, store.recall(keys)).await {
        Some(Ok(facts)) => Ok(facts),
        Some(Err(_)) | None => Err(Fault::StoreUnavailable),
    };
    let mut facts = load(question.asks()).await?;
    let more = question.then(&facts);
    if !more.is_empty() {
        facts.join(load(more).await?);
    }
    question.decide(&facts, clock.now())
}
