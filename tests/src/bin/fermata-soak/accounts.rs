//! What became of each request: what its caller heard, and how often it ran.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Findings of one sort that are kept word by word.
const KEPT: usize = 20;

/// How long after a gateway was killed connections to it may break: until then new ones may still be led
/// to it.
const AFTERMATH: Duration = Duration::from_secs(15);

/// How long the owner of a function with a hard limit may be missed after it was killed.
const UNOWNED: Duration = Duration::from_secs(60);

/// All requests. One takes four bytes: a million of them four megabytes.
#[derive(Debug)]
pub(crate) struct Accounts {
    since: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<Call>,
    findings: BTreeMap<Finding, Vec<String>>,
    /// When gateways were killed.
    kills: Vec<Instant>,
    /// More at once than a limit allows.
    oversteps: usize,
    /// The same, after the function's owner was killed.
    excused_oversteps: usize,
}

/// What kind of load a request belongs to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Warm,
    Cold,
    Limited,
    Upload,
    Stream,
    Socket,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    kind: Kind,
    state: State,
    runs: u8,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It has no answer yet.
    Open,
    Answered,
    /// The platform, or the function, has answered with something else.
    Refused,
    /// There was no whole answer.
    Broken,
    /// The same, while its gateway was killed.
    Killed,
}

/// What is not as it should be. Each sort is kept apart: a flood of one hides no other.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Finding {
    Lost,
    Refused,
    Overstep,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was an answer, and not the right one.
    Wrong(String),
    /// A gateway says that it has passed the request on, and lost it (502): the gateway behind it, which
    /// owns the function, may have been killed.
    PassedOn(String),
    /// There was no whole answer.
    None(String),
}

/// How it stands with the requests of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Balance {
    pub(crate) sent: usize,
    pub(crate) answered: usize,
    /// Without an answer, for their gateway was killed.
    pub(crate) killed: usize,
    pub(crate) refused: usize,
    /// Without an answer, and nobody was killed.
    pub(crate) lost: usize,
    /// Run more than once.
    pub(crate) twice: usize,
    /// Answered, and never run.
    pub(crate) never: usize,
}

/// How it stands with everything.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    pub(crate) balances: BTreeMap<Kind, Balance>,
    pub(crate) oversteps: usize,
    pub(crate) excused_oversteps: usize,
    pub(crate) findings: BTreeMap<Finding, Vec<String>>,
}

// === impl Accounts ===

impl Accounts {
    /// A request is about to be sent: its number.
    pub(crate) fn open(&self, kind: Kind) -> usize {
        let mut inner = self.inner();
        inner.calls.push(Call {
            kind,
            state: State::Open,
            runs: 0,
        });
        inner.calls.len() - 1
    }

    /// What became of it, as far as its caller knows, who sent it at this time.
    pub(crate) fn close(&self, number: usize, sent: Instant, outcome: Result<(), Failure>) {
        let mut inner = self.inner();
        let killed = inner
            .kills
            .iter()
            .any(|at| *at + AFTERMATH > sent && *at < Instant::now());
        let state = match &outcome {
            Ok(()) => State::Answered,
            Err(Failure::None(_) | Failure::PassedOn(_)) if killed => State::Killed,
            Err(Failure::Wrong(_) | Failure::PassedOn(_)) => State::Refused,
            Err(Failure::None(_)) => State::Broken,
        };
        let Some(call) = inner.calls.get_mut(number) else {
            return;
        };
        call.state = state;
        let kind = call.kind;
        let finding = match state {
            State::Refused => Finding::Refused,
            State::Broken => Finding::Lost,
            State::Open | State::Answered | State::Killed => return,
        };
        if let Err(Failure::Wrong(what) | Failure::PassedOn(what) | Failure::None(what)) = outcome {
            let began = self.after(sent);
            inner.find(finding, format!("{kind:?} {number}, sent {began}: {what}"));
        }
    }

    /// A request of this number runs, among so many at once where only `limit` may.
    pub(crate) fn ran(&self, number: usize, at_once: usize, limit: Option<usize>) {
        let mut inner = self.inner();
        if let Some(call) = inner.calls.get_mut(number) {
            call.runs = call.runs.saturating_add(1);
        }
        if limit.is_some_and(|limit| at_once > limit) {
            if inner.kills.iter().any(|at| at.elapsed() < UNOWNED) {
                inner.excused_oversteps += 1;
            } else {
                inner.oversteps += 1;
                let now = self.after(Instant::now());
                let what = format!("request {number} was one of {at_once} at once {now}");
                inner.find(Finding::Overstep, what);
            }
        }
    }

    /// A gateway is about to be killed.
    pub(crate) fn kill(&self) {
        self.inner().kills.push(Instant::now());
    }

    /// How it stands.
    pub(crate) fn settle(&self) -> Settlement {
        let inner = self.inner();
        let mut settlement = Settlement {
            oversteps: inner.oversteps,
            excused_oversteps: inner.excused_oversteps,
            findings: inner.findings.clone(),
            ..Settlement::default()
        };
        for call in &inner.calls {
            let balance = settlement.balances.entry(call.kind).or_default();
            balance.sent += 1;
            match call.state {
                State::Answered => balance.answered += 1,
                State::Killed => balance.killed += 1,
                State::Refused => balance.refused += 1,
                State::Open | State::Broken => balance.lost += 1,
            }
            balance.twice += usize::from(call.runs > 1);
            balance.never += usize::from(call.state == State::Answered && call.runs == 0);
        }
        settlement
    }

    /// A time, as it stands in a finding.
    fn after(&self, time: Instant) -> String {
        let seconds = time.saturating_duration_since(self.since).as_secs_f32();
        format!("after {seconds:.1} s")
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            inner: Mutex::default(),
        }
    }
}

impl Inner {
    fn find(&mut self, finding: Finding, what: String) {
        let kept = self.findings.entry(finding).or_default();
        if kept.len() < KEPT {
            kept.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> Result<(), Failure> {
        Err(Failure::Wrong("503".to_owned()))
    }

    fn passed_on() -> Result<(), Failure> {
        Err(Failure::PassedOn("502".to_owned()))
    }

    fn none() -> Result<(), Failure> {
        Err(Failure::None("reset".to_owned()))
    }

    #[tokio::test]
    async fn each_request_is_in_one_column() {
        let accounts = Accounts::default();
        let sent = Instant::now();
        let call = |outcome, runs| {
            let number = accounts.open(Kind::Warm);
            for _ in 0..runs {
                accounts.ran(number, 1, Some(1));
            }
            accounts.close(number, sent, outcome);
        };
        call(Ok(()), 1);
        call(Ok(()), 2);
        call(Ok(()), 0);
        call(wrong(), 0);
        call(passed_on(), 1);
        call(none(), 1);
        accounts.open(Kind::Warm);
        accounts.kill();
        call(none(), 0);
        call(passed_on(), 0);
        call(wrong(), 0);
        let settlement = accounts.settle();
        let balance = settlement.balances[&Kind::Warm];
        assert_eq!((balance.sent, balance.answered), (10, 3));
        assert_eq!((balance.killed, balance.refused, balance.lost), (2, 3, 2));
        assert_eq!((balance.twice, balance.never), (1, 1));
        let found = |finding| settlement.findings.get(&finding).map_or(0, Vec::len);
        assert_eq!((found(Finding::Refused), found(Finding::Lost)), (3, 1));
    }

    #[tokio::test]
    async fn a_limit_that_is_overstepped_is_told_unless_its_owner_was_killed() {
        let accounts = Accounts::default();
        let number = accounts.open(Kind::Limited);
        accounts.ran(number, 2, Some(2));
        accounts.ran(number, 9, None);
        assert_eq!(accounts.settle().oversteps, 0);
        accounts.ran(number, 3, Some(2));
        accounts.kill();
        accounts.ran(number, 3, Some(2));
        let settlement = accounts.settle();
        assert_eq!((settlement.oversteps, settlement.excused_oversteps), (1, 1));
    }
}
