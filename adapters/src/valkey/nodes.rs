//! The servers of a store, and the links to them.

use super::access::{Access, Purpose};
use super::link::{Goal, Link, State};
use super::near::{Near, Watch};
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
    watch: Arc<Watch>,
}

impl Node {
    /// Links to a server, whose tasks run on the current runtime.
    pub(super) fn new(goal: &Goal, access: &Arc<Access>, waits: bool, near: &Arc<Near>) -> Self {
        let watch = near.watch(matches!(goal, Goal::At { in_cluster: true, .. }));
        let link = |purpose, hearing| {
            let (link, task) = Link::new(goal.clone(), Arc::clone(access), purpose, hearing);
            tokio::spawn(task);
            link
        };
        Self {
            operations: link(Purpose::Operations, None),
            durable: waits.then(|| link(Purpose::Operations, None)),
            questions: link(Purpose::Questions, Some(watch.hearing())),
            watch,
        }
    }

    pub(super) fn link(&self, lane: Lane) -> &Link {
        match lane {
            Lane::Operations => &self.operations,
            Lane::Durable => self.durable.as_ref().unwrap_or(&self.operations),
            Lane::Questions => &self.questions,
        }
    }

    /// What is known of the link of questions, on which the server tells of changes.
    pub(super) const fn watch(&self) -> &Arc<Watch> {
        &self.watch
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
