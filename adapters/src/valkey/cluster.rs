//! A cluster: which node serves which slot, and what to do when that changes while a request is under way.
//!
//! Only nodes that the cluster itself has named, in answer to `CLUSTER SLOTS` on a connection that has logged in (and speaks TLS,
//! where TLS is configured), are ever spoken to. `MOVED` and `ASK` are followed to such nodes; to any other they are a reason to
//! ask for the map anew, and nothing else.

use super::access::{Access, Endpoint};
use super::deed;
use super::holders::Holders;
use super::link::{Answered, Batch, Failure, Goal, Link, late};
use super::near::Near;
use super::nodes::{Lane, Node};
use super::outcome::code;
use super::refusal::Refusal;
use super::resp::{Value, command};
use super::script::{LANDED, first};
use super::slot::Slot;
use crate::pace::Seldom;
use portcullis_domain::limits::{
    CLUSTER_NODES_MAX, CLUSTER_PAUSE, CLUSTER_REDIRECTS, STORE_CONNECT_DEADLINE, STORE_PROBE, STORE_RETRY_FIRST,
};
use portcullis_domain::operation::Epoch;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// A cluster, as far as it is known.
pub(super) struct Cluster {
    /// Nodes that the configuration names.
    seeds: Vec<Endpoint>,
    access: Arc<Access>,
    waits: bool,
    near: Arc<Near>,
    map: RwLock<Arc<Map>>,
    holders: Mutex<Holders<Slot, Endpoint>>,
    outdated: Notify,
    /// Connections to nodes that serve nothing any more.
    gone: AtomicU64,
    refused: Mutex<Option<Refusal>>,
    said: Seldom,
}

/// Who serves what.
#[derive(Debug, Default)]
struct Map {
    /// First and last slot, and the node that serves them; in order, without overlaps.
    ranges: Vec<(Slot, Slot, Endpoint)>,
    nodes: BTreeMap<Endpoint, Node>,
}

impl Map {
    fn owner(&self, slot: Slot) -> Option<(&Endpoint, &Node)> {
        let place = self.ranges.partition_point(|(_, last, _)| *last < slot);
        let (first, _, endpoint) = self.ranges.get(place)?;
        if *first > slot { None } else { self.nodes.get_key_value(endpoint) }
    }

    /// Which slots a node serves.
    fn served_by(&self, node: &Endpoint) -> impl Iterator<Item = (Slot, Slot)> {
        let own = self.ranges.iter().filter(move |(_, _, endpoint)| endpoint == node);
        own.map(|(first, last, _)| (*first, *last))
    }

    /// The node in this life, which is where something was read.
    fn living(&self, epoch: Epoch) -> Option<(&Endpoint, &Node)> {
        self.nodes.iter().find(|(_, node)| node.epoch() == Some(epoch))
    }
}

/// Where a request goes next.
struct Target {
    endpoint: Endpoint,
    node: Node,
    /// The slot is on its way there.
    asking: bool,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Endpoint>, access: Arc<Access>, waits: bool, near: Arc<Near>) -> Self {
        Self {
            seeds,
            access,
            waits,
            near,
            map: RwLock::default(),
            holders: Mutex::default(),
            outdated: Notify::new(),
            gone: AtomicU64::new(0),
            refused: Mutex::default(),
            said: Seldom::default(),
        }
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn holders(&self) -> MutexGuard<'_, Holders<Slot, Endpoint>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node to be asked first: the one that was last seen to have the slot, while that says more than the map.
    fn owner<'a>(&self, map: &'a Map, slot: Slot) -> Option<(&'a Endpoint, &'a Node)> {
        let holder = self.holders().of(&slot, self.near.now()).and_then(|holder| map.nodes.get_key_value(holder));
        holder.or_else(|| map.owner(slot))
    }

    /// All nodes that serve something.
    pub(super) fn nodes(&self) -> Vec<Node> {
        self.map().nodes.values().cloned().collect()
    }

    /// The node that serves a slot, as far as is known.
    pub(super) fn keeper(&self, slot: Slot) -> Option<Node> {
        let keeper = self.owner(&self.map(), slot).map(|(_, node)| node.clone());
        if keeper.is_none() {
            self.outdated.notify_one();
        }
        keeper
    }

    /// Sends commands about keys of one slot to whoever serves it.
    pub(super) async fn ask(&self, slot: Slot, lane: Lane, batch: Batch) -> Result<Answered, Failure> {
        let map = self.map();
        let owner = self.owner(&map, slot);
        // What was read on another node than the owner was read where the slot is on its way to.
        let living = batch.epoch.and_then(|epoch| map.living(epoch));
        let elsewhere = living.filter(|(endpoint, _)| owner.is_none_or(|(owner, _)| owner != *endpoint));
        let Some((endpoint, node)) = elsewhere.or(owner) else {
            self.outdated.notify_one();
            return Err(Failure::NotSent);
        };
        let mut target = Target { endpoint: endpoint.clone(), node: node.clone(), asking: elsewhere.is_some() };
        let mut answered = self.send(slot, &target, lane, &batch).await;
        for round in 0..CLUSTER_REDIRECTS {
            let next = match &answered {
                Ok(Answered { value, .. }) => self.redirected(value, &target),
                Err(_) => None,
            };
            match next {
                None => break,
                Some(Redirect::Again) => {
                    tokio::time::sleep(CLUSTER_PAUSE.saturating_mul(round)).await;
                    // Meanwhile the slot may have arrived.
                    if let (false, Some((endpoint, node))) = (target.asking, self.owner(&self.map(), slot)) {
                        target = Target { endpoint: endpoint.clone(), node: node.clone(), asking: false };
                    }
                }
                Some(Redirect::To(next)) => target = next,
            }
            answered = self.send(slot, &target, lane, &batch).await;
        }
        if !matches!(answered, Ok(_) | Err(Failure::OtherEpoch)) {
            self.outdated.notify_one();
        }
        answered
    }

    async fn send(&self, slot: Slot, target: &Target, lane: Lane, batch: &Batch) -> Result<Answered, Failure> {
        let link = target.node.link(lane);
        if !target.asking {
            let sent = self.near.now();
            let answered = link.send(batch.clone()).await?;
            self.learn(slot, &target.endpoint, &answered.value, sent);
            return Ok(answered);
        }
        let bytes = [command(&[b"ASKING"]), batch.bytes.clone()].concat();
        let replies = batch.replies.saturating_add(1);
        let answered = link.send(Batch { bytes, replies, epoch: batch.epoch, replicas: batch.replicas }).await?;
        let Answered { value: Value::List(mut values), epoch } = answered else { return Err(Failure::Lost) };
        values.drain(..values.len().min(1));
        let value = if values.len() == 1 { values.pop().unwrap_or(Value::Null) } else { Value::List(values) };
        Ok(Answered { value, epoch })
    }

    /// What an answer to what a node was sent at this moment says of who has the slot.
    fn learn(&self, slot: Slot, node: &Endpoint, value: &Value, sent: Duration) {
        let now = self.near.now();
        match first(value) {
            Value::Text(said) if said == LANDED => self.holders().took(slot, node.clone(), now),
            Value::Error(said) if code(said) == b"ASK" => self.holders().hands_over(slot, node.clone(), sent, now),
            Value::Error(said) if code(said) == b"MOVED" => self.holders().denied(&slot, node, sent),
            _ => {}
        }
    }

    /// What an answer says of where to ask; nothing if it is the answer.
    fn redirected(&self, value: &Value, target: &Target) -> Option<Redirect> {
        let Value::Error(said) = first(value) else { return None };
        match code(said) {
            b"TRYAGAIN" => Some(Redirect::Again),
            b"CLUSTERDOWN" => {
                self.outdated.notify_one();
                None
            }
            kind @ (b"MOVED" | b"ASK") => {
                let asking = kind == b"ASK";
                if !asking {
                    self.outdated.notify_one();
                }
                let known = place(said, &target.endpoint).and_then(|endpoint| {
                    let node = self.map().nodes.get(&endpoint)?.clone();
                    Some(Target { endpoint, node, asking })
                });
                // Whoever is not known is asked for by asking for the map, and not spoken to.
                Some(known.map_or(Redirect::Again, Redirect::To))
            }
            _ => None,
        }
    }

    /// Keeps the map, for ever.
    pub(super) async fn run(&self) {
        let mut pause = STORE_RETRY_FIRST;
        loop {
            let looked = self.look().await;
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = looked.as_ref().err().cloned();
            let wait = match looked {
                Ok(map) => {
                    self.replace(map);
                    pause = STORE_RETRY_FIRST;
                    STORE_PROBE
                }
                Err(refusal) => {
                    if self.said.may() {
                        tracing::warn!("the cluster's map cannot be had: the store {refusal}; {}", refusal.instead());
                    }
                    pause = pause.saturating_mul(2).min(STORE_PROBE);
                    pause
                }
            };
            // Whoever has found the map to be wrong does not wait for the next turn.
            let _ = timeout(wait, self.outdated.notified()).await;
            tokio::time::sleep(STORE_RETRY_FIRST.min(wait)).await;
        }
    }

    /// Asks for the map: nodes that are connected, and then those that are configured.
    async fn look(&self) -> Result<Vec<(Slot, Slot, Endpoint)>, Refusal> {
        let mut refusal = Refusal::NoMap;
        for (endpoint, node) in &self.map().nodes {
            let bytes = [command(&INFO), command(&SLOTS)].concat();
            let batch = Batch { bytes, replies: 2, epoch: None, replicas: None };
            if let Ok(Answered { value, .. }) = node.link(Lane::Operations).send(batch).await
                && let Some([info, slots]) = value.list()
                && let Some(map) = read_map(info, slots, endpoint)
            {
                return Ok(map);
            }
        }
        for seed in &self.seeds {
            let asked = async {
                let (mut talk, _) = self.access.talk(seed).await?;
                let info = talk.ask(&INFO).await?;
                match talk.ask(&SLOTS).await? {
                    Value::Error(said) if said.starts_with(b"ERR This instance has cluster support disabled") => {
                        Err(Refusal::Mode { is_cluster: false })
                    }
                    Value::Error(said) => Err(super::access::refusal_of(&said)),
                    slots => read_map(&info, &slots, seed).ok_or(Refusal::NoMap),
                }
            };
            let asked = timeout(STORE_CONNECT_DEADLINE, asked).await;
            match asked.unwrap_or_else(|_| Err(late(STORE_CONNECT_DEADLINE))) {
                Ok(map) => return Ok(map),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }

    /// Links to nodes that are new; those to nodes that serve nothing any more end.
    fn replace(&self, ranges: Vec<(Slot, Slot, Endpoint)>) {
        self.holders().sweep(self.near.now());
        let before = self.map();
        let mut nodes = BTreeMap::new();
        for (_, _, endpoint) in &ranges {
            if nodes.contains_key(endpoint) {
                continue;
            }
            let node = before.nodes.get(endpoint).cloned().unwrap_or_else(|| {
                let goal = Goal::At { endpoint: endpoint.clone(), in_cluster: true };
                Node::new(&goal, &self.access, self.waits, &self.near)
            });
            nodes.insert(endpoint.clone(), node);
        }
        let next = Arc::new(Map { ranges, nodes });
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        // A node that has been replaced may not know it yet, and go on as before towards whoever still reaches it.
        for (endpoint, node) in &before.nodes {
            if !before.served_by(endpoint).eq(next.served_by(endpoint)) {
                node.watch().forget();
            }
            if !next.nodes.contains_key(endpoint) {
                self.gone.fetch_add(node.links().map(Link::connected).sum(), Relaxed);
            }
        }
    }

    /// How many connections there were to nodes that are not there any more.
    pub(super) fn connections_gone(&self) -> u64 {
        self.gone.load(Relaxed)
    }

    /// Why nobody says who serves what.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

enum Redirect {
    To(Target),
    Again,
}

/// The node that `MOVED 3999 host:port` or `ASK 3999 host:port` names; without a host, it is that of whoever says so.
fn place(said: &[u8], from: &Endpoint) -> Option<Endpoint> {
    let text = std::str::from_utf8(said).ok()?;
    let (host, port) = text.split(' ').nth(2)?.rsplit_once(':')?;
    let host = if host.is_empty() { &from.host } else { host };
    Some(Endpoint { host: host.to_owned(), port: port.parse().ok()? })
}

/// What a node is asked for the map. One that has lost the others from sight goes on saying what it knew, while they may have replaced
/// it: what it says of who has what is not believed. A user who may not ask whether it has is told all the same.
const INFO: [&[u8]; 2] = [b"CLUSTER", b"INFO"];
const SLOTS: [&[u8]; 2] = [b"CLUSTER", b"SLOTS"];

/// `CLUSTER SLOTS`: for each range its first and last slot, its primary as host, port and more, and its replicas. Nothing if some
/// slot is served by nobody or by two: half a map is none.
fn read_map(info: &Value, slots: &Value, from: &Endpoint) -> Option<Vec<(Slot, Slot, Endpoint)>> {
    if deed::goes_on(info) == Some(false) {
        return None;
    }
    let mut ranges = Vec::new();
    for range in slots.list()? {
        let [first, last, primary, ..] = range.list()? else { return None };
        let slot = |value: &Value| value.number().and_then(|slot| u16::try_from(slot).ok()).map(Slot);
        let [host, port, ..] = primary.list()? else { return None };
        let host = match host {
            Value::Null => &from.host,
            host if host.str() == Some("") => &from.host,
            host => host.str().filter(|host| *host != "?")?,
        };
        let port = port.number().and_then(|port| u16::try_from(port).ok())?;
        ranges.push((slot(first)?, slot(last)?, Endpoint { host: host.to_owned(), port }));
    }
    ranges.sort();
    let mut next = 0;
    for (first, last, _) in &ranges {
        if first.0 != next || last < first {
            return None;
        }
        next = last.0.checked_add(1)?;
    }
    let nodes: std::collections::BTreeSet<&Endpoint> = ranges.iter().map(|(_, _, endpoint)| endpoint).collect();
    (next == Slot::COUNT && nodes.len() <= CLUSTER_NODES_MAX).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = Value::List(vec![host, Value::Number(port), text("id")]);
        Value::List(vec![Value::Number(first), Value::Number(last), node.clone(), node])
    }

    fn from() -> Endpoint {
        Endpoint { host: "seed".to_owned(), port: 1 }
    }

    #[test]
    fn a_map_is_read_whole_or_not_at_all() {
        let whole = Value::List(vec![
            range(8_192, 16_383, Value::Null, 2),
            range(0, 100, text("a"), 1),
            range(101, 8_191, text(""), 3),
        ]);
        let silent = Value::Error(b"NOPERM no".to_vec());
        let read_map = |slots: &Value| read_map(&silent, slots, &from());
        let map = read_map(&whole).unwrap();
        let places: Vec<String> = map.iter().map(|(_, _, endpoint)| endpoint.to_string()).collect();
        assert_eq!(places, ["a:1", "seed:3", "seed:2"]);
        for broken in [
            vec![range(0, 16_382, text("a"), 1)],
            vec![range(1, 16_383, text("a"), 1)],
            vec![range(0, 9, text("a"), 1), range(9, 16_383, text("b"), 1)],
            vec![range(0, 9, text("a"), 1), range(11, 16_383, text("b"), 1)],
            vec![range(0, 16_383, text("?"), 1)],
            vec![range(0, 16_383, text("a"), 70_000)],
            vec![range(0, 16_384, text("a"), 1)],
            vec![],
        ] {
            assert_eq!(read_map(&Value::List(broken.clone())), None, "{broken:?}");
        }
        assert_eq!(read_map(&text("x")), None);
        for (state, believed) in [("ok", true), ("fail", false)] {
            let info = text(&format!("cluster_enabled:1\r\ncluster_state:{state}\r\n"));
            assert_eq!(super::read_map(&info, &whole, &from()).is_some(), believed, "{state}");
        }
    }

    #[test]
    fn t266_a_redirection_is_read_and_nothing_else_is_one() {
        let to = |said: &str| place(said.as_bytes(), &from()).map(|endpoint| endpoint.to_string());
        assert_eq!(to("MOVED 3999 127.0.0.1:6381").as_deref(), Some("127.0.0.1:6381"));
        assert_eq!(to("ASK 3999 ::1:6381").as_deref(), Some("[::1]:6381"));
        assert_eq!(to("MOVED 3999 :6381").as_deref(), Some("seed:6381"));
        for said in ["MOVED", "MOVED 3999", "MOVED 3999 host", "MOVED 3999 host:x", "MOVED 3999 host:70000"] {
            assert_eq!(to(said), None, "{said}");
        }
    }
}
