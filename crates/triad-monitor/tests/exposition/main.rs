//! Whole pages of metrics: against a golden, and against the format's rules.

#![forbid(unsafe_code)]

mod checker;
mod reports;

use std::path::Path;

use proptest::prelude::*;
use triad_model::ServerReport;
use triad_monitor::{HostReading, render};

use checker::parse;
use reports::{busy, idle, reading, replica};

#[test]
fn pages_are_as_recorded_and_valid() {
    let cases = [
        ("busy", busy(), Some(reading())),
        ("idle", idle(), None),
        ("replica-behind", replica(Some(2)), None),
        ("replica-stopped", replica(None), None),
    ];
    for (name, report, host) in cases {
        let text = render(&report, host.as_ref());
        parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        triad_golden::compare(format!("tests/golden/{name}.prom"), &text);
    }
}

#[test]
fn this_machines_page_is_valid() {
    let host = HostReading::take(Path::new("/")).unwrap();
    let families = parse(&render(&idle(), Some(&host))).unwrap();
    let cpu = families.iter().find(|family| family.name == "node_cpu_seconds_total").unwrap();
    assert_eq!(cpu.samples.len(), 8 * host.cpus_s.len());
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let header = "# HELP a_total h\n# TYPE a_total counter\n";
    let histogram = "# HELP h h\n# TYPE h histogram\n";
    let cases = [
        ("no final line end", "# HELP a_total h".to_owned()),
        ("a sample before its TYPE", "a_total 1\n".to_owned()),
        ("TYPE twice", format!("{header}a_total 1\n{header}")),
        ("a counter's name without _total", "# HELP a h\n# TYPE a counter\na 1\n".to_owned()),
        ("a sample of another name", format!("{header}b_total 1\n")),
        (
            "a family that comes back",
            format!("{header}a_total 1\n# HELP b h\n# TYPE b gauge\nb 1\na_total{{x=\"y\"}} 2\n"),
        ),
        ("the same series twice", format!("{header}a_total{{x=\"y\"}} 1\na_total{{x=\"y\"}} 2\n")),
        ("a label twice", format!("{header}a_total{{x=\"y\",x=\"z\"}} 1\n")),
        ("a bad label name", format!("{header}a_total{{9=\"y\"}} 1\n")),
        ("a quote not escaped", format!("{header}a_total{{x=\"y\"z\"}} 1\n")),
        ("an unknown escape", format!("{header}a_total{{x=\"\\t\"}} 1\n")),
        ("no number", format!("{header}a_total one\n")),
        ("Rust's infinity", format!("{header}a_total inf\n")),
        ("an empty family", header.to_owned()),
        ("buckets that shrink", format!("{histogram}{}", buckets(2, 1, 1))),
        ("a count that is not the last bucket", format!("{histogram}{}", buckets(1, 2, 3))),
        ("no last bucket", format!("{histogram}h_bucket{{le=\"1\"}} 1\nh_sum 1\nh_count 1\n")),
    ];
    for (what, text) in cases {
        assert!(parse(&text).is_err(), "{what} passed:\n{text}");
    }
    parse(&format!("{histogram}{}", buckets(1, 2, 2))).unwrap();
}

fn buckets(first: u64, last: u64, count: u64) -> String {
    format!("h_bucket{{le=\"1\"}} {first}\nh_bucket{{le=\"+Inf\"}} {last}\nh_sum 0.5\nh_count {count}\n")
}

proptest! {
    #[test]
    fn every_text_survives_as_a_label(site in any::<String>(), name in "\\PC*[\\\\\"\n]\\PC*") {
        let mut report = busy();
        report.edge.as_mut().unwrap().requests.truncate(1);
        report.edge.as_mut().unwrap().requests[0].site = site.clone();
        report.processes.truncate(1);
        report.processes[0].name = name.clone();
        let families = parse(&render(&report, None)).map_err(TestCaseError::fail)?;
        prop_assert_eq!(label(&families, "triad_http_requests_total", "site"), Some(&site));
        prop_assert_eq!(label(&families, "triad_process_up", "process"), Some(&name));
    }

    #[test]
    fn every_histogram_gives_a_valid_page(
        counts in proptest::collection::vec(0..u64::MAX / 32, 0..20),
        sum_s in any::<f64>(),
    ) {
        let report = ServerReport { edge: Some(reports::edge_with_latency(counts, sum_s)), ..idle() };
        parse(&render(&report, None)).map_err(TestCaseError::fail)?;
    }
}

fn label<'a>(families: &'a [checker::Family], family: &str, label: &str) -> Option<&'a String> {
    families.iter().find(|candidate| candidate.name == family)?.samples[0].labels.get(label)
}
