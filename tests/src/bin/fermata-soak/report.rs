//! What came of it, as Markdown.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    accounts::{Accounts, Balance, Settlement},
    chaos::Event,
    plan::Plan,
    usage::Trend,
};

/// How long it takes until memory can be judged: until then caches and histories fill.
const JUDGED_FROM: Duration = Duration::from_secs(20 * 60);

/// What came of it so far.
pub(crate) struct Report {
    pub(crate) plan: Plan,
    events: BTreeMap<Event, usize>,
    settlement: Settlement,
    trends: Vec<Trend>,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            events: BTreeMap::new(),
            settlement: Settlement::default(),
            trends: Vec::new(),
        }
    }

    /// What has happened to the platform.
    pub(crate) fn done(&mut self, events: BTreeMap<Event, usize>) {
        self.events = events;
    }

    /// What became of the requests.
    pub(crate) fn settle(&mut self, accounts: &Accounts) {
        self.settlement = accounts.settle();
    }

    /// What the processes took.
    pub(crate) fn use_of(&mut self, trends: Vec<Trend>) {
        self.trends = trends;
    }

    /// Whether nothing is to be complained of.
    pub(crate) fn is_good(&self) -> bool {
        self.complaints().is_empty()
    }

    fn complaints(&self) -> Vec<String> {
        let sum =
            |of: fn(&Balance) -> usize| self.settlement.balances.values().map(of).sum::<usize>();
        let mut complaints = Vec::new();
        for (count, what) in [
            (sum(|one| one.lost), "requests lost"),
            (sum(|one| one.refused), "requests refused"),
            (sum(|one| one.twice), "requests run twice"),
            (sum(|one| one.never), "requests answered that never ran"),
            (
                self.settlement.oversteps,
                "times more at once than the hard limit",
            ),
        ] {
            if count > 0 {
                complaints.push(format!("{count} {what}"));
            }
        }
        if sum(|one| one.answered) == 0 {
            complaints.push("nothing was answered".to_owned());
        }
        if self.trends.is_empty() {
            complaints.push("no process was seen".to_owned());
        }
        let is_judged = self.plan.time >= JUDGED_FROM;
        let grows = |trend: &&Trend| is_judged && !trend.is_flat();
        for trend in self.trends.iter().filter(grows) {
            complaints.push(format!("{} grows", trend.program));
        }
        complaints
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.plan.embedded {
            "the embedded cluster"
        } else {
            "the real cluster"
        };
        writeln!(
            f,
            "{} min on {place}, seed {}\n",
            self.plan.time.as_secs() / 60,
            self.plan.seed
        )?;
        writeln!(
            f,
            "| load | sent | answered | cut with their gateway | refused | lost | run twice |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for (kind, one) in &self.settlement.balances {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} |",
                format!("{kind:?}").to_lowercase(),
                one.sent,
                one.answered,
                one.killed,
                one.refused,
                one.lost,
                one.twice
            )?;
        }
        writeln!(f, "\n| what happened | times |\n|---|---|")?;
        for (event, times) in &self.events {
            writeln!(f, "| {event} | {times} |")?;
        }
        writeln!(
            f,
            "| the hard limit was overstepped | {} |",
            self.settlement.oversteps
        )?;
        writeln!(
            f,
            "| the same, within a minute after a gateway was killed | {} |",
            self.settlement.excused_oversteps
        )?;
        writeln!(
            f,
            "\n| process | at most in the | resident | anonymous | descriptors |\n|---|---|---|---|---|"
        )?;
        for trend in &self.trends {
            for (when, sample) in [
                ("second quarter", trend.early),
                ("last quarter", trend.late),
            ] {
                writeln!(
                    f,
                    "| {} | {when} | {:.1} MiB | {:.1} MiB | {} |",
                    trend.program,
                    sample.resident as f64 / 1024.0,
                    sample.anonymous as f64 / 1024.0,
                    sample.descriptors
                )?;
            }
        }
        for (finding, kept) in &self.settlement.findings {
            writeln!(f, "\n{finding:?}, the first:\n")?;
            for one in kept {
                writeln!(f, "- {one}")?;
            }
        }
        match self.complaints().as_slice() {
            [] => write!(f, "\nVerdict: good."),
            complaints => write!(f, "\nVerdict: BAD: {}.", complaints.join("; ")),
        }
    }
}
