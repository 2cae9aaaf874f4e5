//! Drives a [`Question`]: at most two readings, no writes.

use crate::deadline::within;
use crate::{Clock, Store, World};
use portcullis_domain::limits::TRANSACT_DEADLINE;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::operation::{Facts, Keys, Question};

/// Asks, and answers.
///
/// # Errors
/// Whatever the question refuses with, or [`Fault::StoreUnavailable`]: a store that does not answer is never an absence.
pub async fn ask<W: World, Q: Question>(world: &W, question: &Q) -> Result<Q::Reply, Fault> {
    match ask_at_hand(world, question) {
        Some(reply) => reply,
        // On the heap: whoever finds everything at hand carries no room for waiting.
        None => Box::pin(ask_the_store(world, question)).await,
    }
}

async fn ask_the_store<W: World, Q: Question>(world: &W, question: &Q) -> Result<Q::Reply, Fault> {
    let mut facts = recall(world, question.asks()).await?;
    let more = question.then(&facts);
    if !more.is_empty() {
        facts.join(recall(world, more).await?);
    }
    question.decide(&facts, world.clock().now())
}

/// The same, if what it needs is at hand; nothing if the store must be asked.
pub fn ask_at_hand<W: World, Q: Question>(world: &W, question: &Q) -> Option<Result<Q::Reply, Fault>> {
    let mut facts = world.store().at_hand(&question.asks())?;
    let more = question.then(&facts);
    if !more.is_empty() {
        facts.join(world.store().at_hand(&more)?);
    }
    Some(question.decide(&facts, world.clock().now()))
}

/// Each of the two readings may take as long as a whole state change.
async fn recall<W: World>(world: &W, keys: Keys) -> Result<Facts, Fault> {
    let clock = world.clock();
    let deadline = clock.monotonic().saturating_add(TRANSACT_DEADLINE);
    match within(clock, deadline, world.store().recall(keys)).await {
        Some(Ok(facts)) => Ok(facts),
        Some(Err(_)) | None => Err(Fault::StoreUnavailable),
    }
}
