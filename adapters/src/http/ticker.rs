//! The one timer of a core: four times a second it has looked over all connections, a part of them at a time, and ended those
//! that are overdue.
//!
//! | the connection is | and its bound is | at the end of which |
//! |---|---|---|
//! | new, without a byte | `head` | it is closed |
//! | inside a head | `head`, from the head's first byte, however it dribbles | 408 and closed |
//! | waiting for body bytes | `body_window` of waiting per `BODY_WINDOW_MIN` bytes | 408 and closed |
//! | still sending a body that nobody reads | `body_window` | closed |
//! | not taking its answer, or too little of it | `write_stall` of waiting per `READ_WINDOW_MIN` bytes; per byte of an event stream | closed |
//! | with a request in which nothing moves | `quiet`; none on an event stream | 504 if an upstream's head is awaited, else closed |
//! | between two requests | `idle`, or the listener's stop | closed |
//!
//! A connection keeps its buffers between two requests only where they follow each other within a tick.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_domain::limits;
use tokio::task::AbortHandle;

use super::framing::Place;
use super::runtime::{Counts, Settings};
use super::vitals::{Farewell, Vitals};

/// The connections of one core.
pub(super) struct Ticker {
    settings: Arc<Settings>,
    /// For strangers, when there is little room left.
    hurried: Settings,
    counts: Arc<Counts>,
    watched: Vec<Watched>,
    /// How many parts this round has, and how far it has come, in parts and in connections.
    parts: usize,
    part: usize,
    next: usize,
}

impl Ticker {
    pub(super) fn new(settings: Arc<Settings>, counts: Arc<Counts>) -> Self {
        Self { hurried: settings.hurried(), settings, counts, watched: Vec::new(), parts: 1, part: 0, next: 0 }
    }

    pub(super) fn watch(&mut self, vitals: Arc<Vitals>, task: AbortHandle) {
        self.watched.push(Watched { seen: Seen::new(&vitals, Instant::now()), vitals, task });
    }

    /// Whether every connection has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Looks over the next part of the connections. What comes of it is spread over the round in this way: whoever was overdue in
    /// the same round is not ended, and does not come again, at the same moment. True at the end of a round.
    pub(super) fn tick(&mut self, draining: bool) -> bool {
        let now = Instant::now();
        let is_pressed = self.counts.open() > self.settings.connections_max.saturating_mul(3) / 4;
        self.part = self.part.saturating_add(1);
        while self.next < self.watched.len().saturating_mul(self.part).div_ceil(self.parts) {
            let Some(watched) = self.watched.get_mut(self.next) else { break };
            if watched.task.is_finished() {
                self.watched.swap_remove(self.next);
                continue;
            }
            let hurries = is_pressed && !watched.vitals.known();
            let settings = if hurries { &self.hurried } else { &*self.settings };
            match watched.seen.judge(&watched.vitals, settings, now) {
                Verdict::Idle if draining => watched.task.abort(),
                Verdict::Idle => watched.vitals.set_busy(false),
                Verdict::Fine => {}
                Verdict::Overdue(farewell) => {
                    self.counts.count_timed_out();
                    if let Some(farewell) = farewell {
                        watched.vitals.bid(farewell);
                    }
                    watched.task.abort();
                }
                Verdict::Severed => watched.task.abort(),
            }
            self.next = self.next.saturating_add(1);
        }
        let is_round = self.part >= self.parts;
        if is_round {
            (self.part, self.next) = (0, 0);
            self.parts = self.watched.len().div_ceil(PART).clamp(1, PARTS_MAX);
        }
        is_round
    }

    /// How long after a part the next one is due.
    pub(super) fn pause(&self) -> Duration {
        u32::try_from(self.parts).ok().and_then(|parts| limits::TICK.checked_div(parts)).unwrap_or(limits::TICK)
    }

    /// Ends them all.
    pub(super) fn end_all(&self) {
        for watched in &self.watched {
            watched.task.abort();
        }
    }
}

/// Connections in one part of a round, about: they are looked at within some tens of microseconds.
const PART: usize = 64;
/// The parts of one round at the most.
const PARTS_MAX: usize = 25;

struct Watched {
    vitals: Arc<Vitals>,
    task: AbortHandle,
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Idle,
    Overdue(Option<Farewell>),
    Severed,
}

/// What was seen of a connection at the tick before, and since when.
#[derive(Debug)]
struct Seen {
    stage: (u32, bool, Place),
    stage_since: Instant,
    moves: u32,
    moved: Instant,
    /// The client, for this request's body.
    body: Window,
    /// The client, until it takes more of its answers.
    taking: Window,
    last: Instant,
}

impl Seen {
    fn new(vitals: &Vitals, now: Instant) -> Self {
        Self {
            stage: stage(vitals),
            stage_since: now,
            moves: vitals.moves(),
            moved: now,
            body: Window::from(vitals.body_bytes()),
            taking: Window::from(vitals.written_bytes()),
            last: now,
        }
    }

    fn judge(&mut self, vitals: &Vitals, settings: &Settings, now: Instant) -> Verdict {
        let passed = now.saturating_duration_since(self.last);
        self.last = now;
        if stage(vitals) != self.stage {
            let turns = vitals.turn().wrapping_sub(self.stage.0);
            if turns > 1 {
                vitals.set_busy(true);
            }
            if turns > 0 {
                self.body = Window::from(vitals.body_bytes());
            }
            self.stage = stage(vitals);
            self.stage_since = now;
        }
        if vitals.moves() != self.moves {
            self.moves = vitals.moves();
            self.moved = now;
        }
        if vitals.severed() {
            return Verdict::Severed;
        }
        // A stream brings what there is to tell, and that may be little.
        let least = if vitals.event_stream() { 1 } else { limits::READ_WINDOW_MIN };
        if vitals.writing() && !self.taking.brings(vitals.written_bytes(), least, passed, settings.write_stall) {
            return Verdict::Overdue(None);
        }
        let staged = now.saturating_duration_since(self.stage_since);
        let (turn, serving, place) = self.stage;
        if serving {
            return self.judge_request(vitals, settings, passed, now);
        }
        match place {
            Place::Between if turn == 0 && staged >= settings.head => Verdict::Overdue(None),
            Place::Between if staged >= settings.idle => Verdict::Overdue(None),
            // A request may be in the socket already: nobody is idle who came or was answered a moment ago.
            Place::Between if vitals.shaking() && staged < limits::HANDSHAKE_USUAL => Verdict::Fine,
            Place::Between if vitals.writing() || staged < limits::TICK => Verdict::Fine,
            Place::Between => Verdict::Idle,
            Place::Head if staged >= settings.head => Verdict::Overdue(Some(Farewell::Timeout)),
            Place::Body if staged >= settings.body_window => Verdict::Overdue(None),
            Place::Head | Place::Body => Verdict::Fine,
        }
    }

    fn judge_request(&mut self, vitals: &Vitals, settings: &Settings, passed: Duration, now: Instant) -> Verdict {
        if vitals.awaiting_body()
            && !self.body.brings(vitals.body_bytes(), limits::BODY_WINDOW_MIN, passed, settings.body_window)
        {
            return Verdict::Overdue(Some(Farewell::Timeout));
        }
        if !vitals.event_stream() && now.saturating_duration_since(self.moved) >= settings.quiet {
            if !vitals.call_overdue() {
                return Verdict::Overdue(None);
            }
            // The handler answers 504 now, and has as long again to bring that out.
            self.moved = now;
        }
        Verdict::Fine
    }
}

/// How long somebody was waited for since so many bytes had passed.
#[derive(Debug)]
struct Window {
    waited: Duration,
    mark: u64,
}

impl Window {
    fn from(mark: u64) -> Self {
        Self { waited: Duration::ZERO, mark }
    }

    /// Waits for this much longer. False if a whole window of waiting has brought fewer bytes than the least.
    fn brings(&mut self, bytes: u64, least: u32, passed: Duration, window: Duration) -> bool {
        self.waited = self.waited.saturating_add(passed);
        if self.waited < window {
            return true;
        }
        if bytes.wrapping_sub(self.mark) < u64::from(least) {
            return false;
        }
        *self = Self::from(bytes);
        true
    }
}

fn stage(vitals: &Vitals) -> (u32, bool, Place) {
    (vitals.turn(), vitals.serving(), vitals.place())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that is waited for at every tick, and takes so many bytes of its answers between two: when it is closed.
    fn closed_after(bytes: usize, is_stream: bool, lasts: Duration) -> Option<Duration> {
        let (vitals, settings, begun) = (Vitals::default(), Settings::default(), Instant::now());
        vitals.begin();
        if is_stream {
            vitals.set_event_stream();
        }
        let mut seen = Seen::new(&vitals, begun);
        let mut passed = Duration::ZERO;
        while passed < lasts {
            passed = passed.saturating_add(limits::TICK);
            if bytes > 0 {
                vitals.wrote(bytes);
            }
            vitals.set_writing(true);
            if seen.judge(&vitals, &settings, begun.checked_add(passed).unwrap()) != Verdict::Fine {
                return Some(passed);
            }
        }
        None
    }

    #[test]
    fn t246_a_client_that_takes_too_little_of_its_answer_is_closed_and_one_of_a_stream_is_not() {
        let (window, long) = (limits::WRITE_STALL, limits::WRITE_STALL * 10);
        let ticks = window.as_millis() / limits::TICK.as_millis();
        let enough = usize::try_from(limits::READ_WINDOW_MIN).unwrap().div_ceil(usize::try_from(ticks).unwrap());
        assert_eq!(closed_after(0, false, long), Some(window));
        assert_eq!(closed_after(enough - 1, false, long), Some(window));
        assert_eq!(closed_after(enough, false, long), None);
        assert_eq!(closed_after(1, true, long), None);
        assert_eq!(closed_after(0, true, long), Some(window));
    }

    #[test]
    fn t246_bytes_that_a_client_sends_do_not_make_up_for_those_that_it_does_not_take() {
        let (vitals, settings, begun) = (Vitals::default(), Settings::default(), Instant::now());
        vitals.begin();
        vitals.set_writing(true);
        let mut seen = Seen::new(&vitals, begun);
        let ends = (1..1_000_u32).find(|tick| {
            vitals.read(Place::Head);
            seen.judge(&vitals, &settings, begun.checked_add(limits::TICK * *tick).unwrap()) != Verdict::Fine
        });
        assert_eq!(ends.map(|tick| limits::TICK * tick), Some(limits::WRITE_STALL));
    }
}
