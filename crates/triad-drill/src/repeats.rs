//! Scenarios that were run again and again, as one table, and when the machine itself spoiled a run.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::judge::{Report, seconds};

/// A row for each scenario: its runs, those that were as they should be, all failed requests and lost writes, and how
/// the longest gaps of its runs are spread (nearest rank). Of few runs the 99th percentile is the longest.
pub fn repeats(reports: &[Report]) -> String {
    let mut scenarios: BTreeMap<&str, Vec<&Report>> = BTreeMap::new();
    for report in reports {
        scenarios.entry(&report.name).or_default().push(report);
    }
    let width = scenarios.keys().map(|name| name.chars().count()).max().unwrap_or(0).max("drill".len());
    let mut text = format!(
        "{:<width$}{:>6}{:>6}{:>10}{:>8}{:>6}{:>10}{:>10}{:>10}\n",
        "drill", "runs", "good", "requests", "failed", "lost", "gap p50", "gap p99", "gap max"
    );
    for (name, reports) in &scenarios {
        let sum = |of: fn(&Report) -> u64| reports.iter().map(|report| of(report)).sum::<u64>();
        let mut gaps_ms: Vec<u64> = reports.iter().map(|report| report.measures.gap_ms).collect();
        gaps_ms.sort_unstable();
        let gap = |percent: usize| seconds(gaps_ms[(gaps_ms.len() * percent).div_ceil(100).max(1) - 1]);
        let good = reports.iter().filter(|report| report.verdict.is_good()).count();
        let (requests, failed) = (sum(|report| report.measures.requests), sum(|report| report.measures.failed));
        let lost = sum(|report| report.writes.lost);
        writeln!(
            text,
            "{name:<width$}{:>6}{good:>6}{requests:>10}{failed:>8}{lost:>6}{:>10}{:>10}{:>10}",
            reports.len(),
            gap(50),
            gap(99),
            gap(100)
        )
        .expect("a string takes all");
    }
    text.push_str(&standstills(reports));
    text
}

/// In how many runs this machine itself stood still, if it did.
fn standstills(reports: &[Report]) -> String {
    let longest: Vec<u64> = reports.iter().filter_map(|it| Some(it.longest_standstill()?.ms)).collect();
    let Some(most) = longest.iter().max() else { return String::new() };
    format!(
        "this machine itself stood still in {} of {} runs, for up to {}\n",
        longest.len(),
        reports.len(),
        seconds(*most)
    )
}
