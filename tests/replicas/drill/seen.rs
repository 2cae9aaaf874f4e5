//! What the clients of a drill have seen, and what may not have been among it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long before a server is lost what it has acknowledged may be lost with it: docs/valkey.md says so. It is the servers'
/// `min-replicas-max-lag`, which counts whole seconds, and one more.
pub const WINDOW: Duration = Duration::from_secs(3);
/// The same for the servers.
pub const MAX_LAG: &str = "min-replicas-max-lag 2";

/// One thing that was done to the gates or to the store.
pub struct Fault {
    /// What it was, in the plural.
    pub what: &'static str,
    pub times: usize,
    /// When a server was lost whose last writes may be lost with it: an instant before, and one after.
    pub lossy: Option<RangeInclusive<Instant>>,
}

impl Fault {
    pub const fn of(what: &'static str) -> Self {
        Self { what, times: 1, lossy: None }
    }
}

/// What a gate had answered for and then did not stand by: a session, or the end of one.
pub struct Broken {
    /// When it was asked for, and when the answer came: it was written down in between.
    pub acknowledged: RangeInclusive<Instant>,
    /// When it was found out.
    pub at: Instant,
    /// What was said then.
    pub answer: String,
}

/// What may be lost with a server, if it was acknowledged within the window before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayLose {
    Nothing,
    Sessions,
    SessionsAndRevocations,
}

/// What has been seen.
#[derive(Default)]
pub struct Seen {
    pub flows: AtomicUsize,
    pub begun_again: AtomicUsize,
    pub stolen: AtomicUsize,
    pub refreshes: AtomicUsize,
    pub calls: AtomicUsize,
    pub revocations: AtomicUsize,
    pub double_redemptions: AtomicUsize,
    pub forks: AtomicUsize,
    /// Sessions that were refused.
    pub refused: Mutex<Vec<Broken>>,
    /// Sessions that were revoked and live.
    pub undone: Mutex<Vec<Broken>>,
    pub faults: Mutex<Vec<Fault>>,
    /// Milliseconds since the beginning of the last answer that was no failure, and the longest time between two.
    last_answer: AtomicU64,
    longest_outage: AtomicU64,
    pub revocation_bound: AtomicU64,
}

impl Seen {
    /// A gate has answered, so long after the beginning.
    pub fn answered(&self, after: Duration) {
        let now = millis(after);
        let last = self.last_answer.swap(now, Ordering::SeqCst);
        self.longest_outage.fetch_max(now.saturating_sub(last), Ordering::SeqCst);
    }

    /// A revoked session was admitted by another gate that was asked so long after its end: whole milliseconds, and never none.
    pub fn admitted(&self, after: Duration) {
        self.revocation_bound.fetch_max(millis(after) + 1, Ordering::SeqCst);
    }

    /// Prints what has been seen and holds it to what is promised.
    #[track_caller]
    pub fn holds(&self, name: &str, lasted: Duration, may_lose: MayLose) {
        let (faults, refused, undone) =
            (self.faults.lock().unwrap(), self.refused.lock().unwrap(), self.undone.lock().unwrap());
        let within = |broken: &&Broken| faults.iter().any(|fault| may_have_taken(fault, broken));
        let (lost, logouts): (Vec<&Broken>, Vec<&Broken>) = refused.iter().partition(within);
        let (forgotten, raised): (Vec<&Broken>, Vec<&Broken>) = undone.iter().partition(within);
        let number = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        let mut done: BTreeMap<&str, usize> = BTreeMap::new();
        faults.iter().for_each(|fault| *done.entry(fault.what).or_default() += fault.times);
        let done: Vec<String> = done.iter().map(|(what, times)| format!("{what} {times}")).collect();
        println!("drill: {name}, {} s", lasted.as_secs());
        println!("  {}", done.join(", "));
        println!(
            "  flows {}, codes shown three times and more {}, logins begun again {}, refreshes {}, protected calls {}, revocations {}",
            number(&self.flows),
            number(&self.stolen),
            number(&self.begun_again),
            number(&self.refreshes),
            number(&self.calls),
            number(&self.revocations),
        );
        println!(
            "  double redemptions {}, family forks {}, honest logouts {}, lost acknowledged sessions {}, revocations undone {}",
            number(&self.double_redemptions),
            number(&self.forks),
            logouts.len(),
            lost.len(),
            undone.len(),
        );
        println!(
            "  longest outage {} ms, a revoked session was admitted elsewhere until {} ms after its end",
            self.longest_outage.load(Ordering::SeqCst),
            self.revocation_bound.load(Ordering::SeqCst),
        );
        for broken in refused.iter().chain(undone.iter()) {
            let age = broken.at.duration_since(*broken.acknowledged.end());
            println!("  {age:?} after it was acknowledged: {}", broken.answer);
        }
        for (what, count) in [
            ("double redemptions", number(&self.double_redemptions)),
            ("family forks", number(&self.forks)),
            ("honest logouts", logouts.len()),
            ("lost acknowledged sessions", if may_lose == MayLose::Nothing { lost.len() } else { 0 }),
            ("revocations lost", if may_lose == MayLose::SessionsAndRevocations { 0 } else { forgotten.len() }),
            ("revocations undone without a reason", raised.len()),
        ] {
            assert_eq!(count, 0, "{name}: {what}");
        }
        let revoked = self.revocation_bound.load(Ordering::SeqCst);
        assert!(revoked < 1_000, "{name}: a revoked session was admitted {revoked} ms later");
        assert!(number(&self.flows) > 0 && !faults.is_empty(), "{name}: nothing was tried");
    }
}

/// Whether what was written down then may be lost with the server that was lost here.
fn may_have_taken(fault: &Fault, broken: &Broken) -> bool {
    fault.lossy.as_ref().is_some_and(|lost| {
        broken.acknowledged.start() <= lost.end() && *broken.acknowledged.end() + WINDOW >= *lost.start()
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

#[test]
fn a_session_that_was_older_than_the_window_when_a_server_was_lost_was_logged_out_and_not_lost() {
    let begun = Instant::now();
    let second = |seconds| begun + Duration::from_secs(seconds);
    let lost = Fault { what: "", times: 1, lossy: Some(second(10)..=second(11)) };
    for (asked, heard, may) in [(0, 6, false), (0, 7, true), (9, 10, true), (11, 12, true), (12, 13, false)] {
        let session = Broken { acknowledged: second(asked)..=second(heard), at: second(20), answer: String::new() };
        assert_eq!(may_have_taken(&lost, &session), may, "{asked} {heard}");
    }
}
