//! A cluster of three, each with a third of the slots.

use super::server::{Make, Options, Server, bus};
use super::talk::{Reply, Talk};
use super::until;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};

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

    /// One in which the first node has a replica, which is the fourth.
    pub fn with_replica(make: Make) -> Self {
        let mut cluster = Self::start(make);
        let replica = Server::with(Options { cluster: true, ..Options::of(make) });
        let first = cluster.nodes[0].address();
        let (ip, port, bus) = (first.ip().to_string(), first.port().to_string(), bus(first).to_string());
        replica.ask(&["CLUSTER", "MEET", &ip, &port, &bus]);
        let primary = identity(&cluster.nodes[0]);
        until("it is met, and follows", || {
            replica
                .talk()
                .try_ask(&["CLUSTER", "REPLICATE", &primary])
                .is_ok_and(|reply| reply.text_or_none().is_some())
        });
        until("the replica has caught up", || replica.info("master_link_status").as_deref() == Some("up"));
        cluster.nodes.push(replica);
        cluster.until_whole();
        cluster
    }

    /// Waits until every node takes all slots for served.
    pub fn until_whole(&self) {
        until("the cluster is whole", || self.nodes.iter().all(|node| is_whole(node, self.nodes.len())));
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// The node that has this slot, by the first one's word.
    pub fn owner(&self, slot: u16) -> usize {
        let owners = self.owners(&self.nodes[0]);
        owners.into_iter().find(|(slots, _)| slots.contains(&slot)).expect("every slot has an owner").1
    }

    /// Which node has which slots, by the word of this one.
    fn owners(&self, node: &Server) -> Vec<(RangeInclusive<u16>, usize)> {
        let identities: Vec<String> = self.nodes.iter().map(identity).collect();
        let ranges = node.ask(&["CLUSTER", "SLOTS"]).list().into_iter().map(Reply::list);
        let slot = |reply: &Reply| u16::try_from(reply.number()).unwrap();
        ranges
            .map(|range| {
                let id = range[2].clone().list()[2].text();
                let place = identities.iter().position(|own| *own == id).expect("it is one of these");
                (slot(&range[0])..=slot(&range[1]), place)
            })
            .collect()
    }

    /// Moves slots to another node, key by key, while everything goes on.
    pub fn reshard(&self, slots: Range<u16>, to: usize) {
        let mut mover = Mover::of(self);
        for (owned, from) in self.owners(&self.nodes[0]) {
            for slot in slots.clone().filter(|slot| from != to && owned.contains(slot)) {
                mover.opens(slot, from, to);
                mover.ends(slot, from, to);
            }
        }
    }

    /// From now on the slot is on its way to another node; says from which. Nothing if it is there.
    pub fn open_move(&self, slot: u16, to: usize) -> Option<usize> {
        let from = self.owner(slot);
        if from == to {
            return None;
        }
        Mover::of(self).opens(slot, from, to);
        Some(from)
    }

    /// Carries one record over.
    pub fn carry(&self, name: &str, from: usize, to: usize) {
        let target = self.nodes[to].address();
        let (ip, port) = (target.ip().to_string(), target.port().to_string());
        self.nodes[from].ask(&["MIGRATE", &ip, &port, name, "0", "5000"]);
    }

    /// Carries what is in the slot over, key by key, and says to all that it has arrived.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        Mover::of(self).ends(slot, from, to);
    }

    /// Has the servers move slots by themselves, as Valkey 9 can, while everything goes on; whether that came about.
    pub fn hand_over(&self, slots: Range<u16>, to: usize) -> bool {
        let target = identity(&self.nodes[to]);
        for (owned, from) in self.owners(&self.nodes[0]).into_iter().filter(|(_, from)| *from != to) {
            let (first, last) = (slots.start.max(*owned.start()), (slots.end - 1).min(*owned.end()));
            if first > last {
                continue;
            }
            let (range, failed_before) = ([first.to_string(), last.to_string()], failed_migrations(&self.nodes[from]));
            until("the last one has been cleaned up after", || {
                let asked = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &range[0], &range[1], "NODE", &target];
                !matches!(self.nodes[from].talk().try_ask(&asked), Ok(Reply::Error(_)) | Err(_))
            });
            let arrived = |node| self.owners(node).iter().any(|(slots, owner)| slots.contains(&first) && *owner == to);
            let mut whole = false;
            until("the slots have arrived", || {
                whole = self.nodes.iter().all(arrived);
                whole || failed_migrations(&self.nodes[from]) > failed_before
            });
            if !whole {
                return false;
            }
        }
        true
    }
}

/// Moves slots key by key, over one connection to each node.
struct Mover {
    addresses: Vec<SocketAddr>,
    identities: Vec<String>,
    talks: Vec<Talk>,
}

impl Mover {
    fn of(cluster: &Cluster) -> Self {
        Self {
            addresses: cluster.addresses(),
            identities: cluster.nodes.iter().map(identity).collect(),
            talks: cluster.nodes.iter().map(Server::talk).collect(),
        }
    }

    fn opens(&mut self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        self.talks[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.identities[from]]);
        self.talks[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.identities[to]]);
    }

    fn ends(&mut self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let (ip, port) = (self.addresses[to].ip().to_string(), self.addresses[to].port().to_string());
        loop {
            let keys = self.talks[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).list();
            if keys.is_empty() {
                break;
            }
            let mut command: Vec<Vec<u8>> =
                ["MIGRATE", &ip, &port, "", "0", "5000", "KEYS"].iter().map(|word| word.as_bytes().to_vec()).collect();
            command.extend(keys.iter().map(|key| key.text().into_bytes()));
            self.talks[from].ask(&command);
        }
        // These two first: nobody else may hear of the new owner before it knows.
        for node in [to, from].into_iter().chain((0..self.talks.len()).filter(|node| ![to, from].contains(node))) {
            self.talks[node].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &self.identities[to]]);
        }
    }
}

/// How many of the moves that this node keeps in mind came to nothing.
fn failed_migrations(node: &Server) -> usize {
    let migrations = node.ask(&["CLUSTER", "GETSLOTMIGRATIONS"]).list().into_iter().map(Reply::list);
    let failed = |fields: &Vec<Reply>| {
        let texts: Vec<String> = fields.iter().map(Reply::text_or_number).collect();
        texts.windows(2).any(|pair| pair[0] == "state" && matches!(&*pair[1], "failed" | "cancelled"))
    };
    migrations.filter(failed).count()
}

fn is_whole(node: &Server, known: usize) -> bool {
    let (text, known) = (node.ask(&["CLUSTER", "INFO"]).text(), format!("cluster_known_nodes:{known}\r"));
    ["cluster_state:ok", &known, "cluster_slots_ok:16384"].iter().all(|part| text.contains(part))
}

fn identity(node: &Server) -> String {
    node.ask(&["CLUSTER", "MYID"]).text()
}
