//! The one timer of a core: four times a second it looks over all connections and ends those that are overdue.
//!
//! | the connection is | and its bound is | at the end of which |
//! |---|---|---|
//! | new, without a byte | `head` | it is closed |
//! | inside a head | `head`, from the head's first byte, however it dribbles | 408 and closed |
//! | waiting for body bytes | `body_window` of waiting per `BODY_WINDOW_MIN` bytes | 408 and closed |
//! | still sending a body that nobody reads | `body_window` | closed |
//! | not taking its answer | `write_stall` | closed |
//! | with a request in which nothing moves | `quiet`; none on an event stream | 504 if an upstream's head is awaited, else closed |
//! | between two requests | `idle`, or the listener's stop | closed |

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
}

impl Ticker {
    pub(super) fn new(settings: Arc<Settings>, counts: Arc<Counts>) -> Self {
        Self { hurried: settings.hurried(), settings, counts, watched: Vec::new() }
    }

    pub(super) fn watch(&mut self, vitals: Arc<Vitals>, task: AbortHandle) {
        self.watched.push(Watched { seen: Seen::new(&vitals, Instant::now()), vitals, task });
    }

    /// Whether every connection has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Looks over all connections, and lets them run between slices so that none waits for the whole round.
    pub(super) async fn tick(&mut self, draining: bool) {
        let now = Instant::now();
        let is_pressed = self.counts.open() > self.settings.connections_max.saturating_mul(3) / 4;
        let mut next = 0_usize;
        while next < self.watched.len() {
            for _ in 0..SLICE {
                let Some(watched) = self.watched.get_mut(next) else { break };
                if watched.task.is_finished() {
                    self.watched.swap_remove(next);
                    continue;
                }
                let hurries = is_pressed && !watched.vitals.known();
                let settings = if hurries { &self.hurried } else { &*self.settings };
                match watched.seen.judge(&watched.vitals, settings, now) {
                    Verdict::Idle if draining => watched.task.abort(),
                    Verdict::Idle | Verdict::Fine => {}
                    Verdict::Overdue(farewell) => {
                        self.counts.count_timed_out();
                        if let Some(farewell) = farewell {
                            watched.vitals.bid(farewell);
                        }
                        watched.task.abort();
                    }
                    Verdict::Severed => watched.task.abort(),
                }
                next = next.saturating_add(1);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends them all.
    pub(super) fn end_all(&self) {
        for watched in &self.watched {
            watched.task.abort();
        }
    }
}

/// Connections that are looked at in one go: some tens of microseconds.
const SLICE: usize = 1_024;

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
    stalled: Option<Instant>,
    /// How long this request's body was waited for since `body_mark` bytes of it had come.
    body_waited: Duration,
    body_mark: u32,
    last: Instant,
}

impl Seen {
    fn new(vitals: &Vitals, now: Instant) -> Self {
        Self {
            stage: stage(vitals),
            stage_since: now,
            moves: vitals.moves(),
            moved: now,
            stalled: None,
            body_waited: Duration::ZERO,
            body_mark: vitals.body_bytes(),
            last: now,
        }
    }

    fn judge(&mut self, vitals: &Vitals, settings: &Settings, now: Instant) -> Verdict {
        let passed = now.saturating_duration_since(self.last);
        self.last = now;
        if stage(vitals) != self.stage {
            if vitals.turn() != self.stage.0 {
                self.body_waited = Duration::ZERO;
                self.body_mark = vitals.body_bytes();
            }
            self.stage = stage(vitals);
            self.stage_since = now;
        }
        let moves = vitals.moves();
        let moved = moves != self.moves;
        if moved {
            self.moves = moves;
            self.moved = now;
        }
        if vitals.severed() {
            return Verdict::Severed;
        }
        if self.has_stalled(vitals, moved, settings, now) {
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

    fn has_stalled(&mut self, vitals: &Vitals, moved: bool, settings: &Settings, now: Instant) -> bool {
        if !vitals.writing() {
            self.stalled = None;
            return false;
        }
        match self.stalled {
            Some(since) if !moved => now.saturating_duration_since(since) >= settings.write_stall,
            _ => {
                self.stalled = Some(now);
                false
            }
        }
    }

    fn judge_request(&mut self, vitals: &Vitals, settings: &Settings, passed: Duration, now: Instant) -> Verdict {
        if vitals.awaiting_body() {
            self.body_waited = self.body_waited.saturating_add(passed);
            if self.body_waited >= settings.body_window {
                let bytes = vitals.body_bytes();
                if bytes.wrapping_sub(self.body_mark) < limits::BODY_WINDOW_MIN {
                    return Verdict::Overdue(Some(Farewell::Timeout));
                }
                self.body_waited = Duration::ZERO;
                self.body_mark = bytes;
            }
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

fn stage(vitals: &Vitals) -> (u32, bool, Place) {
    (vitals.turn(), vitals.serving(), vitals.place())
}
