//! Near caches before a cluster whose slots move all the time.
//!
//! The caches are the real ones, and so are the rules by which they believe a node ([`Tenure`], [`Holders`]). What is simulated are the
//! nodes, each of which goes by what it knows itself; the moves, key by key as an operator makes them and as a whole as the nodes make
//! them by themselves; and the wires, on which answers and pushes keep their order and are late, now and then by seconds.
//!
//! The judge: nothing is served of what another gateway had changed, and been told so, more than a second before, or of what the same one
//! had changed at all.

use crate::engine::chance::Chance;
use crate::engine::scheduler::Scheduler;
use crate::engine::world::locked;
use crate::nodes::{Answer, NODES, Nodes, Place, RECORDS, SLOTS, fact, key, version};
use portcullis_adapters::valkey::deed::Tenure;
use portcullis_adapters::valkey::holders::Holders;
use portcullis_adapters::valkey::near_cache::{NearCache, Wanted};
use portcullis_adapters::valkey::resp::Value;
use portcullis_domain::limits::NEAR_PING;
use portcullis_domain::operation::{Epoch, Keys};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a gateway has changed is known to the others by then.
const EVERYWHERE: Duration = Duration::from_secs(1);
/// How long a run lasts.
const SPAN: Duration = Duration::from_secs(5);
const GATES: usize = 2;
/// How long a node that has lost a slot does not know it, at the most.
const UNAWARE_MILLIS: u64 = 100;

/// What was counted of a run.
pub(crate) type Seen = BTreeMap<&'static str, u64>;

/// Runs one seed, with or without the rule that a node is believed by what it says that it has.
pub(crate) fn run(seed: u64, believes_all: bool) -> Result<Seen, String> {
    let scheduler = Scheduler::new(seed);
    let settings = scheduler.chance(Settings::draw);
    let stage = Arc::new(Stage {
        gates: (0..GATES).map(|_| Gate::new(believes_all)).collect(),
        nodes: Mutex::new(Nodes::new()),
        told: Mutex::default(),
        scheduler: scheduler.clone(),
        settings,
    });
    scheduler.run(play(Arc::clone(&stage)));
    let told = std::mem::take(&mut *locked(&stage.told));
    told.judge()?;
    Ok(told.seen)
}

/// What is possible in this run.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// The longest way of one message.
    way_millis: u64,
    /// How often out of a hundred an answer stands still with all behind it, and for how long at the most.
    stalls: u64,
    stall_millis: u64,
    /// The longest pause between two moves, and between two steps of one.
    pause_millis: u64,
    step_millis: u64,
    /// How often out of a hundred a move is made by the nodes themselves.
    by_themselves: u64,
    writes_millis: u64,
}

impl Settings {
    fn draw(chance: &mut Chance) -> Self {
        let mut one = |of: [u64; 3]| of[chance.place(3)];
        Self {
            way_millis: one([1, 10, 60]),
            stalls: one([0, 1, 5]),
            stall_millis: one([50, 900, 3_000]),
            pause_millis: one([10, 400, 2_000]),
            step_millis: one([1, 40, 600]),
            by_themselves: one([0, 30, 100]),
            writes_millis: one([120, 500, 2_000]),
        }
    }
}

struct Gate {
    cache: NearCache,
    wires: Vec<Mutex<Wire>>,
    /// Who has which slot, as far as it has heard, and as of when.
    map: Mutex<(Duration, Vec<usize>)>,
    /// Who was seen to have which slot.
    holders: Mutex<Holders<usize, usize>>,
}

struct Wire {
    tenure: Tenure,
    /// When the last thing on it arrives: nothing overtakes.
    last: Duration,
}

impl Gate {
    fn new(believes_all: bool) -> Self {
        let wire = |node: usize| {
            let mut tenure = Tenure::new(!believes_all);
            let _ = tenure.begin(Some(Epoch([u8::try_from(node).unwrap_or_default(); 16])));
            Mutex::new(Wire { tenure, last: Duration::ZERO })
        };
        Self {
            cache: NearCache::new(1 << 20, Duration::ZERO),
            wires: (0..NODES).map(wire).collect(),
            map: Mutex::new((Duration::ZERO, (0..SLOTS).map(|slot| slot % NODES).collect())),
            holders: Mutex::default(),
        }
    }

    /// The node that it asks about this slot.
    fn asks(&self, slot: usize, now: Duration) -> usize {
        let holder = locked(&self.holders).of(&slot, now).copied();
        holder.unwrap_or_else(|| locked(&self.map).1[slot])
    }
}

/// What comes over a wire.
enum Message {
    /// What was asked for at this moment.
    Arrived(Box<(Duration, Wanted, Place, u64)>),
    Changed(Place),
    States(Duration, Value),
}

struct Stage {
    scheduler: Scheduler,
    settings: Settings,
    nodes: Mutex<Nodes>,
    gates: Vec<Gate>,
    told: Mutex<Told>,
}

/// What was served, and what was told to be written.
#[derive(Default)]
struct Told {
    /// By whom, when it was told, where, and which version.
    written: Vec<(usize, Duration, Place, u64)>,
    served: Vec<(usize, Duration, Place, u64)>,
    seen: Seen,
}

impl Told {
    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn judge(&self) -> Result<(), String> {
        // By place and writer: when it was told of, and the newest version by then.
        let mut newest: BTreeMap<(Place, usize), Vec<(Duration, u64)>> = BTreeMap::new();
        for (by, told, place, version) in &self.written {
            let own = newest.entry((*place, *by)).or_default();
            let before = own.last().map_or(0, |(_, version)| *version);
            own.push((*told, before.max(*version)));
        }
        for (gate, at, place, version) in &self.served {
            for by in 0..GATES {
                let late = if by == *gate { Duration::ZERO } else { EVERYWHERE };
                let written = newest.get(&(*place, by)).map_or(&[][..], Vec::as_slice);
                let known = written.partition_point(|(told, _)| *told + late < *at);
                let (told, newer) = known.checked_sub(1).map_or((Duration::ZERO, 0), |last| written[last]);
                if newer > *version {
                    return Err(format!(
                        "gateway {gate} served version {version} of {place:?} at {at:?}; {newer} was there from {told:?} on"
                    ));
                }
            }
        }
        Ok(())
    }
}

async fn play(stage: Arc<Stage>) {
    for gate in 0..GATES {
        for node in 0..NODES {
            stage.spawn(async move |stage| pings(stage, gate, node).await);
        }
        stage.spawn(async move |stage| looks(stage, gate).await);
        stage.spawn(async move |stage| asks(stage, gate).await);
        stage.spawn(async move |stage| writes(stage, gate).await);
    }
    stage.spawn(async move |stage| moves(stage).await);
    stage.scheduler.sleep(SPAN).await;
}

/// Asks a node again and again what it has.
async fn pings(stage: Arc<Stage>, gate: usize, node: usize) {
    loop {
        let (sent, there) = (stage.scheduler.now(), stage.way());
        let asked = Arc::clone(&stage);
        stage.scheduler.spawn(async move {
            asked.scheduler.sleep(there).await;
            let states = locked(&asked.nodes).states(node);
            asked.send(gate, node, Message::States(sent, states));
        });
        stage.scheduler.sleep(NEAR_PING).await;
    }
}

/// Looks at the map, once a second.
async fn looks(stage: Arc<Stage>, gate: usize) {
    loop {
        stage.scheduler.sleep(Duration::from_secs(1)).await;
        stage.looks_at_the_map(gate).await;
    }
}

/// Asks for records, of which most are asked for again and again.
async fn asks(stage: Arc<Stage>, gate: usize) {
    loop {
        let place = stage.place();
        stage.recall(gate, place).await;
        stage.pause(50).await;
    }
}

async fn writes(stage: Arc<Stage>, gate: usize) {
    loop {
        stage.pause(stage.settings.writes_millis).await;
        let place = stage.place();
        stage.write(gate, place).await;
    }
}

/// Moves slots, one after the other.
async fn moves(stage: Arc<Stage>) {
    loop {
        stage.pause(stage.settings.pause_millis).await;
        let (slot, _) = stage.place();
        let from = locked(&stage.nodes).owner(slot);
        let to = (from + 1 + stage.scheduler.chance(|chance| chance.place(NODES - 1))) % NODES;
        if stage.scheduler.chance(|chance| chance.percent(stage.settings.by_themselves)) {
            stage.hand_over(slot, from, to).await;
        } else {
            stage.reshard(slot, from, to).await;
        }
    }
}

impl Stage {
    fn spawn<F: Future<Output = ()> + Send + 'static>(self: &Arc<Self>, act: impl FnOnce(Arc<Self>) -> F) {
        drop(self.scheduler.spawn(act(Arc::clone(self))));
    }

    fn way(&self) -> Duration {
        self.scheduler.chance(|chance| chance.millis(0, self.settings.way_millis))
    }

    fn place(&self) -> Place {
        self.scheduler.chance(|chance| (chance.place(SLOTS), chance.place(RECORDS)))
    }

    async fn pause(&self, most: u64) {
        self.scheduler.sleep(self.scheduler.chance(|chance| chance.millis(1, most))).await;
    }

    fn count(&self, what: &'static str) {
        locked(&self.told).count(what);
    }

    /// On its way from a node to a gateway, behind all that went before.
    fn send(self: &Arc<Self>, gate: usize, node: usize, message: Message) {
        let (now, back) = (self.scheduler.now(), self.way());
        let settings = self.settings;
        let stall = self.scheduler.chance(|chance| {
            let stalls = chance.percent(settings.stalls);
            if stalls { chance.millis(1, settings.stall_millis) } else { Duration::ZERO }
        });
        let at = {
            let mut wire = locked(&self.gates[gate].wires[node]);
            wire.last = (now + back + stall).max(wire.last + Duration::from_micros(1));
            wire.last
        };
        self.spawn(async move |stage| {
            stage.scheduler.sleep(at - now).await;
            stage.take(gate, node, message);
        });
    }

    fn take(&self, gate: usize, node: usize, message: Message) {
        let Gate { cache, wires, .. } = &self.gates[gate];
        let mut wire = locked(&wires[node]);
        match message {
            Message::Changed(place) => cache.changed(key(place).to_string().as_bytes()),
            Message::States(sent, states) => {
                let lost = wire.tenure.answered(&states, sent, self.scheduler.now());
                if lost > 0 {
                    self.count("leases lost");
                }
            }
            Message::Arrived(answer) => {
                let (asked, wanted, place, version) = *answer;
                self.serve(gate, asked, place, version);
                if let Some(line) = wire.tenure.line() {
                    cache.arrived(&line, &wanted, &key(place), &fact(version));
                }
            }
        }
    }

    /// Answers out of memory, or asks whoever has it and keeps what comes.
    async fn recall(self: &Arc<Self>, gate: usize, place: Place) {
        let (keys, cache) = (Keys::of([key(place)]), &self.gates[gate].cache);
        if let Some(facts) = cache.at_hand(&keys, self.scheduler.now()) {
            let version = facts.of(&key(place)).map(version).unwrap_or_default();
            self.serve(gate, self.scheduler.now(), place, version);
            self.count(if version == 0 { "absence at hand" } else { "at hand" });
            return;
        }
        let wanted = cache.want(&keys);
        let asked = self.scheduler.now();
        let node = self.gates[gate].asks(place.0, asked);
        self.scheduler.sleep(self.way()).await;
        let answer = locked(&self.nodes).read(node, place, Some(gate));
        match answer {
            Answer::Version(version) => {
                self.send(gate, node, Message::Arrived(Box::new((asked, wanted, place, version))))
            }
            // It is read there, used once, and not kept.
            Answer::Ask(to) => {
                self.hands_over(gate, place.0, node, asked);
                self.scheduler.sleep(self.way()).await;
                let _once = locked(&self.nodes).read(to, place, None);
                self.count("asked on");
            }
            Answer::Elsewhere => {
                self.denied(gate, place.0, node, asked);
                self.count("moved on");
                self.looks_at_the_map(gate).await;
            }
        }
    }

    fn serve(&self, gate: usize, asked: Duration, place: Place, version: u64) {
        locked(&self.told).served.push((gate, asked, place, version));
    }

    /// A node has said, of what it was sent at this moment, that another has the slot, and that is heard now.
    fn denied(&self, gate: usize, slot: usize, node: usize, sent: Duration) {
        locked(&self.gates[gate].holders).denied(&slot, &node, sent);
    }

    /// The same, that it is on its way to another.
    fn hands_over(&self, gate: usize, slot: usize, node: usize, sent: Duration) {
        locked(&self.gates[gate].holders).hands_over(slot, node, sent, self.scheduler.now());
    }

    /// Writes a new version, wherever the record is to be found.
    async fn write(self: &Arc<Self>, gate: usize, place: Place) {
        let barred = self.gates[gate].cache.barred([key(place)].into_iter());
        let (mut node, mut asking) = (self.gates[gate].asks(place.0, self.scheduler.now()), false);
        let written = loop {
            let sent = self.scheduler.now();
            self.scheduler.sleep(self.way()).await;
            let judged = locked(&self.nodes).takes(node, place, asking);
            match judged {
                Ok(()) => break self.land(node, place),
                Err(Answer::Ask(to)) => {
                    self.hands_over(gate, place.0, node, sent);
                    (node, asking) = (to, true);
                }
                Err(_) => {
                    self.scheduler.sleep(Duration::from_millis(5)).await;
                    if !asking {
                        self.denied(gate, place.0, node, sent);
                    }
                    self.looks_at_the_map(gate).await;
                    (node, asking) = (self.gates[gate].asks(place.0, self.scheduler.now()), false);
                }
            }
        };
        self.scheduler.sleep(self.way()).await;
        if !asking {
            locked(&self.gates[gate].holders).took(place.0, node, self.scheduler.now());
        }
        drop(barred);
        let mut told = locked(&self.told);
        told.written.push((gate, self.scheduler.now(), place, written));
        told.count(if asking { "written where it is on its way to" } else { "written" });
    }

    fn land(self: &Arc<Self>, node: usize, place: Place) -> u64 {
        let (version, asked) = {
            let mut nodes = locked(&self.nodes);
            nodes.versions += 1;
            let version = nodes.versions;
            nodes.nodes[node].records.insert(place, version);
            (version, nodes.asked(node, place))
        };
        asked.into_iter().for_each(|gate| self.send(gate, node, Message::Changed(place)));
        version
    }

    /// Takes over what some node says of who has what. What was read on one that has other slots now is not believed any more.
    async fn looks_at_the_map(self: &Arc<Self>, gate: usize) {
        self.scheduler.sleep(self.way()).await;
        let by = self.scheduler.chance(|chance| chance.place(NODES));
        let (asked, next): (_, Vec<usize>) = {
            let nodes = locked(&self.nodes);
            (self.scheduler.now(), (0..SLOTS).map(|slot| nodes.owner_by(by, slot)).collect())
        };
        self.scheduler.sleep(self.way()).await;
        let Gate { wires, map, .. } = &self.gates[gate];
        let before = {
            let mut map = locked(map);
            // Somebody who has asked later was faster.
            if map.0 > asked {
                return;
            }
            std::mem::replace(&mut *map, (asked, next.clone())).1
        };
        for (node, wire) in wires.iter().enumerate() {
            let served = |map: &[usize]| -> Vec<usize> { (0..SLOTS).filter(|slot| map[*slot] == node).collect() };
            if served(&before) != served(&next) {
                let _ = locked(wire).tenure.forget();
            }
        }
    }

    /// Key by key, as `redis-cli --cluster reshard` does.
    async fn reshard(self: &Arc<Self>, slot: usize, from: usize, to: usize) {
        let step = self.settings.step_millis;
        locked(&self.nodes).nodes[to].expects.insert(slot);
        self.pause(step).await;
        locked(&self.nodes).nodes[from].hands_over.insert(slot, to);
        self.pause(step).await;
        for record in 0..RECORDS {
            let place = (slot, record);
            let asked = {
                let mut nodes = locked(&self.nodes);
                let moved = nodes.nodes[from].records.remove(&place);
                moved.map_or_else(BTreeSet::new, |version| {
                    nodes.nodes[to].records.insert(place, version);
                    nodes.asked(from, place)
                })
            };
            asked.into_iter().for_each(|gate| self.send(gate, from, Message::Changed(place)));
            self.pause(step).await;
        }
        locked(&self.nodes).claim(to, slot);
        self.pause(UNAWARE_MILLIS).await;
        self.lets_go(slot, from);
        self.count("resharded");
    }

    /// As a whole, by the nodes themselves: the old one learns of it last.
    async fn hand_over(self: &Arc<Self>, slot: usize, from: usize, to: usize) {
        {
            let mut nodes = locked(&self.nodes);
            for record in 0..RECORDS {
                if let Some(version) = nodes.nodes[from].records.get(&(slot, record)).copied() {
                    nodes.nodes[to].records.insert((slot, record), version);
                }
            }
            nodes.claim(to, slot);
            nodes.nodes[from].paused.insert(slot);
        }
        self.pause(UNAWARE_MILLIS).await;
        self.lets_go(slot, from);
        self.count("handed over");
    }

    fn lets_go(self: &Arc<Self>, slot: usize, from: usize) {
        for record in 0..RECORDS {
            let place = (slot, record);
            let asked = {
                let mut nodes = locked(&self.nodes);
                nodes.nodes[from].owns.remove(&slot);
                nodes.nodes[from].hands_over.remove(&slot);
                nodes.nodes[from].paused.remove(&slot);
                // Only who had read a record that was there is told that it is gone.
                let gone = nodes.nodes[from].records.remove(&place);
                if gone.is_some() { nodes.asked(from, place) } else { BTreeSet::new() }
            };
            asked.into_iter().for_each(|gate| self.send(gate, from, Message::Changed(place)));
        }
    }
}
