//! Predictions as a table for people.

use super::{Actor, Fault, Lost, Outcome, Prediction, Survival};

const HEADINGS: [&str; 6] = ["WHAT DIES", "READS", "WRITES", "SECONDS", "BY", "LOST"];
/// Names in a row before they are counted.
const NAMES_MAX: usize = 4;

/// What dies → reads, writes, seconds, who acts, what may be lost. Faults of a kind that do the same share a row.
pub fn render(predictions: &[Prediction]) -> String {
    let rows: Vec<[String; 6]> = groups(predictions).iter().map(|group| row(group)).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&HEADINGS.map(str::to_owned), widths);
    rows.iter().for_each(|row| text.push_str(&line(row, widths)));
    text + &footnotes(predictions)
}

fn line(cells: &[String; 6], widths: [usize; 6]) -> String {
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    format!("{}\n", cells.join("  ").trim_end())
}

/// Faults of one kind with equal outcomes, in the order of the first of each.
fn groups(predictions: &[Prediction]) -> Vec<Vec<&Prediction>> {
    let mut groups: Vec<Vec<&Prediction>> = Vec::new();
    for prediction in predictions {
        let alike = |group: &&mut Vec<&Prediction>| {
            let first = group[0];
            first.fault.kind_and_name().0 == prediction.fault.kind_and_name().0
                && (&first.reads, &first.writes) == (&prediction.reads, &prediction.writes)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(prediction),
            None => groups.push(vec![prediction]),
        }
    }
    groups
}

fn row(group: &[&Prediction]) -> [String; 6] {
    let first = group[0];
    let (reads, writes) = (&first.reads, &first.writes);
    let later = if seconds_of(writes) > seconds_of(reads) { writes } else { reads };
    let by = later.by.or(writes.by).map_or("", Actor::as_str);
    [
        subject(group),
        word(reads).to_owned(),
        word(writes).to_owned(),
        seconds(later),
        by.to_owned(),
        reads.lost.max(writes.lost).as_str(reads.lost).to_owned(),
    ]
}

fn subject(group: &[&Prediction]) -> String {
    let names: Vec<String> = group.iter().map(|prediction| prediction.fault.kind_and_name().1).collect();
    let kind = group[0].fault.kind_and_name().0;
    let listed = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMES_MAX);
    let text = if more > 0 { format!("{kind} {listed} and {more} more") } else { format!("{kind} {listed}") };
    text.trim_end().to_owned()
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome.survival {
        Survival::Untouched => "go on",
        Survival::AtOnce => "go on at once",
        Survival::Within(_) => "pause",
        Survival::SomeFail => "some fail",
        Survival::AllFail => "stop",
    }
}

/// What becomes of requests, to be read after their name: `pause for at most 2.5 s (balancer)`.
pub fn sentence(outcome: &Outcome) -> String {
    match outcome.survival {
        Survival::Untouched => "go on".to_owned(),
        Survival::AtOnce => "go on at once".to_owned(),
        Survival::Within(ms) => {
            let by = outcome.by.map_or(String::new(), |by| format!(" ({})", by.as_str()));
            format!("pause for at most {} s{by}", in_seconds(ms))
        }
        Survival::SomeFail => "fail in part until repaired".to_owned(),
        Survival::AllFail => "stop until repaired".to_owned(),
    }
}

/// For comparing: an operator takes longest.
fn seconds_of(outcome: &Outcome) -> u64 {
    match outcome.survival {
        Survival::Untouched | Survival::AtOnce => 0,
        Survival::Within(ms) => ms,
        Survival::SomeFail | Survival::AllFail => u64::MAX,
    }
}

fn seconds(outcome: &Outcome) -> String {
    let own = match outcome.survival {
        Survival::Untouched => String::new(),
        Survival::AtOnce => "0".to_owned(),
        Survival::Within(ms) => in_seconds(ms),
        Survival::SomeFail | Survival::AllFail => "until repaired".to_owned(),
    };
    match outcome.one_address_ms {
        Some(ms) => format!("{own} ({}*)", in_seconds(ms)),
        None => own,
    }
}

/// Milliseconds as seconds, without digits that say nothing.
pub(crate) fn in_seconds(ms: u64) -> String {
    let seconds = ms as f64 / 1000.0;
    match ms {
        _ if ms.is_multiple_of(1000) => format!("{seconds}"),
        _ if ms.is_multiple_of(100) => format!("{seconds:.1}"),
        _ => format!("{seconds:.2}"),
    }
}

impl Actor {
    fn as_str(self) -> &'static str {
        match self {
            Actor::Resolver => "resolver",
            Actor::Client => "client, DNS",
            Actor::Balancer => "balancer",
            Actor::Supervisor => "supervisor",
            Actor::Primary => "primary",
            Actor::Replica => "replica",
            Actor::Operator => "operator",
        }
    }
}

impl Lost {
    /// In words; `reads` is what reads lose.
    fn as_str(self, reads: Lost) -> &'static str {
        match self {
            Lost::Nothing => "nothing",
            Lost::StatementsInFlight => "statements in flight",
            Lost::RequestsInFlight if reads == Lost::Nothing => "writes in flight",
            Lost::RequestsInFlight => "requests in flight",
            Lost::WritesWithoutReplica => "writes that no replica had",
            Lost::AllData => "all data",
        }
    }
}

fn footnotes(predictions: &[Prediction]) -> String {
    let mut text = String::new();
    if predictions.iter().any(|prediction| prediction.reads.one_address_ms.is_some()) {
        text.push_str("* for clients that keep to the one address they know; browsers try the others at once\n");
    }
    if predictions.iter().any(|prediction| prediction.writes.lost == Lost::StatementsInFlight) {
        text.push_str("statements in flight fail once, those that begin wait; what was acknowledged is there\n");
    }
    if predictions.iter().any(|prediction| prediction.fault == Fault::EtcdOnMost) {
        text.push_str("without etcd on most voters no replica takes over; without all databases, writes wait for one that has everything\n");
    }
    let files = |prediction: &&Prediction| {
        !prediction.reads.goes_on() && prediction.files.as_ref().is_some_and(Outcome::goes_on)
    };
    let spared: Vec<&str> = predictions.iter().filter(files).map(|prediction| prediction.id.as_str()).collect();
    if !spared.is_empty() {
        text.push_str(&format!("static files go on without: {}\n", spared.join(", ")));
    }
    text
}
