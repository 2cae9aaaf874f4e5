//! The loop that drives a decision, against a store that does what the script says.

use crate::engine::fixture::{Party, policy, sealer};
use crate::engine::scheduler::Scheduler;
use crate::engine::stores::Bytes;
use crate::engine::world::{Surroundings, locked};
use portcullis_domain::fresh::Fresh;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::{GrantId, Key, Person};
use portcullis_domain::limits::TRANSACT_DEADLINE;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::operation::{Decision, Epoch, Fact, Facts, Keys, Operation, Question, Write};
use portcullis_domain::record::Record;
use portcullis_domain::time::Timestamp;
use portcullis_ports::{Outcome, Seen, Store, Turnstiles, Unavailable, ask, transact};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KEY: Key = Key::FlowMark(GrantId { person: Person([1; 16]), login: [1; 16] });
const OTHER: Key = Key::FlowMark(GrantId { person: Person([1; 16]), login: [2; 16] });

type World = Surroundings<Scripted>;

#[test]
fn what_lands_is_answered_and_noted() {
    run([], [], async |world| {
        assert_eq!(transact(&world, Add(1)).await, Ok(1));
        assert_eq!(transact(&world, Add(1)).await, Ok(2));
        assert_eq!(world.journal.count(Happened::TokensRefreshed), 2);
        assert_eq!(world.turnstiles.entered.load(Ordering::Relaxed), 0, "nobody queues who loses nothing");
    });
}

#[test]
fn t081_the_loser_of_a_race_decides_again_on_what_the_winner_wrote() {
    run([], [Script::Beaten(10)], async |world| {
        assert_eq!(transact(&world, Add(1)).await, Ok(11));
        assert_eq!(world.turnstiles.entered.load(Ordering::Relaxed), 1, "the loser queues");
        assert_eq!(world.journal.count(Happened::TokensRefreshed), 1, "only what landed is noted");
    });
}

#[test]
fn t081_the_loser_of_a_single_use_is_refused() {
    run([], [Script::Beaten(1)], async |world| {
        assert_eq!(transact(&world, Once).await, Err(Fault::CallbackRepeated));
    });
}

#[test]
fn many_at_once_and_none_is_lost() {
    for seed in 0..50 {
        let scheduler = Scheduler::new(seed);
        let world = world(&scheduler, [], []);
        locked(&world_store(&world).delays).extend([Duration::from_millis(1); 4]);
        let counted = scheduler.run({
            let (world, scheduler) = (Arc::clone(&world), scheduler.clone());
            async move {
                let all: Vec<_> = (0..20)
                    .map(|_| {
                        let world = Arc::clone(&world);
                        scheduler.spawn(async move { transact(&world, Add(1)).await })
                    })
                    .collect();
                let mut answers = Vec::new();
                for one in all {
                    answers.push(one.await.unwrap());
                }
                answers.sort_unstable();
                answers
            }
        });
        assert_eq!(counted, (1..=20).collect::<Vec<u64>>(), "seed {seed}");
    }
}

#[test]
fn a_round_in_doubt_that_landed_is_found_by_its_stamp_and_its_own_reply_is_the_answer() {
    run([], [Script::LostAnswer], async |world| {
        // Decided again it would be refused: the reply can only be that of the round in doubt.
        assert_eq!(transact(&world, Once).await, Ok(1));
        assert_eq!(world.journal.count(Happened::TokensIssued), 1);
    });
}

#[test]
fn a_round_in_doubt_that_did_not_land_is_repeated() {
    run([], [Script::NeverArrives, Script::NeverArrives], async |world| {
        assert_eq!(transact(&world, Once).await, Ok(1));
        assert_eq!(world.journal.count(Happened::TokensIssued), 1);
    });
}

#[test]
fn of_several_rounds_in_doubt_the_one_that_landed_answers() {
    // The first arrives after the second has been given up: the second can no longer land, and the first has.
    run([], [Script::Late(Duration::from_millis(40)), Script::NeverArrives], async |world| {
        assert_eq!(transact(&world, Once).await, Ok(1));
        assert_eq!(world.journal.count(Happened::TokensIssued), 1);
        assert_eq!(counted(&world).await, 1);
    });
}

#[test]
fn a_round_that_arrives_late_cannot_land_on_what_came_after_it() {
    run([], [Script::Late(Duration::from_millis(400))], async |world| {
        assert_eq!(transact(&world, Add(1)).await, Ok(1));
        world_sleep(&world, Duration::from_secs(1)).await;
        assert_eq!(counted(&world).await, 1, "counted once");
    });
}

#[test]
fn t262_a_store_that_cannot_be_read_is_unavailable_and_nothing_else() {
    run([Script::NeverArrives], [], async |world| {
        assert_eq!(transact(&world, Once).await, Err(Fault::StoreUnavailable));
        assert_eq!(transact(&world, Once).await, Ok(1));
    });
    run([Script::NeverArrives], [], async |world| {
        assert_eq!(ask(&*world, &Count).await, Err(Fault::StoreUnavailable));
        assert_eq!(ask(&*world, &Count).await, Ok(0));
    });
}

#[test]
fn a_store_that_fails_while_a_round_is_in_doubt_is_asked_again() {
    run([Script::Fine, Script::NeverArrives, Script::NeverArrives], [Script::LostAnswer], async |world| {
        assert_eq!(transact(&world, Once).await, Ok(1));
    });
}

#[test]
fn t263_a_store_that_never_answers_costs_the_deadline_and_no_more() {
    for (loads, commits) in [(vec![Script::Hangs], vec![]), (vec![], vec![Script::Hangs])] {
        run(loads, commits, async |world| {
            let before = world_now(&world);
            assert_eq!(transact(&world, Once).await, Err(Fault::StoreUnavailable));
            let waited = world_now(&world).saturating_sub(before);
            assert!(waited <= TRANSACT_DEADLINE + Duration::from_millis(100), "{waited:?}");
            assert_eq!(world.journal.count(Happened::TokensIssued), 0);
        });
    }
    run([Script::Hangs], [], async |world| {
        assert_eq!(ask(&*world, &Count).await, Err(Fault::StoreUnavailable));
    });
}

#[test]
fn whoever_never_wins_is_told_that_it_was_contended() {
    let scheduler = Scheduler::new(3);
    let world = world(&scheduler, [], []);
    *locked(&world_store(&world).always) = Some(Script::Beaten(1));
    scheduler.run(async move {
        assert_eq!(transact(&world, Add(1)).await, Err(Fault::Contended));
    });
}

#[test]
fn a_store_that_stays_in_doubt_is_unavailable() {
    let scheduler = Scheduler::new(3);
    let world = world(&scheduler, [], []);
    *locked(&world_store(&world).always) = Some(Script::NeverArrives);
    scheduler.run(async move {
        assert_eq!(transact(&world, Once).await, Err(Fault::StoreUnavailable));
        assert_eq!(world.journal.count(Happened::TokensIssued), 0);
        let doubtful = world.journal.events().iter().filter(|event| event.in_doubt).count();
        assert_eq!(doubtful, 1, "what may have come about is noted once, as that");
    });
}

#[test]
fn a_queue_that_does_not_move_costs_the_deadline_and_no_more() {
    run([], [Script::Beaten(1)], async |world| {
        let _held = world.turnstiles.enter(KEY.partition()).await;
        assert_eq!(transact(&world, Add(1)).await, Err(Fault::Contended));
    });
}

#[test]
fn no_room_is_said_at_once() {
    run([], [Script::Full], async |world| {
        assert_eq!(transact(&world, Once).await, Err(Fault::Full));
        assert_eq!(world.journal.count(Happened::TokensIssued), 0);
    });
}

#[test]
fn t262_a_store_that_takes_no_writes_is_said_at_once_to_be_away() {
    run([], [Script::Away], async |world| {
        let before = world_now(&world);
        assert_eq!(transact(&world, Once).await, Err(Fault::StoreUnavailable));
        assert_eq!(world_now(&world), before, "there is nothing to wait for");
        assert!(world.journal.events().is_empty(), "and nothing has happened");
    });
    // Unless something is in doubt already, which can still be found.
    run([], [Script::LostAnswer, Script::Away], async |world| {
        assert_eq!(transact(&world, Add(1)).await, Ok(1));
    });
}

#[test]
fn t269_what_too_few_replicas_have_is_no_success_and_stays() {
    run([], [Script::Undurable], async |world| {
        assert_eq!(transact(&world, Once).await, Err(Fault::StoreUnavailable));
        assert_eq!(counted(&world).await, 1, "the write stays");
        assert_eq!(world.journal.count(Happened::TokensIssued), 1, "and the journal is told");
    });
}

#[test]
fn p05_t269_an_end_that_was_found_is_no_success_before_replicas_have_it() {
    // Its connection died before anybody could say that replicas have it: it is written once more, and that is what counts.
    for (commits, answer) in [
        (vec![Script::LostAnswer], Ok(1)),
        (vec![Script::LostAnswer, Script::LostAnswer], Ok(1)),
        (vec![Script::LostAnswer, Script::NeverArrives, Script::LostAnswer], Ok(1)),
        (vec![Script::LostAnswer, Script::Undurable], Err(Fault::StoreUnavailable)),
        (vec![Script::LostAnswer, Script::Away], Err(Fault::StoreUnavailable)),
        (vec![Script::LostAnswer, Script::Full], Err(Fault::StoreUnavailable)),
        // What somebody else has made of it in the meantime is judged as it is.
        (vec![Script::LostAnswer, Script::Beaten(1)], Err(Fault::CallbackRepeated)),
    ] {
        let (count, told) = (commits.len(), format!("{commits:?}"));
        run([], commits, async |world| {
            assert_eq!(transact(&world, Lasts).await, answer, "{told}");
            assert!(locked(&world_store(&world).commits).is_empty(), "{told}: {count} are not all of them");
            assert_eq!(world.journal.count(Happened::SessionRevoked), 1, "{told}");
            assert!(world.journal.events().iter().all(|event| !event.in_doubt), "{told}");
        });
    }
}

#[test]
fn p05_t269_who_ends_a_session_once_more_is_not_told_that_it_is_over_before_replicas_have_it() {
    run([], [], async |world| {
        let party = Party::new(&policy(Duration::ZERO), 1, 1, 1);
        let now = portcullis_ports::Clock::now(&world.clock);
        let code = transact(&world, party.callback(now)).await.unwrap();
        let tokens = transact(&world, party.exchange(code.expose(), None)).await.unwrap();
        for (script, answer) in [
            (Script::Undurable, Err(Fault::StoreUnavailable)),
            (Script::Undurable, Err(Fault::StoreUnavailable)),
            (Script::Fine, Ok(())),
            (Script::Fine, Ok(())),
        ] {
            locked(&world_store(&world).commits).push_back(script);
            assert_eq!(transact(&world, party.revoke(tokens.access.expose(), false)).await, answer, "{script:?}");
            assert!(locked(&world_store(&world).commits).is_empty(), "{script:?}: it was written");
        }
        assert_eq!(world.journal.count(Happened::SessionRevoked), 1);
    });
}

#[test]
fn t277_a_caller_that_hangs_up_stops_nothing() {
    // The answer to the commit takes a while, and the caller does not wait for it.
    let scheduler = Scheduler::new(3);
    let world = world(&scheduler, [], []);
    locked(&world_store(&world).delays).extend([Duration::from_millis(50); 3]);
    scheduler.run({
        let scheduler = scheduler.clone();
        async move {
            let caller = scheduler.spawn({
                let (world, scheduler) = (Arc::clone(&world), scheduler.clone());
                async move {
                    let mut call = std::pin::pin!(transact(&world, Once));
                    let mut patience = std::pin::pin!(scheduler.sleep(Duration::from_millis(75)));
                    std::future::poll_fn(|context| {
                        assert!(call.as_mut().poll(context).is_pending(), "it takes longer than the caller waits");
                        patience.as_mut().poll(context)
                    })
                    .await;
                }
            });
            caller.await;
            world_sleep(&world, Duration::from_secs(1)).await;
            assert_eq!(counted(&world).await, 1);
            assert_eq!(world.journal.count(Happened::TokensIssued), 1, "and the journal is told");
        }
    });
}

#[test]
fn no_randomness_means_nothing_is_issued() {
    run([], [], async |world| {
        world.entropy.exhaust();
        assert!(matches!(transact(&world, Once).await, Err(Fault::Internal(_))));
        assert_eq!(counted(&world).await, 0);
    });
}

#[test]
fn an_operation_that_breaks_its_own_word_is_our_mistake_and_lands_nothing() {
    for broken in [Broken::WritesUnread, Broken::ReadsNothing, Broken::ReadsTwoPartitions] {
        run([], [], async |world| {
            assert!(matches!(transact(&world, broken).await, Err(Fault::Internal(_))), "{broken:?}");
            assert_eq!(counted(&world).await, 0);
        });
    }
}

#[test]
fn a_refusal_is_written_before_it_is_heard() {
    run([], [Script::NeverArrives], async |world| {
        assert_eq!(transact(&world, Refuses).await, Err(Fault::CodeReplayed));
        assert_eq!(counted(&world).await, 1);
    });
}

/// Adds to a number, and answers what it is then.
struct Add(u64);

impl Operation for Add {
    type Reply = u64;

    fn reads(&self) -> Keys {
        Keys::of([KEY])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, _now: Timestamp, fresh: &Fresh) -> Decision<u64> {
        let next = number(facts) + self.0;
        Decision::commit(vec![writing(KEY, next, fresh)], Ok(next)).noting(Event::new(Happened::TokensRefreshed))
    }
}

/// Can be done once.
struct Once;

impl Operation for Once {
    type Reply = u64;

    fn reads(&self) -> Keys {
        Keys::of([KEY])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, _now: Timestamp, fresh: &Fresh) -> Decision<u64> {
        first(facts, writing(KEY, 1, fresh), Happened::TokensIssued)
    }
}

/// The decision of what can be done once.
fn first(facts: &Facts, write: Write, happened: Happened) -> Decision<u64> {
    if number(facts) > 0 {
        return Decision::refuse(Fault::CallbackRepeated);
    }
    Decision::commit(vec![write], Ok(1)).noting(Event::new(happened))
}

/// Can be done once, and is to last.
struct Lasts;

impl Operation for Lasts {
    type Reply = u64;

    fn reads(&self) -> Keys {
        Keys::of([KEY])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, _now: Timestamp, fresh: &Fresh) -> Decision<u64> {
        first(facts, crate::clauses::durable(writing(KEY, 1, fresh)), Happened::SessionRevoked)
    }
}

/// Writes, and says no.
struct Refuses;

impl Operation for Refuses {
    type Reply = ();

    fn reads(&self) -> Keys {
        Keys::of([KEY])
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, _facts: &Facts, _now: Timestamp, fresh: &Fresh) -> Decision<()> {
        Decision::commit(vec![writing(KEY, 1, fresh)], Err(Fault::CodeReplayed))
    }
}

/// Does not keep the rules for operations.
#[derive(Clone, Copy, Debug)]
enum Broken {
    WritesUnread,
    ReadsNothing,
    ReadsTwoPartitions,
}

impl Operation for Broken {
    type Reply = ();

    fn reads(&self) -> Keys {
        match self {
            Self::WritesUnread => Keys::of([OTHER]),
            Self::ReadsNothing => Keys::NONE,
            Self::ReadsTwoPartitions => Keys::of([KEY, Key::RingCheck]),
        }
    }

    fn consults(&self, _own: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, _facts: &Facts, _now: Timestamp, fresh: &Fresh) -> Decision<()> {
        Decision::commit(vec![writing(KEY, 1, fresh)], Ok(()))
    }
}

/// What the number is.
struct Count;

impl Question for Count {
    type Reply = u64;

    fn asks(&self) -> Keys {
        Keys::of([KEY])
    }

    fn then(&self, _first: &Facts) -> Keys {
        Keys::NONE
    }

    fn decide(&self, facts: &Facts, _now: Timestamp) -> Result<u64, Fault> {
        Ok(number(facts))
    }
}

fn number(facts: &Facts) -> u64 {
    match facts.of(&KEY).unwrap() {
        Fact::Found(stored) => stored.until.millis(),
        _ => 0,
    }
}

fn writing(key: Key, value: u64, fresh: &Fresh) -> Write {
    let (stamp, until) = (fresh.stamp(&key), Timestamp::from_millis(value));
    Write { key, stamp, until, record: Arc::new(Record::Mark), durable: false }
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
enum Script {
    Fine,
    /// Somebody else adds this first.
    Beaten(u64),
    /// It is lost on the way.
    NeverArrives,
    /// It arrives, and its answer is lost.
    LostAnswer,
    /// Its connection dies, and it arrives so much later.
    Late(Duration),
    /// Nothing is ever heard of it.
    Hangs,
    /// There is no room.
    Full,
    /// It takes no writes.
    Away,
    /// It lands, and too few replicas have it.
    Undurable,
}

struct Scripted {
    inner: Arc<Bytes>,
    scheduler: Scheduler,
    loads: Mutex<VecDeque<Script>>,
    commits: Mutex<VecDeque<Script>>,
    always: Mutex<Option<Script>>,
    delays: Mutex<VecDeque<Duration>>,
}

impl Scripted {
    async fn beat(&self, by: u64) {
        let facts = self.inner.load(Keys::of([KEY])).await.unwrap();
        let write = crate::clauses::write(KEY, number(&facts) + by);
        assert!(matches!(self.inner.commit(Seen::of(&facts), vec![write]).await, Outcome::Landed(_)));
    }

    async fn delay(&self) {
        let delay = locked(&self.delays).pop_front();
        if let Some(delay) = delay {
            self.scheduler.sleep(delay).await;
        }
    }
}

impl Store for Scripted {
    async fn load(&self, keys: Keys) -> Result<Facts, Unavailable> {
        let script = locked(&self.loads).pop_front().unwrap_or(Script::Fine);
        self.delay().await;
        match script {
            Script::Fine => self.inner.load(keys).await,
            Script::Hangs => pending().await,
            _ => Err(Unavailable),
        }
    }

    async fn commit(&self, seen: Seen, writes: Vec<Write>) -> Outcome {
        let script = locked(&self.commits).pop_front().or(*locked(&self.always)).unwrap_or(Script::Fine);
        self.delay().await;
        match script {
            Script::Fine => self.inner.commit(seen, writes).await,
            Script::Beaten(by) => {
                self.beat(by).await;
                // It takes a moment, or whoever never wins would never come to its deadline.
                self.scheduler.sleep(Duration::from_millis(1)).await;
                self.inner.commit(seen, writes).await
            }
            Script::NeverArrives => Outcome::Unknown,
            Script::LostAnswer => {
                let _lost = self.inner.commit(seen, writes).await;
                Outcome::Unknown
            }
            Script::Late(after) => {
                let (inner, sleep) = (Arc::clone(&self.inner), self.scheduler.sleep(after));
                let _detached = self.scheduler.spawn(async move {
                    sleep.await;
                    inner.commit(seen, writes).await
                });
                Outcome::Unknown
            }
            Script::Hangs => pending().await,
            Script::Full => Outcome::Full,
            Script::Away => Outcome::Away,
            Script::Undurable => match self.inner.commit(seen, writes).await {
                Outcome::Landed(_) => Outcome::Undurable,
                other => other,
            },
        }
    }
}

fn world(
    scheduler: &Scheduler,
    loads: impl IntoIterator<Item = Script>,
    commits: impl IntoIterator<Item = Script>,
) -> Arc<World> {
    let store = Scripted {
        inner: Arc::new(Bytes::new(sealer(), Epoch([1; 16]))),
        scheduler: scheduler.clone(),
        loads: Mutex::new(loads.into_iter().collect()),
        commits: Mutex::new(commits.into_iter().collect()),
        always: Mutex::default(),
        delays: Mutex::default(),
    };
    Surroundings::new(scheduler, Arc::new(store))
}

fn run<F>(
    loads: impl IntoIterator<Item = Script>,
    commits: impl IntoIterator<Item = Script>,
    test: impl FnOnce(Arc<World>) -> F,
) where
    F: Future<Output = ()>,
{
    let scheduler = Scheduler::new(7);
    let world = world(&scheduler, loads, commits);
    scheduler.run(test(world));
}

fn world_store(world: &World) -> &Scripted {
    portcullis_ports::World::store(world)
}

fn world_now(world: &World) -> Duration {
    portcullis_ports::Clock::monotonic(&world.clock)
}

async fn world_sleep(world: &World, span: Duration) {
    portcullis_ports::Clock::sleep(&world.clock, span).await;
}

async fn counted(world: &World) -> u64 {
    number(&world_store(world).inner.load(Keys::of([KEY])).await.unwrap())
}
