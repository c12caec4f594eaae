//! From what was seen in a run to what it says: pure, so a report can be tested without a lab.

use serde::Serialize;
use triad_check::survival::Prediction;
use triad_model::FailoverTimes;

use crate::bank::BankCheck;
use crate::checker::{NodeRows, WriteCheck, check_writes};
use crate::failovers::FailoverCheck;
use crate::measure::{Measures, failed, gap_ms, of_kind, recovered_after_ms};
use crate::predict::{Comparison, compare};
use crate::record::{RecordSeen, whole_after_ms};
use crate::register::{RegisterCheck, check_register};
use crate::sample::{Kind, Sample};
use crate::scenario::{Condition, Control, Goal, Promise, Scenario};
use crate::standstill::Standstill;

/// What a run left to be judged.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What its writes are told by.
    pub run: String,
    /// Every request.
    pub samples: Vec<Sample>,
    /// What was done, when.
    pub happened: Vec<Happened>,
    /// For each step and each of its conditions that all be healthy: after how many milliseconds it was, if in time.
    pub healthy: Vec<HealthSeen>,
    /// Whether, with all faults ended, everything became healthy: after how many milliseconds.
    pub healthy_at_end_ms: Option<u64>,
    /// What kept it from that.
    pub trouble: Option<String>,
    /// What the bank showed; `None` if the scenario has no writes.
    pub bank: Option<BankCheck>,
    /// What each database held at the end.
    pub nodes: Vec<NodeRows>,
    /// For each step, what `triad check` says of the fault that begins with it; `None` where it says nothing.
    pub predictions: Vec<Option<Prediction>>,
    /// The servers that places in the scenario mean.
    pub places: Vec<(String, String)>,
    /// Who the primary was, from when; nothing where no replica takes over by itself.
    pub records: Vec<RecordSeen>,
    /// How the last one that took over did.
    pub took_over: Option<FailoverTimes>,
    /// When this machine itself did nothing.
    pub standstills: Vec<Standstill>,
}

/// Something that was done to the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When it was done, in milliseconds since the load began.
    pub at_ms: u64,
    /// As the scenario writes it.
    pub what: String,
    /// A fault began (or ended).
    pub begins: bool,
}

/// How long it took until all was healthy after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSeen {
    /// The step's index.
    pub step: usize,
    /// Milliseconds after it; `None` if not in time.
    pub after_ms: Option<u64>,
}

/// A run, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// How long its load lasted, in milliseconds.
    pub load_ms: u64,
    /// What was done.
    pub happened: Vec<Happened>,
    /// What was measured.
    pub measures: Measures,
    /// What became of the writes.
    pub writes: WriteCheck,
    /// What lists of entries showed.
    pub register: RegisterCheck,
    /// What the bank showed.
    pub bank: Option<BankCheck>,
    /// What the database's failover cost; `None` where no replica takes over by itself.
    pub failover: Option<FailoverCheck>,
    /// Everything that was to hold.
    pub checks: Vec<Check>,
    /// What was predicted, beside what was measured.
    pub comparisons: Vec<Comparison>,
    /// When this machine itself did nothing, under load.
    pub standstills: Vec<Standstill>,
    /// The outcome.
    pub verdict: Verdict,
    /// The requests, for pictures.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// Something that was to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The fault it belongs to; empty for the whole run.
    pub fault: String,
    /// What was promised.
    pub promise: String,
    /// What was measured.
    pub measured: String,
    /// Whether it holds.
    pub holds: bool,
    /// It is what a control must be caught by.
    pub control: bool,
}

/// The outcome of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was promised holds.
    Holds,
    /// Something does not.
    Broken,
    /// A control was caught: the instrument works.
    Caught,
    /// A control was not caught, or something else broke: the instrument is not to be believed.
    Missed,
}

impl Verdict {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Broken => "BROKEN",
            Verdict::Caught => "caught",
            Verdict::Missed => "MISSED",
        }
    }

    /// Whether the drill is as it should be.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Holds | Verdict::Caught)
    }
}

/// Judges `evidence` of a run of `scenario`.
pub fn judge(scenario: &Scenario, evidence: Evidence) -> Report {
    let load_ms = scenario.load_ms();
    let measures = Measures::of(&evidence.samples, load_ms, scenario.fault_ms());
    let writes = check_writes(&evidence.run, &evidence.samples, &evidence.nodes);
    let mut checks = conditions(scenario, &evidence);
    checks.extend(scenario.promises.iter().map(|promise| promised(promise, &evidence, &writes, load_ms)));
    checks.extend(always(scenario, &evidence, &writes));
    let register = check_register(&evidence.samples);
    if scenario.rates.lists > 0 {
        let (lists, wrong) = (register.lists, register.wrong());
        checks.push(whole(
            "every list shows what was acknowledged".to_owned(),
            format!("{wrong} of {lists} wrong"),
            wrong == 0,
        ));
    }
    checks.extend(evidence.bank.as_ref().filter(|_| scenario.control != Some(Control::Lost)).map(constant));
    checks.extend(scenario.control.map(|control| controlled(control, &evidence, &writes)));
    let failover = FailoverCheck::of(scenario, &evidence);
    let begun_ms: Vec<u64> = evidence.happened.iter().map(|happened| happened.at_ms).collect();
    let comparisons = compare(scenario, &evidence.predictions, &begun_ms, &evidence.samples);
    Report {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        load_ms,
        happened: evidence.happened,
        measures,
        writes,
        register,
        bank: evidence.bank,
        failover,
        verdict: verdict(scenario.control, &checks, &comparisons),
        checks,
        comparisons,
        standstills: evidence.standstills.into_iter().filter(|it| it.at_ms <= load_ms + it.ms).collect(),
        samples: evidence.samples,
    }
}

/// A control is good when its instrument reports a failure and nothing else does. A prediction that differs from what
/// was measured is a broken promise: `triad check` made it.
fn verdict(control: Option<Control>, checks: &[Check], comparisons: &[Comparison]) -> Verdict {
    let agree = comparisons.iter().all(|comparison| comparison.agrees != Some(false));
    let all_hold = agree && checks.iter().all(|check| check.holds);
    match (control, all_hold) {
        (None, true) => Verdict::Holds,
        (None, false) => Verdict::Broken,
        (Some(_), true) => Verdict::Caught,
        (Some(_), false) => Verdict::Missed,
    }
}

fn conditions(scenario: &Scenario, evidence: &Evidence) -> Vec<Check> {
    let mut checks = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        let (from_ms, to_ms) = evidence.window(scenario, index);
        for condition in &step.conditions {
            let measured_ms = match &condition.goal {
                Goal::Healthy => evidence.healthy.iter().find(|seen| seen.step == index).and_then(|seen| seen.after_ms),
                Goal::InSync => whole_after_ms(&evidence.records, from_ms, to_ms),
                Goal::Succeed(kind) => {
                    let samples = of_kind(&evidence.samples, Some(*kind));
                    recovered_after_ms(samples, |sample| sample.outcome.is_ok(), from_ms, to_ms)
                }
                Goal::From(place) => {
                    let server = evidence.server_of(&place.word);
                    let good = |sample: &Sample| sample.server.as_deref() == Some(server);
                    recovered_after_ms(of_kind(&evidence.samples, Some(Kind::Reads)), good, from_ms, to_ms)
                }
            };
            checks.push(deadline(&step.text, condition, measured_ms));
        }
    }
    checks
}

impl Report {
    /// The longest time in which this machine itself did nothing.
    pub fn longest_standstill(&self) -> Option<Standstill> {
        self.standstills.iter().copied().max_by_key(|standstill| standstill.ms)
    }
}

impl Evidence {
    /// From step `index` of `scenario` to the next one, or to the load's end, in milliseconds since the load began.
    pub(crate) fn window(&self, scenario: &Scenario, index: usize) -> (u64, u64) {
        let done_ms = |index: usize| self.happened.get(index).map(|happened| happened.at_ms);
        (done_ms(index).unwrap_or(scenario.steps[index].at_ms), done_ms(index + 1).unwrap_or(scenario.load_ms()))
    }

    fn server_of<'a>(&'a self, word: &'a str) -> &'a str {
        self.places.iter().find(|(place, _)| place == word).map_or(word, |(_, server)| server)
    }
}

fn deadline(fault: &str, condition: &Condition, measured_ms: Option<u64>) -> Check {
    Check {
        fault: fault.to_owned(),
        promise: format!("within {}: {}", seconds(condition.within_ms), condition.text),
        measured: measured_ms.map_or_else(|| "not in time".to_owned(), seconds),
        holds: measured_ms.is_some_and(|ms| ms <= condition.within_ms),
        control: false,
    }
}

fn promised(promise: &Promise, evidence: &Evidence, writes: &WriteCheck, load_ms: u64) -> Check {
    let name = |kind: Option<Kind>| kind.map_or("requests", Kind::as_str);
    match *promise {
        Promise::Failed { kind, at_most } => {
            let count = failed(&evidence.samples, kind);
            whole(format!("at most {at_most} failed {}", name(kind)), count.to_string(), count <= at_most)
        }
        Promise::Gap { kind, at_most_ms } => {
            let ms = gap_ms(&evidence.samples, kind, load_ms);
            whole(format!("longest gap of {} {}", name(kind), seconds(at_most_ms)), seconds(ms), ms <= at_most_ms)
        }
        Promise::Failovers { at_least, at_most } => {
            let epoch = |record: Option<&RecordSeen>| record.map_or(0, |record| record.epoch);
            let count = epoch(evidence.records.last()) - epoch(evidence.records.first());
            let bound = if at_least == at_most { "" } else { "at most " };
            let holds = !evidence.records.is_empty() && (at_least..=at_most).contains(&count);
            whole(format!("{bound}{at_most} new primaries"), count.to_string(), holds)
        }
        Promise::Lost { at_most } => {
            whole(format!("at most {at_most} lost writes"), writes.lost.to_string(), writes.lost <= at_most)
        }
    }
}

/// What every drill promises: that it ends healthy, and what is stored is what was said. Not so a control that loses
/// writes: databases that differ do not become healthy by themselves, and should not.
fn always(scenario: &Scenario, evidence: &Evidence, writes: &WriteCheck) -> Vec<Check> {
    if scenario.control == Some(Control::Lost) {
        return Vec::new();
    }
    let end = evidence.healthy_at_end_ms;
    let trouble = || evidence.trouble.clone().unwrap_or_else(|| "no".to_owned());
    let measured = end.map_or_else(trouble, |ms| format!("after {}", seconds(ms)));
    let mut checks = vec![whole("all healthy at the end".to_owned(), measured, end.is_some())];
    if !scenario.rates.write() {
        return checks;
    }
    if !scenario.promises.iter().any(|promise| matches!(promise, Promise::Lost { .. })) {
        checks.push(promised(&Promise::Lost { at_most: 0 }, evidence, writes, 0));
    }
    let extra = writes.duplicated + writes.invented;
    checks.push(whole("no write twice or invented".to_owned(), extra.to_string(), extra == 0));
    let equal = writes.differences.is_empty();
    let measured = if equal { format!("{} of them", evidence.nodes.len()) } else { writes.differences.join("; ") };
    checks.push(whole("all databases equal".to_owned(), measured, equal));
    checks
}

fn constant(bank: &BankCheck) -> Check {
    let measured = match bank.wrong.first() {
        None => format!("in {} transfers", bank.transfers),
        Some(first) => format!("{} wrong, first {first}", bank.wrong.len()),
    };
    whole("the bank's sum is constant".to_owned(), measured, bank.wrong.is_empty() && bank.transfers > 0)
}

fn controlled(control: Control, evidence: &Evidence, writes: &WriteCheck) -> Check {
    let (what, count) = match control {
        Control::Lost => ("lost writes".to_owned(), writes.lost),
        Control::Failed(kind) => {
            (format!("failed {}", kind.map_or("requests", Kind::as_str)), failed(&evidence.samples, kind))
        }
    };
    let check = whole(format!("a control: {what} must be reported"), format!("{count} reported"), count > 0);
    Check { control: true, ..check }
}

fn whole(promise: String, measured: String, holds: bool) -> Check {
    Check { fault: String::new(), promise, measured, holds, control: false }
}

/// `0.25 s`
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10)
}
