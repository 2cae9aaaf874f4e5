//! One thread, virtual time: what runs next is chance, and chance is the seed's.
//!
//! Time stands still while any task can run, and then jumps to the next timer.

use super::chance::Chance;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A handle on the one scheduler of a run.
#[derive(Clone)]
pub(crate) struct Scheduler(Arc<Mutex<State>>);

struct State {
    now: Duration,
    chance: Chance,
    ready: Vec<usize>,
    tasks: Vec<Slot>,
    vacant: Vec<usize>,
    timers: BTreeMap<(Duration, u64), Waker>,
    next_timer: u64,
}

#[derive(Default)]
struct Slot {
    task: Option<Task>,
    waker: Option<Waker>,
    ready: bool,
}

/// What one step did.
enum Step {
    /// It polled a task, or let time pass.
    Polled,
    /// It is the main future's turn.
    Main(usize),
    /// Nothing can ever run again.
    Idle,
}

/// More steps than any honest run takes: whoever spins does not spin for ever.
const STEPS_MAX: usize = 5_000_000;

impl Scheduler {
    /// The scheduler of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            chance: Chance::new(seed),
            ready: Vec::new(),
            tasks: Vec::new(),
            vacant: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
        })))
    }

    /// Runs this future, and everything that it spawns, until it is done. What is still waiting then is dropped.
    ///
    /// # Panics
    /// If it can never be done.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut main = pin!(future);
        let (main_place, waker) = self.occupy(None);
        for _ in 0..STEPS_MAX {
            match self.step() {
                Step::Polled => {}
                Step::Main(place) => {
                    debug_assert_eq!(place, main_place, "only the main future stands in no slot");
                    if let Poll::Ready(answer) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                        self.clear();
                        return answer;
                    }
                }
                Step::Idle => panic!("everything waits, and for nothing"),
            }
        }
        panic!("more steps than any honest run takes");
    }

    /// Runs a future beside the others.
    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Joined<T> {
        let joined = Joined(Arc::default());
        let hand = Joined(Arc::clone(&joined.0));
        let task: Task = Box::pin(async move { hand.give(future.await) });
        self.occupy(Some(task));
        joined
    }

    fn occupy(&self, task: Option<Task>) -> (usize, Waker) {
        let mut state = self.lock();
        let place = state.vacant.pop().unwrap_or_else(|| {
            state.tasks.push(Slot::default());
            state.tasks.len() - 1
        });
        let waker = Waker::from(Arc::new(Wakeup { place, scheduler: self.clone() }));
        state.tasks[place] = Slot { task, waker: Some(waker.clone()), ready: true };
        state.ready.push(place);
        (place, waker)
    }

    /// The virtual time since the run began.
    pub(crate) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Lets virtual time pass.
    pub(crate) fn sleep(&self, span: Duration) -> Sleep {
        let mut state = self.lock();
        let until = state.now.saturating_add(span);
        state.next_timer += 1;
        Sleep { key: (until, state.next_timer), scheduler: self.clone() }
    }

    /// Asks the run's chance.
    pub(crate) fn chance<T>(&self, ask: impl FnOnce(&mut Chance) -> T) -> T {
        ask(&mut self.lock().chance)
    }

    /// One poll of one task, or one jump of time.
    fn step(&self) -> Step {
        let mut state = self.lock();
        if state.ready.is_empty() {
            let Some(((at, _), waker)) = state.timers.pop_first() else { return Step::Idle };
            state.now = state.now.max(at);
            drop(state);
            waker.wake();
            return Step::Polled;
        }
        let len = state.ready.len();
        let chosen = state.chance.place(len);
        let place = state.ready.swap_remove(chosen);
        let slot = &mut state.tasks[place];
        slot.ready = false;
        let (task, waker) = (slot.task.take(), slot.waker.clone());
        drop(state);
        let (Some(mut task), Some(waker)) = (task, waker) else { return Step::Main(place) };
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.lock().tasks[place].task = Some(task);
        } else {
            // The task is dropped before its place is given away: dropping it may wake others.
            drop(task);
            let mut state = self.lock();
            state.tasks[place].waker = None;
            state.ready.retain(|other| *other != place);
            state.vacant.push(place);
        }
        Step::Polled
    }

    fn clear(&self) {
        let mut state = self.lock();
        let left = (std::mem::take(&mut state.tasks), std::mem::take(&mut state.timers));
        state.ready.clear();
        state.vacant.clear();
        drop(state);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wakeup {
    place: usize,
    scheduler: Scheduler,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        let mut state = self.scheduler.lock();
        let place = self.place;
        if let Some(slot) = state.tasks.get_mut(place)
            && slot.waker.is_some()
            && !slot.ready
        {
            slot.ready = true;
            state.ready.push(place);
        }
    }
}

/// A span of virtual time.
pub(crate) struct Sleep {
    key: (Duration, u64),
    scheduler: Scheduler,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.scheduler.lock();
        if state.now >= self.key.0 {
            return Poll::Ready(());
        }
        state.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.scheduler.lock().timers.remove(&self.key);
        drop(waker);
    }
}

/// The answer of a spawned task, for whoever waits; dropping it stops nothing.
pub(crate) struct Joined<T>(Arc<Mutex<(Option<T>, Option<Waker>)>>);

impl<T> Joined<T> {
    /// The answer, if it is there.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.take()
    }

    fn give(&self, answer: T) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.0 = Some(answer);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Joined<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.0.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
