//! The judge: it is given what was asked and what was answered, when, and says whether that could have happened.
//!
//! It knows nothing of how a run was made, nor of the store. Two gateways' clocks may differ, and what is asked at one moment
//! may be decided at any other until it is answered; so every rule speaks of what surely was and of what may have been. Of two
//! things at one moment either may have come first.

use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::{GrantId, Person};
use portcullis_domain::limits::{CODE_LIFE, FLOW_LIFE, SPENT_LIFE};
use portcullis_domain::oauth::fault::Fault;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far two wall clocks may be apart: each is within a second of the true time.
const APART: Duration = Duration::from_secs(2);

/// What one gateway has ended is ended at the others by then.
const EVERYWHERE: Duration = Duration::from_secs(1);

/// Everything that could be seen of one run.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The grace for superseded refresh tokens.
    pub(crate) grace: Duration,
    /// Whether the store may have lost writes that it had acknowledged.
    pub(crate) failover: bool,
    /// From here on nothing failed any more.
    pub(crate) quiet: Duration,
    /// When a gateway was left behind with a primary of before, from and to.
    pub(crate) splits: Vec<(Duration, Duration)>,
    /// When the store was away, from and to.
    pub(crate) outages: Vec<(Duration, Duration)>,
    /// All logins.
    pub(crate) logins: Vec<Login>,
    /// All requests.
    pub(crate) calls: Vec<Call>,
    /// All that the gateways wrote down.
    pub(crate) events: Vec<Event>,
}

/// One login.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// Its grant.
    pub(crate) id: GrantId,
    /// The generation in the store at the end of the run; nothing if it is no session.
    pub(crate) generation: Option<u32>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// On whom.
    pub(crate) person: Person,
    /// On which login.
    pub(crate) login: Option<usize>,
    /// What it asked for.
    pub(crate) what: What,
    /// Whether everything beside the token was right.
    pub(crate) right: bool,
    /// Which gateway was asked.
    pub(crate) by: u64,
    /// Whether that one spoke to a primary of before: what that is told is lost.
    pub(crate) left_behind: bool,
    /// When it was sent.
    pub(crate) invoked: Duration,
    /// When it was answered, and what; nothing if nobody heard.
    pub(crate) done: Option<(Duration, Answer)>,
}

/// What a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A code.
    Callback,
    /// Tokens for a code.
    Exchange,
    /// Tokens for the refresh token of this generation.
    Refresh(u32),
    /// The end of the session.
    Revoke,
    /// The protected resource.
    Admit,
    /// The end of everything of the person.
    Cut,
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Tokens: the refresh token, and its generation.
    Tokens(u32, String),
    /// Yes.
    Done,
    /// No.
    Refused(Fault),
}

impl Call {
    fn answer(&self) -> Option<&Answer> {
        self.done.as_ref().map(|(_, answer)| answer)
    }

    fn fault(&self) -> Option<Fault> {
        match self.answer() {
            Some(Answer::Refused(fault)) => Some(*fault),
            _ => None,
        }
    }

    fn succeeded(&self) -> bool {
        matches!(self.answer(), Some(Answer::Tokens(..) | Answer::Done))
    }

    /// The generation that it handed out, and when.
    fn handed(&self) -> Option<(Duration, u32)> {
        match &self.done {
            Some((at, Answer::Tokens(generation, _))) => Some((*at, *generation)),
            _ => None,
        }
    }

    /// Until when it may have been decided.
    fn end(&self) -> Duration {
        self.done.as_ref().map_or(Duration::MAX, |(at, _)| *at)
    }

    fn presents(&self) -> Option<u32> {
        match self.what {
            What::Refresh(generation) => Some(generation),
            _ => None,
        }
    }

    fn store_failed(&self) -> bool {
        matches!(self.fault(), Some(Fault::StoreUnavailable | Fault::Contended))
    }
}

type Verdict = Result<(), String>;

/// Whether all of it could have happened.
pub(crate) fn judge(history: &History) -> Verdict {
    for call in &history.calls {
        i17_the_store_s_failures_are_told_as_such(history, call)?;
        what_is_wrong_is_refused(history, call)?;
    }
    for (place, login) in history.logins.iter().enumerate() {
        let calls: Vec<&Call> = history.calls.iter().filter(|call| call.login == Some(place)).collect();
        let cuts = history.calls.iter().filter(|call| call.what == What::Cut && call.person == login.id.person);
        let one = One { history, login, calls, cuts: cuts.collect() };
        one.judge().map_err(|why| format!("login {place}: {why}"))?;
    }
    Ok(())
}

fn i17_the_store_s_failures_are_told_as_such(history: &History, call: &Call) -> Verdict {
    // What is near by is served for as long as its lease lasts.
    let near = if call.what == What::Admit { EVERYWHERE } else { Duration::ZERO };
    let within = |(from, to): &(Duration, Duration)| *from + near < call.invoked && call.end() < *to;
    let away = history.outages.iter().any(within);
    refuse_if(away && call.fault() != Some(Fault::StoreUnavailable), "the store was away all the time", call)?;
    refuse_if(history.quiet < call.invoked && call.store_failed(), "nothing fails any more", call)?;
    refuse_if(history.quiet < call.invoked && call.done.is_none(), "nothing fails any more, and no answer", call)?;
    refuse_if(matches!(call.fault(), Some(Fault::Internal(_) | Fault::Full)), "our own mistake", call)
}

fn what_is_wrong_is_refused(history: &History, call: &Call) -> Verdict {
    if history.failover && call.what == What::Revoke {
        // A session that was lost with the store is revoked for whoever asks (RFC 7009 section 2.2).
        return Ok(());
    }
    let counted = matches!(call.fault(), Some(Fault::CodeReplayed | Fault::RefreshReplayed));
    refuse_if(!call.right && (call.succeeded() || counted), "something about it was wrong", call)
}

/// One login, and all that was asked about it.
struct One<'a> {
    history: &'a History,
    login: &'a Login,
    calls: Vec<&'a Call>,
    cuts: Vec<&'a Call>,
}

impl One<'_> {
    fn judge(&self) -> Verdict {
        if self.history.failover && self.noted_of(Happened::CodeIssued) > 1 {
            // The store lost the whole login, and the browser came back once more: two logins under one name.
            return Ok(());
        }
        self.i01_a_code_is_issued_and_redeemed_once()?;
        self.i04_one_successor_for_all()?;
        self.i03_i06_i16_what_is_dead_stays_dead()?;
        self.noted()?;
        for call in self.calls.iter().filter(|call| call.right) {
            self.i02_a_code_lives_a_minute(call)?;
            if !self.history.failover {
                self.whoever_is_refused_has_a_cause(call)?;
                self.i05_generations_increase(call)?;
                self.i05_the_grace_ends(call)?;
            }
        }
        if !self.history.failover {
            self.i05_generations_never_fall()?;
            self.no_token_without_its_record()?;
        }
        Ok(())
    }

    fn i01_a_code_is_issued_and_redeemed_once(&self) -> Verdict {
        let count = |what| self.calls.iter().filter(|call| call.what == what && call.succeeded()).count();
        let noted = |happened| self.noted_of(happened);
        for (what, happened) in [(What::Callback, Happened::CodeIssued), (What::Exchange, Happened::TokensIssued)] {
            let (times, noted) = (count(what), noted(happened));
            if times > 1 || noted > 1 || noted < times {
                return Err(format!("{what:?} succeeded {times} times and was noted {noted} times"));
            }
        }
        Ok(())
    }

    fn i02_a_code_lives_a_minute(&self, call: &Call) -> Verdict {
        let issued = self.calls.iter().find(|call| call.what == What::Callback && call.succeeded());
        let late = issued.is_some_and(|issued| call.invoked > issued.end().saturating_add(CODE_LIFE + APART));
        refuse_if(call.what == What::Exchange && call.succeeded() && late, "the code had expired", call)
    }

    fn i04_one_successor_for_all(&self) -> Verdict {
        let mut texts: BTreeMap<u32, &str> = BTreeMap::new();
        for call in &self.calls {
            if let Some(Answer::Tokens(generation, text)) = call.answer()
                && *texts.entry(*generation).or_insert(text) != text.as_str()
            {
                return Err(format!("two refresh tokens of generation {generation}"));
            }
        }
        Ok(())
    }

    fn i03_i06_i16_what_is_dead_stays_dead(&self) -> Verdict {
        let dead = self.calls.iter().filter(|call| self.kills(call));
        let cuts =
            self.cuts.iter().filter(|cut| cut.succeeded() && !self.in_a_split(cut) && self.was_there_before(cut));
        let ends: Vec<&Call> = dead.chain(cuts).copied().collect();
        for call in self.calls.iter().filter(|call| call.succeeded() && !self.in_a_split(call)) {
            let since = |end: &&Call| match call.what {
                // A write, and whatever the gateway that ended it answers, counts at once.
                What::Admit if call.by != end.by => end.end().saturating_add(EVERYWHERE),
                _ => end.end(),
            };
            let dead = ends.iter().any(|end| call.invoked > since(end));
            let lives = matches!(call.what, What::Exchange | What::Refresh(_) | What::Admit);
            refuse_if(lives && dead, "it was dead", call)?;
        }
        Ok(())
    }

    /// Whether it may have been decided by a primary of before, or from what came from there a moment ago: what that says and is
    /// told does not count for the others, and that is written down in the documents.
    fn in_a_split(&self, call: &Call) -> bool {
        let during =
            |(from, to): &(Duration, Duration)| call.invoked <= to.saturating_add(EVERYWHERE) && *from <= call.end();
        self.history.splits.iter().any(during)
    }

    /// Whether the answer to this request says that the session is over for ever.
    fn kills(&self, call: &Call) -> bool {
        if !call.right || self.in_a_split(call) {
            return false;
        }
        match (call.what, call.answer()) {
            (What::Revoke, Some(Answer::Done)) => true,
            (_, Some(Answer::Refused(Fault::CodeReplayed | Fault::RefreshReplayed))) => true,
            // Without a failover, whoever has been told so once is told so for ever.
            (_, Some(Answer::Refused(Fault::SessionRevoked | Fault::SessionCut | Fault::TokenRevoked))) => {
                !self.history.failover
            }
            _ => false,
        }
    }

    fn was_there_before(&self, cut: &Call) -> bool {
        self.calls.iter().any(|call| call.what == What::Callback && call.succeeded() && call.end() < cut.invoked)
    }

    fn noted(&self) -> Verdict {
        for (fault, happened) in
            [(Fault::CodeReplayed, Happened::CodeReplayed), (Fault::RefreshReplayed, Happened::RefreshReplayed)]
        {
            let told = self.calls.iter().filter(|call| call.fault() == Some(fault)).count();
            let noted = self.noted_of(happened);
            // One session can be revoked once, so there is one alarm.
            if noted < told || (noted > 1 && !self.history.failover) {
                return Err(format!("{fault:?} was told {told} times and noted {noted} times"));
            }
        }
        Ok(())
    }

    fn noted_of(&self, happened: Happened) -> usize {
        let of_this =
            |event: &&Event| !event.in_doubt && event.happened == happened && event.grant == Some(self.login.id);
        self.history.events.iter().filter(of_this).count()
    }

    /// Nobody is turned away who has done nothing to deserve it: the liveness of honest clients.
    fn whoever_is_refused_has_a_cause(&self, call: &Call) -> Verdict {
        let Some(fault) = call.fault() else { return Ok(()) };
        let end = call.end();
        let others = |what| self.others(call).any(|other| other.what == what);
        let cut = || self.cuts.iter().any(|cut| cut.invoked <= end && !self.came_after(cut));
        let begun = self.calls.iter().filter(|call| call.what == What::Callback).map(|call| call.invoked).min();
        let older_than = |span: Duration| begun.is_some_and(|begun| end.saturating_add(APART) >= begun + span);
        let possible = match fault {
            Fault::StoreUnavailable | Fault::Contended => true,
            Fault::CallbackRepeated => others(What::Callback),
            Fault::CodeExpired => older_than(CODE_LIFE),
            Fault::CodeReplayed => others(What::Exchange),
            Fault::CodeUnknown => self.may_be_dead(end) || older_than(SPENT_LIFE.min(FLOW_LIFE)),
            Fault::RefreshReplayed => {
                let presented = call.presents().unwrap_or_default();
                others(call.what) && self.may_be_outside(presented, end)
            }
            Fault::SessionRevoked => self.may_be_dead(end),
            Fault::SessionCut => cut(),
            Fault::TokenRevoked => cut() || self.may_be_dead(end),
            _ => false,
        };
        refuse_if(!possible, "nothing had happened that would explain it", call)
    }

    /// Whether something was asked by then that may have ended the session.
    fn may_be_dead(&self, by: Duration) -> bool {
        let asked = |call: &&&Call| call.right && call.invoked <= by;
        let count = |what| self.calls.iter().filter(asked).filter(|call| call.what == what).count();
        let outside = |call: &&Call| {
            call.presents().is_some_and(|presented| self.may_be_outside(presented, call.end().min(by)))
                && self.others(call).any(|other| other.what == call.what && other.invoked <= by)
        };
        count(What::Revoke) > 0 || count(What::Exchange) > 1 || self.calls.iter().filter(asked).any(outside)
    }

    /// Whether a refresh token may have been superseded for longer than the grace.
    fn may_be_outside(&self, presented: u32, by: Duration) -> bool {
        let first = self.calls.iter().filter(|call| call.right && call.presents() == Some(presented));
        let first = first.map(|call| call.invoked).min();
        self.history.grace.is_zero()
            || first.is_some_and(|first| by.saturating_sub(first).saturating_add(APART) > self.history.grace)
    }

    /// Other right requests that were sent before this one was answered.
    fn others(&self, call: &Call) -> impl Iterator<Item = &&Call> {
        let (end, this) = (call.end(), std::ptr::from_ref(call));
        self.calls.iter().filter(move |other| other.right && other.invoked <= end && !std::ptr::eq(**other, this))
    }

    /// Whether the login began when the cut had been answered already: it is spared.
    fn came_after(&self, cut: &Call) -> bool {
        let begun = self.calls.iter().filter(|call| call.what == What::Callback).map(|call| call.invoked).min();
        cut.succeeded() && begun.is_some_and(|begun| cut.end() < begun)
    }

    fn i05_generations_increase(&self, call: &Call) -> Verdict {
        let Some((at, handed)) = call.handed() else { return Ok(()) };
        for generation in 1..handed {
            let asked = |other: &&Call| other.right && other.presents() == Some(generation) && other.invoked <= at;
            refuse_if(!self.calls.iter().any(asked), "a generation was skipped", call)?;
        }
        let Some(presented) = call.presents() else {
            return refuse_if(handed != 1, "the first is the first", call);
        };
        refuse_if(handed < presented, "an older one than was presented", call)?;
        // Only where eight rotations fill one grace the current one may come back.
        let filled = match presented.checked_sub(ROTATIONS) {
            Some(oldest) if oldest > 0 && !self.history.grace.is_zero() => {
                let gone = self.earliest_above(oldest);
                gone.is_none_or(|gone| call.invoked.saturating_sub(gone + APART) <= self.history.grace)
            }
            _ => false,
        };
        refuse_if(handed == presented && !filled, "it was not rotated", call)
    }

    fn i05_the_grace_ends(&self, call: &Call) -> Verdict {
        let (Some(presented), Some(_)) = (call.presents(), call.handed()) else { return Ok(()) };
        let Some(gone) = self.earliest_above(presented) else { return Ok(()) };
        let outside = call.invoked > gone
            && (self.history.grace.is_zero() || call.invoked.saturating_sub(gone + APART) > self.history.grace);
        refuse_if(outside, "the grace was over", call)
    }

    /// When a later generation than this was first known to somebody.
    fn earliest_above(&self, generation: u32) -> Option<Duration> {
        let handed = self.calls.iter().filter_map(|call| call.handed());
        handed.filter(|(_, handed)| *handed > generation).map(|(at, _)| at).min()
    }

    fn i05_generations_never_fall(&self) -> Verdict {
        for (call, handed) in self.calls.iter().filter_map(|call| Some((call, call.handed()?.1))) {
            let before = self.calls.iter().filter_map(|other| other.handed()).filter(|(at, _)| *at < call.invoked);
            let highest = before.map(|(_, handed)| handed).max().unwrap_or(0);
            refuse_if(handed < highest, "a later one was out already", call)?;
        }
        Ok(())
    }

    fn no_token_without_its_record(&self) -> Verdict {
        let highest = self.calls.iter().filter_map(|call| call.handed()).map(|(_, handed)| handed).max();
        let (Some(highest), false) = (highest, self.may_be_dead(Duration::MAX)) else { return Ok(()) };
        match self.login.generation {
            Some(stored) if stored >= highest => Ok(()),
            stored => Err(format!("generation {highest} was handed out, and {stored:?} is stored")),
        }
    }
}

/// As many as a grant remembers, written down once more: the model is not to change with what it judges.
const ROTATIONS: u32 = 8;

fn refuse_if(impossible: bool, why: &str, call: &Call) -> Verdict {
    if impossible { Err(format!("{why}: {call:?}")) } else { Ok(()) }
}
