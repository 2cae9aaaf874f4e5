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

/// A session that a gate had answered for and then refused.
pub struct Refused {
    /// When its code was shown, and when the answer came: it was written down in between.
    pub acknowledged: RangeInclusive<Instant>,
    pub at: Instant,
    pub answer: String,
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
    /// Sessions that were revoked and live.
    pub undone: AtomicUsize,
    pub refused: Mutex<Vec<Refused>>,
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

    /// Prints what has been seen and holds it to what is promised. Acknowledged sessions may be lost only where `may_lose` says so.
    #[track_caller]
    pub fn holds(&self, name: &str, lasted: Duration, may_lose: bool) {
        let (faults, refused) = (self.faults.lock().unwrap(), self.refused.lock().unwrap());
        let (lost, logouts): (Vec<&Refused>, Vec<&Refused>) =
            refused.iter().partition(|session| faults.iter().any(|fault| may_have_taken(fault, session)));
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
            number(&self.undone),
        );
        println!(
            "  longest outage {} ms, a revoked session was admitted elsewhere until {} ms after its end",
            self.longest_outage.load(Ordering::SeqCst),
            self.revocation_bound.load(Ordering::SeqCst),
        );
        for session in lost.iter().chain(&logouts) {
            let age = session.at.duration_since(*session.acknowledged.end());
            println!("  refused {age:?} after it was acknowledged: {}", session.answer);
        }
        for (what, count) in [
            ("double redemptions", number(&self.double_redemptions)),
            ("family forks", number(&self.forks)),
            ("honest logouts", logouts.len()),
            ("lost acknowledged sessions", if may_lose { 0 } else { lost.len() }),
            ("revocations undone", number(&self.undone)),
        ] {
            assert_eq!(count, 0, "{name}: {what}");
        }
        let revoked = self.revocation_bound.load(Ordering::SeqCst);
        assert!(revoked < 1_000, "{name}: a revoked session was admitted {revoked} ms later");
        assert!(number(&self.flows) > 0 && !faults.is_empty(), "{name}: nothing was tried");
    }
}

/// Whether what was written down then may be lost with the server that was lost here.
fn may_have_taken(fault: &Fault, session: &Refused) -> bool {
    fault.lossy.as_ref().is_some_and(|lost| {
        session.acknowledged.start() <= lost.end() && *session.acknowledged.end() + WINDOW >= *lost.start()
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
        let session = Refused { acknowledged: second(asked)..=second(heard), at: second(20), answer: String::new() };
        assert_eq!(may_have_taken(&lost, &session), may, "{asked} {heard}");
    }
}
