//! The servers of a store, and the links to them.

use super::access::{Access, Purpose};
use super::link::{Goal, Hearing, Link, State};
use portcullis_domain::operation::Epoch;
use std::sync::Arc;

/// What a request is for: it decides which link it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// State changes, their readings and commits.
    Operations,
    /// Commits that wait for replicas: everything behind them on the same connection waits too, so they have one of their own.
    Durable,
    /// Readings of questions.
    Questions,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Node {
    operations: Link,
    durable: Option<Link>,
    questions: Link,
}

impl Node {
    /// Links to a server, whose tasks run on the current runtime.
    pub(super) fn new(goal: &Goal, access: &Arc<Access>, waits: bool, hearing: Option<Hearing>) -> Self {
        let link = |purpose, hearing| {
            let (link, task) = Link::new(goal.clone(), Arc::clone(access), purpose, hearing);
            tokio::spawn(task);
            link
        };
        Self {
            operations: link(Purpose::Operations, None),
            durable: waits.then(|| link(Purpose::Operations, None)),
            questions: link(Purpose::Questions, hearing),
        }
    }

    pub(super) fn link(&self, lane: Lane) -> &Link {
        match lane {
            Lane::Operations => &self.operations,
            Lane::Durable => self.durable.as_ref().unwrap_or(&self.operations),
            Lane::Questions => &self.questions,
        }
    }

    /// The link on which everything that questions ask is read, and on which the server tells of changes to it.
    #[must_use]
    pub const fn questions(&self) -> &Link {
        &self.questions
    }

    /// Its present life, if it is connected.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        if let State::Up(_, server) = self.operations.state() { Some(server.epoch) } else { None }
    }

    /// All of them.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        [Some(&self.operations), self.durable.as_ref(), Some(&self.questions)].into_iter().flatten()
    }
}
