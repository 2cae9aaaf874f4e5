//! A cluster of three, each with a third of the slots.

use super::server::{Make, Options, Server, bus};
use super::talk::Reply;
use super::until;
use std::net::SocketAddr;
use std::ops::Range;

const SLOTS: u16 = 16_384;

/// The cluster.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub fn start(make: Make) -> Self {
        Self::with(&Options::of(make))
    }

    /// One whose nodes all run like this.
    pub fn with(options: &Options) -> Self {
        let node = || Server::with(Options { cluster: true, ..options.clone() });
        let cluster = Self { nodes: vec![node(), node(), node()] };
        let first = cluster.nodes[0].address();
        for (place, node) in (0_u16..).zip(&cluster.nodes) {
            let (from, to) = (place * (SLOTS / 3), if place == 2 { SLOTS - 1 } else { (place + 1) * (SLOTS / 3) - 1 });
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
            if place > 0 {
                let (ip, port, bus) = (first.ip().to_string(), first.port().to_string(), bus(first).to_string());
                node.ask(&["CLUSTER", "MEET", &ip, &port, &bus]);
            }
        }
        cluster.until_whole();
        cluster
    }

    /// Waits until every node takes all slots for served.
    pub fn until_whole(&self) {
        until("the cluster is whole", || self.nodes.iter().all(is_whole));
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// The node that has this slot, by its own word.
    pub fn owner(&self, slot: u16) -> usize {
        let id = owner_by(&self.nodes[0], slot);
        self.nodes.iter().position(|node| identity(node) == id).expect("it is one of these")
    }

    /// Moves slots to another node, key by key, while everything goes on.
    pub fn reshard(&self, slots: Range<u16>, to: usize) {
        for slot in slots {
            self.move_slot(slot, to);
        }
    }

    fn move_slot(&self, slot: u16, to: usize) {
        if let Some(from) = self.open_move(slot, to) {
            self.end_move(slot, from, to);
        }
    }

    /// From now on the slot is on its way to another node; says from which. Nothing if it is there.
    pub fn open_move(&self, slot: u16, to: usize) -> Option<usize> {
        let from = self.owner(slot);
        if from == to {
            return None;
        }
        let (source, target, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        target.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &identity(source)]);
        source.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &identity(target)]);
        Some(from)
    }

    /// Carries what is in the slot over, key by key, and says to all that it has arrived.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let (source, target, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        let (ip, port) = (target.address().ip().to_string(), target.address().port().to_string());
        let mut talk = source.talk();
        loop {
            let keys = talk.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).list();
            if keys.is_empty() {
                break;
            }
            let mut command: Vec<Vec<u8>> =
                ["MIGRATE", &ip, &port, "", "0", "5000", "KEYS"].iter().map(|word| word.as_bytes().to_vec()).collect();
            command.extend(keys.iter().map(|key| key.text().into_bytes()));
            talk.ask(&command);
        }
        let target_id = identity(target);
        for node in [target, source].into_iter().chain(&self.nodes) {
            node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]);
        }
    }

    /// Has the servers move a slot by themselves, as Valkey 9 can, and waits until it has arrived.
    pub fn hand_over(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        if from == to {
            return;
        }
        let (number, target) = (slot.to_string(), identity(&self.nodes[to]));
        until("the last one has been cleaned up after", || {
            let asked = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &number, &number, "NODE", &target];
            !matches!(self.nodes[from].talk().try_ask(&asked), Ok(Reply::Error(_)) | Err(_))
        });
        until("the slot has arrived", || self.nodes.iter().all(|node| owner_by(node, slot) == target));
    }
}

/// The identity of the node that has this slot, by the word of this one.
fn owner_by(node: &Server, slot: u16) -> String {
    let nodes = node.ask(&["CLUSTER", "SLOTS"]).list();
    let of_slot = nodes.into_iter().map(Reply::list).find(|range| {
        let (from, to) = (range[0].number(), range[1].number());
        (from..=to).contains(&i64::from(slot))
    });
    let primary = of_slot.expect("every slot has an owner")[2].clone().list();
    primary[2].text()
}

fn is_whole(node: &Server) -> bool {
    let text = node.ask(&["CLUSTER", "INFO"]).text();
    ["cluster_state:ok", "cluster_known_nodes:3", "cluster_slots_ok:16384"].iter().all(|part| text.contains(part))
}

fn identity(node: &Server) -> String {
    node.ask(&["CLUSTER", "MYID"]).text()
}
