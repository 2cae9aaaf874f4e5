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
        let nodes = self.nodes[0].ask(&["CLUSTER", "SLOTS"]).list();
        let of_slot = nodes.into_iter().map(Reply::list).find(|range| {
            let (from, to) = (range[0].number(), range[1].number());
            (from..=to).contains(&i64::from(slot))
        });
        let primary = of_slot.expect("every slot has an owner")[2].clone().list();
        let id = primary[2].text();
        self.nodes.iter().position(|node| identity(node) == id).expect("it is one of these")
    }

    /// Moves slots to another node, key by key, while everything goes on.
    pub fn reshard(&self, slots: Range<u16>, to: usize) {
        for slot in slots {
            self.move_slot(slot, to);
        }
    }

    fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        if from == to {
            return;
        }
        let (source, target, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        let (source_id, target_id) = (identity(source), identity(target));
        let (ip, port) = (target.address().ip().to_string(), target.address().port().to_string());
        target.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]);
        source.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]);
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
        for node in [target, source].into_iter().chain(&self.nodes) {
            node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]);
        }
    }
}

fn is_whole(node: &Server) -> bool {
    let text = node.ask(&["CLUSTER", "INFO"]).text();
    ["cluster_state:ok", "cluster_known_nodes:3", "cluster_slots_ok:16384"].iter().all(|part| text.contains(part))
}

fn identity(node: &Server) -> String {
    node.ask(&["CLUSTER", "MYID"]).text()
}
