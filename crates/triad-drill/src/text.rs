//! Reports as text, for terminals.

use std::fmt::Write;

use crate::failovers::FailoverCheck;
use crate::judge::{Check, Report, seconds};
use crate::measure::{Measures, Phase};
use crate::predict::Comparison;
use crate::standstill::Standstill;

/// One report with all that was measured.
pub fn details(report: &Report) -> String {
    let mut text = format!("{}: {}\n\n", report.name, report.title);
    for happened in &report.happened {
        line(&mut text, format_args!("  at {:>7}  {}", seconds(happened.at_ms), happened.what));
    }
    for change in report.failover.iter().flat_map(FailoverCheck::lines) {
        line(&mut text, format_args!("  {change}"));
    }
    text.push('\n');
    text.push_str(&phases(&report.measures));
    text.push('\n');
    text.push_str(&failures(report));
    line(&mut text, format_args!("  {:<58} {:<24} verdict", "promise", "measured"));
    for check in &report.checks {
        let verdict = if check.holds { "holds" } else { "BROKEN" };
        line(&mut text, format_args!("  {:<58} {:<24} {verdict}", promise(check), check.measured));
    }
    for finding in report.writes.findings.iter().chain(&report.register.findings) {
        line(&mut text, format_args!("  {finding}"));
    }
    if !report.comparisons.is_empty() {
        line(&mut text, format_args!("\n  {:<58} {:<24} verdict", "predicted by `triad check`", "measured"));
        for comparison in &report.comparisons {
            let Comparison { fault, predicted, measured, .. } = comparison;
            let predicted = format!("{fault}: {predicted}");
            line(&mut text, format_args!("  {predicted:<58} {measured:<24} {}", comparison.as_str()));
        }
    }
    line(&mut text, format_args!("\n  {}", report.verdict.as_str()));
    text
}

fn promise(check: &Check) -> String {
    if check.fault.is_empty() { check.promise.clone() } else { format!("{}: {}", check.fault, check.promise) }
}

fn phases(measures: &Measures) -> String {
    let mut text = format!(
        "  {:<8}{:>10}{:>8}{:>10}{:>10}{:>10}{:>10}\n",
        "", "requests", "failed", "p50 ms", "p95 ms", "p99 ms", "max ms"
    );
    for Phase { name, requests, failed, latency } in &measures.phases {
        write!(text, "  {name:<8}{requests:>10}{failed:>8}").expect("a string takes all");
        match latency {
            Some(latency) => {
                for us in [latency.p50_us, latency.p95_us, latency.p99_us, latency.max_us] {
                    write!(text, "{:>10.1}", us as f64 / 1_000.0).expect("a string takes all");
                }
            }
            None => text.push_str("  nothing succeeded"),
        }
        text.push('\n');
    }
    text
}

fn failures(report: &Report) -> String {
    let Measures { failures, gap_ms, gaps, .. } = &report.measures;
    let gaps: Vec<String> = gaps.iter().map(|(kind, ms)| format!("{kind} {}", seconds(*ms))).collect();
    let mut text = format!("  longest gap {}: {}\n", seconds(*gap_ms), gaps.join(", "));
    if let Some(Standstill { at_ms, ms }) = report.longest_standstill() {
        let (long, at) = (seconds(ms), seconds(at_ms));
        line(&mut text, format_args!("  this machine itself stood still for {long}, until {at}"));
    }
    for failure in failures {
        line(&mut text, format_args!("  {} {}: {}", failure.count, failure.kind, failure.outcome));
    }
    let writes = &report.writes;
    if writes.attempted > 0 {
        line(
            &mut text,
            format_args!(
                "  of {} writes {} were acknowledged, {} are uncertain ({} of these stored); {} lost, {} twice, {} invented",
                writes.attempted,
                writes.acknowledged,
                writes.unknown,
                writes.unknown_stored,
                writes.lost,
                writes.duplicated,
                writes.invented
            ),
        );
    }
    text.push('\n');
    text
}

/// All reports, a line each.
pub fn summary(reports: &[Report]) -> String {
    let width = reports.iter().map(|report| report.name.chars().count()).max().unwrap_or(0).max("drill".len());
    let mut text = format!(
        "{:<width$}{:>10}{:>8}{:>10}{:>10}{:>6}  verdict\n",
        "drill", "requests", "failed", "gap", "recovery", "lost"
    );
    for report in reports {
        let recovery = report.checks.iter().find(|check| !check.fault.is_empty());
        line(
            &mut text,
            format_args!(
                "{:<width$}{:>10}{:>8}{:>10}{:>10}{:>6}  {}",
                report.name,
                report.measures.requests,
                report.measures.failed,
                seconds(report.measures.gap_ms),
                recovery.map_or("-", |check| check.measured.as_str()),
                report.writes.lost,
                report.verdict.as_str()
            ),
        );
        for check in report.checks.iter().filter(|check| !check.holds) {
            line(&mut text, format_args!("    {}: {}", promise(check), check.measured));
        }
    }
    text
}

/// What was predicted of each fault beside what was measured, over all reports.
pub fn predictions(reports: &[Report]) -> String {
    let comparisons: Vec<&Comparison> = reports.iter().flat_map(|report| &report.comparisons).collect();
    let width = |cell: fn(&Comparison) -> &str, heading: &str| {
        let longest = comparisons.iter().map(|comparison| cell(comparison).chars().count()).max().unwrap_or(0);
        longest.max(heading.chars().count())
    };
    let fault = width(|comparison| &comparison.fault, "fault");
    let predicted = width(|comparison| &comparison.predicted, "predicted by `triad check`");
    let measured = width(|comparison| &comparison.measured, "measured");
    let mut text = String::new();
    let mut row = |cells: [&str; 4]| {
        let [a, b, c, verdict] = cells;
        line(&mut text, format_args!("{a:<fault$}  {b:<predicted$}  {c:<measured$}  {verdict}"));
    };
    row(["fault", "predicted by `triad check`", "measured", "verdict"]);
    for comparison in &comparisons {
        row([&comparison.fault, &comparison.predicted, &comparison.measured, comparison.as_str()]);
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use triad_check::survival::{Actor, Fault, Lost, Outcome, Prediction, Survival};
    use triad_model::{FailoverTimes, ServerName};

    use super::{details, predictions, summary};
    use crate::bank::BankCheck;
    use crate::checker::NodeRows;
    use crate::judge::{Evidence, Happened, Report, judge};
    use crate::parse::parse;
    use crate::record::RecordSeen;
    use crate::sample::{Kind, Outcome as Ended, Sample};
    use crate::standstill::Standstill;

    const SCENARIO: &str = "# The active server goes silent.\ndesign x\nload 10 reads/s, 4 writes/s over new connections\n\
        after 1 s cut srv2\nwithin 1 s reads succeed\nwithin 0.5 s reads come from passive\nafter 3 s join srv2\n\
        within 9 s all healthy\npromise at most 3 failed reads, longest gap 2 s\n";

    /// Five seconds in which reads fail for 0.3 s; write 3 is acknowledged and, if `loses`, gone from one node.
    fn report(scenario: &str, loses: bool) -> Report {
        let scenario = parse("silent", scenario).expect("a scenario");
        let sample = |kind, number: u64, rate: u64| {
            let due_us = (number * 2 - 1) * 500_000 / rate;
            let cut = (1_000_000..1_300_000).contains(&due_us);
            let outcome = if cut && kind == Kind::Reads { Ended::Status(502) } else { Ended::Ok };
            let server = (kind == Kind::Reads).then(|| if due_us > 1_000_000 { "srv3" } else { "srv2" }.to_owned());
            Sample {
                kind,
                number: number as u32,
                due_us,
                took_us: 4_000 + number * 10,
                outcome,
                server,
                seen: Vec::new(),
            }
        };
        let load_s = scenario.load_ms() / 1_000;
        let samples: Vec<Sample> = (1..=10 * load_s)
            .map(|number| sample(Kind::Reads, number, 10))
            .chain((1..=4 * load_s).map(|number| sample(Kind::Writes, number, 4)))
            .collect();
        let node = |server: &str, lacks: Option<u64>| NodeRows {
            server: ServerName::new(server).expect("a name"),
            ids: (1..=4 * load_s).filter(|n| Some(*n) != lacks).map(|n| format!("drill-7-{n}")).collect(),
            gtid: "0-3-40".to_owned(),
            checksum: format!("{lacks:?}"),
        };
        let happened = |at_ms, what: &str, begins| Happened { at_ms, what: what.to_owned(), begins };
        judge(
            &scenario,
            Evidence {
                run: "7".to_owned(),
                samples,
                happened: vec![happened(1_004, "cut srv2", true), happened(3_002, "join srv2", false)],
                healthy: vec![crate::judge::HealthSeen { step: 1, after_ms: Some(640) }],
                healthy_at_end_ms: Some(12),
                trouble: None,
                nodes: vec![node("srv3", loses.then_some(3)), node("srv2", None)],
                bank: Some(BankCheck { transfers: 40, failed: 1, wrong: Vec::new() }),
                predictions: vec![Some(prediction(1_000)), None],
                places: vec![("passive".to_owned(), "srv3".to_owned())],
                records: Vec::new(),
                took_over: None,
                standstills: loses.then_some(Standstill { at_ms: 2_730, ms: 240 }).into_iter().collect(),
            },
        )
    }

    /// What a model could say: right of writes, and of reads if they have `ms`.
    fn prediction(ms: u64) -> Prediction {
        let fault = Fault::Server(ServerName::new("srv2").expect("a name"));
        let outcome = |survival, by| Outcome { survival, by, one_address_ms: None, lost: Lost::Nothing };
        let reads = outcome(Survival::Within(ms), Some(Actor::Balancer));
        let writes = outcome(Survival::Untouched, None);
        Prediction { id: fault.to_string(), fault, reads, writes, files: None }
    }

    fn compare(name: &str, output: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report").join(name);
        if std::env::var("TRIAD_GOLDEN").as_deref() == Ok("write") {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(&path, output).expect("writable");
        } else {
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(output, expected, "{}; TRIAD_GOLDEN=write accepts it", path.display());
        }
    }

    /// A run whose replica took over at 3.2 s, and whose old primary was in sync again `n` tenths of a second later.
    fn with_failover(n: u64) -> Report {
        const SCENARIO: &str = "# The primary dies.\ndesign x\nload 4 writes/s and 8 writers over new connections\n\
            after 3 s kill mariadbd on primary\nwithin 10 s all in sync\npromise 1 failover\n";
        let scenario = parse("primary-killed", SCENARIO).expect("a scenario");
        let name = |text: &str| ServerName::new(text).expect("a name");
        let record = |at_ms, epoch, version, primary: &str, in_sync: &[&str]| RecordSeen {
            at_ms,
            epoch,
            version,
            primary: name(primary),
            in_sync: in_sync.iter().map(|server| name(server)).collect(),
            whole: in_sync.len() == 2,
        };
        let row = |number: u32| {
            let due_us = u64::from(number) * 100_000;
            let outcome = if (30..33).contains(&number) { Ended::Broken } else { Ended::Ok };
            Sample { kind: Kind::Statements, number, due_us, took_us: 5_000, outcome, server: None, seen: Vec::new() }
        };
        let evidence = Evidence {
            run: "7".to_owned(),
            samples: (1..160).map(row).collect(),
            happened: vec![Happened { at_ms: 3_004, what: "kill mariadbd on primary".to_owned(), begins: true }],
            healthy_at_end_ms: Some(0),
            records: vec![
                record(0, 4, 11, "srv3", &["srv2", "srv3"]),
                record(3_250, 5, 12, "srv2", &["srv2"]),
                record(3_250 + n * 100, 5, 13, "srv2", &["srv2", "srv3"]),
            ],
            took_over: Some(FailoverTimes {
                from_epoch: 4,
                agreed_ms: 1,
                fenced_ms: 20,
                drained_ms: 22,
                claimed_ms: 30,
                opened_ms: 41,
            }),
            ..Evidence::default()
        };
        judge(&scenario, evidence)
    }

    #[test]
    fn goldens() {
        let control = format!("{SCENARIO}expect failure of lost writes\n");
        let holds = report(SCENARIO, false);
        let broken = report(SCENARIO, true);
        let caught = report(&control, true);
        let missed = report(&control, false);
        compare("broken.txt", &details(&broken));
        compare("caught.txt", &details(&caught));
        compare("summary.txt", &summary(&[holds.clone(), broken, caught, missed]));
        compare("predictions.txt", &predictions(std::slice::from_ref(&holds)));
        let with_gap = |gap_ms| {
            let mut report = holds.clone();
            report.measures.gap_ms = gap_ms;
            report
        };
        let mut runs: Vec<Report> = (1..=20).rev().map(|run| with_gap(run * 10)).collect();
        runs.push(Report { name: "another".to_owned(), ..holds.clone() });
        compare("repeats.txt", &crate::repeats::repeats(&runs));
        let failovers: Vec<Report> = (1..=20).map(with_failover).collect();
        compare("failovers.txt", &crate::failovers::failovers(&failovers));
        compare("failovers.md", &crate::failovers::failovers_markdown(&failovers));
        assert_eq!(crate::failovers::failovers(&runs), "", "nobody took over");
        compare("failover.txt", &details(&failovers[0]));
        compare("page.html", &crate::html::page(&[holds]));
    }
}
