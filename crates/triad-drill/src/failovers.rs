//! What failovers cost: of one run, and of many as a table, for terminals or a document.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use triad_model::FailoverTimes;

use crate::judge::{Evidence, Report, seconds};
use crate::measure::{failed, gap_ms};
use crate::record::{RecordSeen, whole_after_ms};
use crate::sample::Kind;
use crate::scenario::{Goal, Scenario};

/// What one run says of the database's failover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailoverCheck {
    /// The record, from what was there before on.
    pub records: Vec<RecordSeen>,
    /// New primaries.
    pub failovers: u64,
    /// Longest time without an acknowledged write, in milliseconds: of writers' rows where there are any, else of entries.
    pub write_gap_ms: u64,
    /// Writers' rows that were not acknowledged.
    pub failed_statements: u64,
    /// When all databases were in sync again, in milliseconds since the scenario's last step that says by when; `None` if
    /// none says so. Those that were not at the end of the load have the time until then.
    pub in_sync_ms: Option<u64>,
    /// How the last new primary took over, as it saw that itself.
    pub took_over: Option<FailoverTimes>,
}

impl FailoverCheck {
    /// Of a run; `None` where no replica takes over by itself.
    pub(crate) fn of(scenario: &Scenario, evidence: &Evidence) -> Option<Self> {
        let (first, last) = (evidence.records.first()?, evidence.records.last()?);
        let rows = evidence.samples.iter().any(|sample| sample.kind == Kind::Statements);
        let kind = if rows { Kind::Statements } else { Kind::Writes };
        Some(Self {
            failovers: last.epoch - first.epoch,
            write_gap_ms: gap_ms(&evidence.samples, Some(kind), scenario.load_ms()),
            failed_statements: failed(&evidence.samples, Some(Kind::Statements)),
            in_sync_ms: in_sync_ms(scenario, evidence),
            took_over: evidence.took_over.clone(),
            records: evidence.records.clone(),
        })
    }

    /// A line for each change of the record, and one for how long a takeover took.
    pub(crate) fn lines(&self) -> Vec<String> {
        let named = |record: &RecordSeen| {
            let in_sync: Vec<&str> = record.in_sync.iter().map(triad_model::ServerName::as_str).collect();
            let RecordSeen { at_ms, epoch, version, primary, .. } = record;
            let in_sync = in_sync.join(", ");
            format!(
                "at {:>7}  epoch {epoch}, version {version}: {primary} is the primary, in sync {in_sync}",
                seconds(*at_ms)
            )
        };
        let mut lines: Vec<String> = self.records.iter().map(named).collect();
        if let Some(times) = &self.took_over {
            let FailoverTimes { agreed_ms, fenced_ms, drained_ms, claimed_ms, opened_ms, .. } = times;
            lines.push(format!(
                "took over, since the old primary looked dead: agreed {agreed_ms} ms, fenced {fenced_ms} ms, applied \
                 {drained_ms} ms, in the record {claimed_ms} ms, takes writes {opened_ms} ms"
            ));
        }
        lines
    }
}

/// See [`FailoverCheck::in_sync_ms`].
fn in_sync_ms(scenario: &Scenario, evidence: &Evidence) -> Option<u64> {
    let awaited = |step: &crate::scenario::Step| step.conditions.iter().any(|condition| condition.goal == Goal::InSync);
    let index = scenario.steps.iter().rposition(awaited)?;
    let (from_ms, to_ms) = evidence.window(scenario, index);
    Some(whole_after_ms(&evidence.records, from_ms, to_ms).unwrap_or(to_ms - from_ms))
}

/// Over the names of the drills.
pub const FAILOVERS_FIRST_HEADING: &str = "drill";
/// Headings, the first to the left.
const HEADINGS: [&str; 11] = [
    FAILOVERS_FIRST_HEADING,
    "runs",
    "good",
    "failovers",
    "write gap p50",
    "p99",
    "max",
    "rows failed",
    "lost",
    "in sync p50",
    "max",
];

/// A row for each scenario in which a replica may take over: its runs, those that were as they should be, all new
/// primaries, how the longest times without an acknowledged write are spread (nearest rank; of few runs the 99th percentile
/// is the longest), writers' rows that were not acknowledged, acknowledged writes that are gone, and when all databases
/// were in sync again.
fn rows(reports: &[Report]) -> Vec<[String; 11]> {
    let mut scenarios: BTreeMap<&str, Vec<(&Report, &FailoverCheck)>> = BTreeMap::new();
    for report in reports {
        if let Some(check) = &report.failover {
            scenarios.entry(&report.name).or_default().push((report, check));
        }
    }
    scenarios.into_iter().map(|(name, runs)| row(name, &runs)).collect()
}

fn row(name: &str, runs: &[(&Report, &FailoverCheck)]) -> [String; 11] {
    let sum = |of: &dyn Fn(&Report, &FailoverCheck) -> u64| {
        runs.iter().map(|(report, check)| of(report, check)).sum::<u64>().to_string()
    };
    let good = runs.iter().filter(|(report, _)| report.verdict.is_good()).count();
    let mut gaps_ms: Vec<u64> = runs.iter().map(|(_, check)| check.write_gap_ms).collect();
    gaps_ms.sort_unstable();
    let mut in_sync_ms: Vec<u64> = runs.iter().filter_map(|(_, check)| check.in_sync_ms).collect();
    in_sync_ms.sort_unstable();
    [
        name.to_owned(),
        runs.len().to_string(),
        good.to_string(),
        sum(&|_, check| check.failovers),
        rank(&gaps_ms, 50),
        rank(&gaps_ms, 99),
        rank(&gaps_ms, 100),
        sum(&|_, check| check.failed_statements),
        sum(&|report, _| report.writes.lost),
        rank(&in_sync_ms, 50),
        rank(&in_sync_ms, 100),
    ]
}

/// The nearest rank: the smallest of the sorted `all_ms` that so many percent do not exceed.
fn rank(all_ms: &[u64], percent: usize) -> String {
    let index = (all_ms.len() * percent).div_ceil(100).max(1) - 1;
    all_ms.get(index).map_or_else(|| "-".to_owned(), |ms| seconds(*ms))
}

/// The table of all runs, for a terminal; empty if no replica takes over in any.
pub fn failovers(reports: &[Report]) -> String {
    let rows = rows(reports);
    if rows.is_empty() {
        return String::new();
    }
    let all: Vec<[String; 11]> = std::iter::once(HEADINGS.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &all {
        write!(text, "{:<1$}", row[0], width(0)).expect("a string takes all");
        for (column, cell) in row.iter().enumerate().skip(1) {
            write!(text, "  {cell:>0$}", width(column)).expect("a string takes all");
        }
        text.push('\n');
    }
    text
}

/// The same as Markdown.
pub fn failovers_markdown(reports: &[Report]) -> String {
    let line = |cells: &[String; 11]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&HEADINGS.map(str::to_owned));
    text.push_str("|---|");
    text.push_str(&"---:|".repeat(HEADINGS.len() - 1));
    text.push('\n');
    text.extend(rows(reports).iter().map(line));
    text
}
