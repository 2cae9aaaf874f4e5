//! The nodes of a cluster, each of which goes by what it knows itself.

use portcullis_adapters::valkey::resp::Value;
use portcullis_domain::fresh::Stamp;
use portcullis_domain::key::{GrantId, Key, Person};
use portcullis_domain::operation::{Fact, Stored};
use portcullis_domain::record::Record;
use portcullis_domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const NODES: usize = 3;
pub(crate) const SLOTS: usize = 3;
/// Records of one slot.
pub(crate) const RECORDS: usize = 2;

/// A record's place: its slot, and which of the slot's it is.
pub(crate) type Place = (usize, usize);

pub(crate) fn key((slot, record): Place) -> Key {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    Key::FlowMark(GrantId { person: Person([byte(slot); 16]), login: [byte(record); 16] })
}

/// A version of a record; none, if it is not there.
pub(crate) fn fact(version: u64) -> Fact {
    if version == 0 {
        return Fact::Absent;
    }
    let stamp = Stamp(u128::from(version).to_be_bytes());
    Fact::Found(Stored { record: Arc::new(Record::Mark), stamp, until: Timestamp::FAR })
}

pub(crate) fn version(fact: &Fact) -> u64 {
    match fact {
        Fact::Found(stored) => u64::try_from(u128::from_be_bytes(stored.stamp.0)).unwrap_or(u64::MAX),
        Fact::Absent | Fact::Unreadable(_) => 0,
    }
}

/// What each node knows, and nobody else for sure.
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
    claims: u64,
    pub(crate) versions: u64,
}

#[derive(Default)]
pub(crate) struct Node {
    /// The epoch of its claim to its slots.
    claim: u64,
    pub(crate) owns: BTreeSet<usize>,
    /// Slots that are on their way to another node.
    pub(crate) hands_over: BTreeMap<usize, usize>,
    /// Slots that are on their way to this one.
    pub(crate) expects: BTreeSet<usize>,
    /// Slots that it has handed over as a whole: until it is told that they have arrived it reads on, and takes no writes.
    pub(crate) paused: BTreeSet<usize>,
    pub(crate) records: BTreeMap<Place, u64>,
    /// Which gateways have asked for what.
    asked: BTreeMap<Place, BTreeSet<usize>>,
}

/// What a node answers to whoever asks about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Version(u64),
    /// `MOVED`.
    Elsewhere,
    /// `ASK`.
    Ask(usize),
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let mut nodes: Vec<Node> = (0..NODES).map(|_| Node::default()).collect();
        for slot in 0..SLOTS {
            nodes[slot % NODES].owns.insert(slot);
        }
        for (claim, node) in (1..).zip(&mut nodes) {
            node.claim = claim;
        }
        Self { nodes, claims: 3, versions: 0 }
    }

    /// Who has the latest claim to a slot.
    pub(crate) fn owner(&self, slot: usize) -> usize {
        let claimed = |place: &usize| self.nodes[*place].owns.contains(&slot).then_some(self.nodes[*place].claim);
        (0..NODES).max_by_key(claimed).unwrap_or_default()
    }

    /// Who has a slot by the word of this node, which is the last to hear that it has lost one.
    pub(crate) fn owner_by(&self, node: usize, slot: usize) -> usize {
        if self.nodes[node].owns.contains(&slot) { node } else { self.owner(slot) }
    }

    /// Whether the node answers for this record; otherwise where else it may be.
    pub(crate) fn judge(&self, node: usize, place: Place, asking: bool) -> Result<(), Answer> {
        let Node { owns, hands_over, expects, records, .. } = &self.nodes[node];
        let (slot, _) = place;
        match hands_over.get(&slot) {
            Some(to) if !records.contains_key(&place) => Err(Answer::Ask(*to)),
            _ if owns.contains(&slot) || (asking && expects.contains(&slot)) => Ok(()),
            _ => Err(Answer::Elsewhere),
        }
    }

    /// The same for a change.
    pub(crate) fn takes(&self, node: usize, place: Place, asking: bool) -> Result<(), Answer> {
        let Node { paused, owns, .. } = &self.nodes[node];
        // It is compared before it is written: what has not come yet is not what somebody has seen, and is not overwritten.
        let comes = !owns.contains(&place.0) && self.nodes[self.owner(place.0)].records.contains_key(&place);
        if paused.contains(&place.0) || comes { Err(Answer::Elsewhere) } else { self.judge(node, place, asking) }
    }

    pub(crate) fn read(&mut self, node: usize, place: Place, gate: Option<usize>) -> Answer {
        if let Err(elsewhere) = self.judge(node, place, gate.is_none()) {
            return elsewhere;
        }
        let Node { asked, records, .. } = &mut self.nodes[node];
        asked.entry(place).or_default().extend(gate);
        Answer::Version(records.get(&place).copied().unwrap_or_default())
    }

    /// What the node says of itself, as servers write it.
    pub(crate) fn states(&self, node: usize) -> Value {
        let Node { claim, owns, hands_over, .. } = &self.nodes[node];
        let own = owns.iter().map(usize::to_string);
        let going = hands_over.iter().map(|(slot, to)| format!("[{slot}->-n{to}]"));
        let slots: Vec<String> = own.chain(going).collect();
        let line = format!("n{node} 127.0.0.1:700{node}@1 myself,master - 0 0 {claim} connected {}\n", slots.join(" "));
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        Value::List(vec![text("cluster_enabled:1\r\ncluster_state:ok\r\n"), text(&line)])
    }

    /// The record is gone from this node, or another: those who have asked there are told.
    pub(crate) fn asked(&mut self, node: usize, place: Place) -> BTreeSet<usize> {
        self.nodes[node].asked.remove(&place).unwrap_or_default()
    }

    /// The node claims a slot, with a claim that is newer than all.
    pub(crate) fn claim(&mut self, node: usize, slot: usize) {
        self.claims += 1;
        let claim = self.claims;
        let node = &mut self.nodes[node];
        node.claim = claim;
        node.owns.insert(slot);
        node.expects.remove(&slot);
    }
}
