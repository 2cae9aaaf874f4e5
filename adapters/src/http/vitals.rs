//! What the ticker of a core knows of one connection: which part it is in, and whether it moves.
//!
//! Nothing here reads a clock. The hot path leaves flags and counters, plain stores without a locked instruction; the
//! ticker compares them with what it saw a tick before. All of it happens on the core's one thread; the atomics are
//! there because tasks must be `Send`.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};

use super::framing::{Misframed, Place};

/// The flags and counters of one connection.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// Counts requests; whoever holds a number that has passed no longer speaks for the connection.
    turn: AtomicU32,
    /// A request is with its handler, or its response body is not at its end.
    serving: AtomicBool,
    /// A byte of an answer has left since the head began.
    answered: AtomicBool,
    /// The last write was refused by a full socket.
    writing: AtomicBool,
    /// Counts reads and writes that moved something.
    moves: AtomicU32,
    place: AtomicU8,
    /// The handler waits for bytes of the request body.
    awaiting_body: AtomicBool,
    body_bytes: AtomicU64,
    /// The request body was read to its end. Otherwise the library may hold a rest of it that is no request.
    body_over: AtomicBool,
    written_bytes: AtomicU64,
    /// The response is an event stream, which may be silent for as long as it likes.
    event_stream: AtomicBool,
    severed: AtomicBool,
    /// Somebody with a session has spoken on this connection.
    known: AtomicBool,
    /// The client has not yet agreed on how bytes are sent.
    shaking: AtomicBool,
    farewell: AtomicU8,
    /// The end of the connection was asked for.
    closing: AtomicBool,
    /// A request was taken up since the connection was last looked after.
    had_a_turn: AtomicBool,
    /// Requests follow each other so closely that the library's buffers are kept between them.
    busy: AtomicBool,
    /// Whoever runs the connection, once it has run.
    runner: OnceLock<Waker>,
    overdue: AtomicBool,
    /// Who waits for the upstream's response head.
    waiting: Mutex<Option<Waker>>,
}

/// What a connection is told before it is closed without an answer of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// 400: the request has no single reading.
    BadRequest,
    /// 408: the request did not arrive in time.
    Timeout,
    /// 431: the head is larger than is read.
    HeadTooLarge,
}

impl Vitals {
    /// A request goes to its handler; the number stands for it from here on.
    pub(super) fn begin(&self) -> u32 {
        let turn = self.turn.load(Relaxed).wrapping_add(1);
        self.turn.store(turn, Relaxed);
        self.answered.store(false, Relaxed);
        self.awaiting_body.store(false, Relaxed);
        self.body_over.store(false, Relaxed);
        self.event_stream.store(false, Relaxed);
        self.overdue.store(false, Relaxed);
        self.severed.store(false, Relaxed);
        self.serving.store(true, Relaxed);
        turn
    }

    /// The response body is at its end, or was given up.
    pub(super) fn rest(&self, turn: u32) {
        if self.is_turn(turn) {
            self.serving.store(false, Relaxed);
            self.awaiting_body.store(false, Relaxed);
            self.event_stream.store(false, Relaxed);
        }
    }

    /// A handshake begins or has ended.
    pub(super) fn set_shaking(&self, shaking: bool) {
        self.shaking.store(shaking, Relaxed);
    }

    /// Bytes came in; `place` is where they ended.
    pub(super) fn read(&self, place: Place) {
        self.moved();
        if place == Place::Head && !self.serving() && self.place() == Place::Between && !self.writing() {
            self.answered.store(false, Relaxed);
        }
        self.place.store(code(place), Relaxed);
    }

    /// Bytes went out.
    pub(super) fn wrote(&self, bytes: usize) {
        self.moved();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.written_bytes.store(self.written_bytes.load(Relaxed).wrapping_add(bytes), Relaxed);
        self.set_writing(false);
        self.answered.store(true, Relaxed);
    }

    /// The socket takes nothing at the moment, or takes again.
    pub(super) fn set_writing(&self, writing: bool) {
        let was = self.writing();
        self.writing.store(writing, Relaxed);
        if was && !writing {
            self.wake();
        }
    }

    /// Who runs the connection: always the same task.
    pub(super) fn run_by(&self, runner: &Waker) {
        self.runner.get_or_init(|| runner.clone());
    }

    /// Requests follow each other closely, or do so no longer.
    pub(super) fn set_busy(&self, busy: bool) {
        let was = self.busy.load(Relaxed);
        self.busy.store(busy, Relaxed);
        if was && !busy {
            self.wake();
        }
    }

    /// Whether the library's buffers are of no use now.
    pub(super) fn may_rest(&self) -> bool {
        let is_over = self.body_over.load(Relaxed) && self.is_at_rest();
        is_over && !self.busy.load(Relaxed) && !self.closing.load(Relaxed)
    }

    /// The end of the connection was asked for.
    pub(super) fn set_closing(&self) {
        self.closing.store(true, Relaxed);
    }

    /// The connection is looked after.
    pub(super) fn looked_after(&self) {
        self.had_a_turn.store(false, Relaxed);
    }

    /// Waits until the client has taken what was answered before: whoever asks on and on and reads nothing has one answer
    /// waiting, not many. And whoever has many questions at once is answered one, and again when everybody else had a turn.
    pub(super) async fn room(&self) {
        if self.had_a_turn.load(Relaxed) {
            tokio::task::yield_now().await;
        }
        self.had_a_turn.store(true, Relaxed);
        // Whoever writes wakes the connection when the socket takes again.
        poll_fn(|_| if self.writing() { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// The handler asked for body bytes and got none yet.
    pub(super) fn await_body(&self, turn: u32) {
        if self.is_turn(turn) {
            self.awaiting_body.store(true, Relaxed);
        }
    }

    /// Body bytes reached the handler.
    pub(super) fn body_came(&self, turn: u32, bytes: usize) {
        if self.is_turn(turn) {
            self.awaiting_body.store(false, Relaxed);
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.body_bytes.store(self.body_bytes.load(Relaxed).wrapping_add(bytes), Relaxed);
        }
    }

    /// The request body was read to its end.
    pub(super) fn body_ended(&self, turn: u32) {
        if self.is_turn(turn) {
            self.body_over.store(true, Relaxed);
            self.awaiting_body.store(false, Relaxed);
        }
    }

    /// The response is an event stream.
    pub(super) fn set_event_stream(&self) {
        self.event_stream.store(true, Relaxed);
    }

    /// The connection is to be closed at the next tick, whatever it does.
    pub(super) fn sever(&self) {
        self.severed.store(true, Relaxed);
    }

    /// Decides the last word; the first decision stays.
    pub(super) fn bid(&self, farewell: Farewell) {
        if self.farewell.load(Relaxed) == 0 {
            let code = match farewell {
                Farewell::BadRequest => 1,
                Farewell::Timeout => 2,
                Farewell::HeadTooLarge => 3,
            };
            self.farewell.store(code, Relaxed);
        }
    }

    /// Decides the last word on a message that was refused.
    pub(super) fn refuse(&self, fault: Misframed) {
        // It came whole, so that nothing was read of it before: what left last was the answer to another.
        if self.is_at_rest() {
            self.answered.store(false, Relaxed);
        }
        self.bid(if fault == Misframed::TooLarge { Farewell::HeadTooLarge } else { Farewell::BadRequest });
    }

    /// The last word, if one is due and nothing of another answer has left that it would run into. Taken only once.
    pub(super) fn take_farewell(&self) -> Option<Farewell> {
        let farewell = match self.farewell.swap(0, Relaxed) {
            1 => Farewell::BadRequest,
            2 => Farewell::Timeout,
            3 => Farewell::HeadTooLarge,
            _ => return None,
        };
        (!self.writing() && !self.answered.load(Relaxed)).then_some(farewell)
    }

    /// Remembers who waits for the upstream's response head. True once it has waited too long.
    pub(super) fn wait_for_head(&self, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &*waiting {
            Some(known) if known.will_wake(waker) => {}
            _ => *waiting = Some(waker.clone()),
        }
        self.overdue.load(Relaxed)
    }

    /// The head came, or nobody waits any more.
    pub(super) fn head_came(&self) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Wakes whoever waits for the upstream's response head, with the news that it is late. False if nobody waits.
    pub(super) fn call_overdue(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        match waiting {
            Some(waker) => {
                self.overdue.store(true, Relaxed);
                waker.wake();
                true
            }
            None => false,
        }
    }

    pub(super) fn place(&self) -> Place {
        match self.place.load(Relaxed) {
            0 => Place::Between,
            1 => Place::Head,
            _ => Place::Body,
        }
    }

    pub(super) fn turn(&self) -> u32 {
        self.turn.load(Relaxed)
    }

    pub(super) fn serving(&self) -> bool {
        self.serving.load(Relaxed)
    }

    pub(super) fn writing(&self) -> bool {
        self.writing.load(Relaxed)
    }

    pub(super) fn moves(&self) -> u32 {
        self.moves.load(Relaxed)
    }

    pub(super) fn awaiting_body(&self) -> bool {
        self.awaiting_body.load(Relaxed)
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Relaxed)
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Relaxed)
    }

    pub(super) fn event_stream(&self) -> bool {
        self.event_stream.load(Relaxed)
    }

    pub(super) fn shaking(&self) -> bool {
        self.shaking.load(Relaxed)
    }

    /// Between two requests, with nothing under way in either direction.
    pub(super) fn is_at_rest(&self) -> bool {
        self.place() == Place::Between && !self.serving() && !self.writing()
    }

    /// Somebody with a session speaks here.
    pub(super) fn set_known(&self) {
        self.known.store(true, Relaxed);
    }

    pub(super) fn known(&self) -> bool {
        self.known.load(Relaxed)
    }

    pub(super) fn severed(&self) -> bool {
        self.severed.load(Relaxed)
    }

    /// The upstream moved something that the client's socket does not show yet.
    pub(super) fn moved(&self) {
        self.moves.store(self.moves.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn wake(&self) {
        if let Some(runner) = self.runner.get() {
            runner.wake_by_ref();
        }
    }

    fn is_turn(&self, turn: u32) -> bool {
        self.turn.load(Relaxed) == turn
    }
}

fn code(place: Place) -> u8 {
    match place {
        Place::Between => 0,
        Place::Head => 1,
        Place::Body => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn t246_the_next_answer_waits_until_the_client_has_taken_the_one_before() {
        let (vitals, woken) = (Vitals::default(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        vitals.run_by(&waker);
        vitals.set_writing(true);
        let (mut room, mut context) = (pin!(vitals.room()), Context::from_waker(&waker));
        assert!(room.as_mut().poll(&mut context).is_pending());
        vitals.wrote(10);
        assert_eq!(woken.0.load(Relaxed), 1, "whoever waits is woken");
        assert!(room.as_mut().poll(&mut context).is_ready());
        vitals.wrote(10);
        assert_eq!(woken.0.load(Relaxed), 1, "and nobody otherwise");
    }

    #[test]
    fn a_connection_rests_only_where_nothing_is_under_way() {
        let vitals = Vitals::default();
        let turn = vitals.begin();
        assert!(!vitals.may_rest(), "an answer is on its way");
        vitals.rest(turn);
        assert!(!vitals.may_rest(), "nobody has read the request's body");
        vitals.body_ended(turn);
        assert!(vitals.may_rest());
        vitals.set_writing(true);
        assert!(!vitals.may_rest(), "it has not left");
        vitals.wrote(1);
        vitals.read(Place::Head);
        assert!(!vitals.may_rest(), "a head has begun");
        vitals.read(Place::Between);
        assert!(vitals.may_rest());
        vitals.set_busy(true);
        assert!(!vitals.may_rest(), "the next request is close");
        vitals.set_busy(false);
        vitals.set_closing();
        assert!(!vitals.may_rest(), "it ends");
    }
}
