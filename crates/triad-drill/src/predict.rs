//! What `triad check` predicts of a scenario's faults, beside what a run measured.
//!
//! A prediction is compared over the time from its fault to the next step. Faults that overlap, and those the model
//! does not know (a hanging process, a slow network), have none.

use serde::Serialize;
use triad_check::survival::{self, Outcome, Prediction, Survival};
use triad_model::{Design, ServerName};

use crate::judge::seconds;
use crate::measure::{of_kind, recovered_after_ms};
use crate::sample::{Kind, Sample};
use crate::scenario::{Action, Fault, Network, Process, Scenario, Step};

/// What a prediction may be missed by, in milliseconds: the pause to the next request, and a busy machine's delay.
const SLACK_MS: u64 = 500;

/// Time in which a fault that is over at once, as the end of a process is, overlaps with what comes next.
const STRUCK_MS: u64 = 1_000;

/// A prediction for one kind of requests, compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What was done, as the scenario writes it.
    pub fault: String,
    /// What `triad check` says of it.
    pub predicted: String,
    /// What was measured.
    pub measured: String,
    /// Whether they agree; `None` if the time until the next step does not tell.
    pub agrees: Option<bool>,
}

impl Comparison {
    /// The verdict as it is printed.
    pub fn as_str(&self) -> &'static str {
        match self.agrees {
            Some(true) => "agrees",
            Some(false) => "DIFFERS",
            None => "too short",
        }
    }
}

/// For each step of `scenario`, what the model says of the fault that begins with it.
pub fn predictions(scenario: &Scenario, design: &Design) -> Vec<Option<Prediction>> {
    let mut open: Vec<&Fault> = Vec::new();
    let mut struck_ms = None;
    let mut predictions = Vec::new();
    for group in scenario.steps.chunk_by(|first, second| first.at_ms == second.at_ms) {
        let at_ms = group[0].at_ms;
        let overlaps = !open.is_empty() || struck_ms.is_some_and(|before| at_ms < before + STRUCK_MS);
        let fault = if overlaps { None } else { modelled(group, design) };
        predictions.push(fault.map(|fault| survival::predict(design, fault)));
        predictions.resize(predictions.len() + group.len() - 1, None);
        for step in group {
            match &step.action {
                Action::Begin(fault) if fault.lasts() => open.push(fault),
                Action::Begin(Fault::Kill(_) | Fault::Restart(_)) => struck_ms = Some(at_ms),
                Action::Begin(_) => {}
                Action::End(fault) => open.retain(|other| !other.same(fault)),
            }
        }
    }
    predictions
}

/// The model's word for what happens at one moment.
fn modelled(steps: &[Step], design: &Design) -> Option<survival::Fault> {
    let faults: Vec<&Fault> = steps.iter().map(|step| &step.action).filter_map(begun).collect();
    if faults.len() != steps.len() {
        return None;
    }
    match faults.as_slice() {
        [fault] => one(fault, design),
        several => every_instance(several, design),
    }
}

fn begun(action: &Action) -> Option<&Fault> {
    match action {
        Action::Begin(fault) => Some(fault),
        Action::End(_) => None,
    }
}

fn one(fault: &Fault, design: &Design) -> Option<survival::Fault> {
    Some(match fault {
        Fault::Kill(process) | Fault::Restart(process) => {
            let server = process.server.resolve(design)?;
            survival::Fault::Process { process: process_of(process, &server, design)?, server }
        }
        Fault::KillServer(place) | Fault::Cut(place) => survival::Fault::Server(place.resolve(design)?),
        Fault::CutFrom { server, from, .. } => {
            let (server, from) = (server.resolve(design)?, from.resolve(design)?);
            survival::Fault::Link(server.clone().min(from.clone()), server.max(from))
        }
        Fault::CutNetwork { server: Some(place), network } => {
            let server = place.resolve(design)?;
            match network {
                Network::Private => survival::Fault::PrivateLink(server),
                Network::Public => survival::Fault::PublicLink(server),
            }
        }
        Fault::CutNetwork { server: None, network: Network::Private } => survival::Fault::PrivateNetwork,
        Fault::CutNetwork { server: None, network: Network::Public } => survival::Fault::PublicNetwork,
        _ => return None,
    })
}

fn process_of(process: &Process, server: &ServerName, design: &Design) -> Option<survival::Process> {
    let is_primary = design.database.as_ref().is_some_and(|database| database.primary == *server);
    Some(match process.name.as_str() {
        "edge" => survival::Process::Edge,
        "dns" => survival::Process::Dns,
        "agent" => survival::Process::Agent,
        "etcd" => survival::Process::Etcd,
        "mariadbd" if is_primary => survival::Process::Primary,
        "mariadbd" => survival::Process::Replica,
        _ if design.app.as_ref()?.instances == 1 => survival::Process::App,
        // The model speaks of the first; it is like any other.
        _ => survival::Process::Instance,
    })
}

/// Every instance of a server at once.
fn every_instance(faults: &[&Fault], design: &Design) -> Option<survival::Fault> {
    let instances = usize::from(design.app.as_ref()?.instances);
    let killed: Option<Vec<(ServerName, &str)>> = faults
        .iter()
        .map(|fault| match fault {
            Fault::Kill(process) => Some((process.server.resolve(design)?, process.name.strip_prefix("app-")?)),
            _ => None,
        })
        .collect();
    let mut killed = killed?;
    killed.sort();
    killed.dedup();
    let server = killed[0].0.clone();
    let all = killed.len() == instances && killed.iter().all(|(other, _)| *other == server);
    all.then_some(survival::Fault::Process { process: survival::Process::App, server })
}

/// Predictions beside what was measured; `begun_ms` says when each step was done.
pub(crate) fn compare(
    scenario: &Scenario,
    predictions: &[Option<Prediction>],
    begun_ms: &[u64],
    samples: &[Sample],
) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    let predicted = predictions.iter().enumerate().filter_map(|(index, it)| it.as_ref().map(|it| (index, it)));
    for (index, prediction) in predicted {
        let Some(from_ms) = begun_ms.get(index).copied() else { continue };
        let at_ms = scenario.steps[index].at_ms;
        let next = scenario.steps.iter().position(|step| step.at_ms > at_ms).and_then(|next| begun_ms.get(next));
        let to_ms = next.copied().unwrap_or(scenario.load_ms());
        let kinds = [
            (Kind::Reads, Some(&prediction.reads)),
            (Kind::Writes, Some(&prediction.writes)),
            (Kind::Files, prediction.files.as_ref()),
        ];
        for (kind, outcome) in kinds.into_iter().filter(|(kind, _)| scenario.rates.of(*kind) > 0) {
            let Some(outcome) = outcome else { continue };
            let (measured, agrees) = measure(outcome, samples, kind, from_ms, to_ms);
            comparisons.push(Comparison {
                fault: prediction.id.clone(),
                predicted: format!("{kind} {}", survival::sentence(outcome)),
                measured,
                agrees,
            });
        }
    }
    comparisons
}

/// What was measured of `kind` between two steps, and whether that is `outcome`.
fn measure(outcome: &Outcome, samples: &[Sample], kind: Kind, from_ms: u64, to_ms: u64) -> (String, Option<bool>) {
    let due = |from_ms: u64| {
        of_kind(samples, Some(kind)).filter(move |sample| (from_ms * 1_000..to_ms * 1_000).contains(&sample.due_us))
    };
    // What waits until the fault ends is answered late: while it lasted, it was not.
    let answered = |sample: &&Sample| sample.outcome.is_ok() && sample.done_us() <= to_ms * 1_000;
    let answered_from = |from_ms: u64| due(from_ms).filter(answered).count();
    let all = due(from_ms).count();
    let failed = due(from_ms).filter(|sample| !sample.outcome.is_ok()).count();
    let recovered = recovered_after_ms(due(from_ms), |sample| sample.outcome.is_ok(), from_ms, to_ms);
    let settled_ms = from_ms + SLACK_MS;
    let agrees = match outcome.survival {
        Survival::Untouched => Some(failed == 0 && recovered.is_some_and(|ms| ms <= SLACK_MS)),
        Survival::AtOnce => Some(recovered.is_some_and(|ms| ms <= SLACK_MS)),
        Survival::Within(ms) if to_ms <= from_ms + ms + SLACK_MS => None,
        Survival::Within(ms) => Some(recovered.is_some_and(|measured| measured <= ms + SLACK_MS)),
        Survival::SomeFail => Some((1..due(settled_ms).count()).contains(&answered_from(settled_ms))),
        Survival::AllFail => Some(answered_from(settled_ms) == 0),
    };
    let measured = match recovered {
        _ if failed == all => format!("all {all} failed"),
        _ if answered_from(settled_ms) == 0 => format!("{failed} failed, {} waited", all - failed),
        None => format!("{failed} of {all} failed"),
        Some(_) if failed == 0 && recovered.is_some_and(|ms| ms <= SLACK_MS) => "no failure, no pause".to_owned(),
        Some(ms) if failed == 0 => format!("waited, {}", seconds(ms)),
        Some(ms) => format!("{failed} failed, {}", seconds(ms)),
    };
    (measured, agrees)
}

#[cfg(test)]
mod tests {
    use triad_check::survival::{Actor, Lost, Outcome, Survival};

    use super::measure;
    use crate::sample::{Kind, Outcome as Ended, Sample};

    /// Ten reads a second for 6 s that fail from 1 s to `until_ms`.
    fn samples(until_ms: u64) -> Vec<Sample> {
        let sample = |number: u32| {
            let due_ms = u64::from(number) * 100;
            let outcome = if (1_000..until_ms).contains(&due_ms) { Ended::Status(502) } else { Ended::Ok };
            Sample {
                kind: Kind::Reads,
                number,
                due_us: due_ms * 1_000,
                took_us: 4_000,
                outcome,
                server: None,
                seen: Vec::new(),
            }
        };
        (0..60).map(sample).collect()
    }

    fn agrees(survival: Survival, until_ms: u64, to_ms: u64) -> Option<bool> {
        let outcome = Outcome { survival, by: Some(Actor::Balancer), one_address_ms: None, lost: Lost::Nothing };
        measure(&outcome, &samples(until_ms), Kind::Reads, 1_000, to_ms).1
    }

    #[test]
    fn a_pause_agrees_up_to_its_bound() {
        assert_eq!(agrees(Survival::Within(1_500), 2_400, 6_000), Some(true));
        assert_eq!(agrees(Survival::Within(1_500), 3_100, 6_000), Some(false), "it took 2.1 s");
        assert_eq!(agrees(Survival::Within(1_500), 2_400, 2_900), None, "the next step came too soon to tell");
        assert_eq!(agrees(Survival::AtOnce, 1_200, 6_000), Some(true));
        assert_eq!(agrees(Survival::AtOnce, 1_900, 6_000), Some(false));
    }

    #[test]
    fn who_does_not_notice_has_no_failure() {
        assert_eq!(agrees(Survival::Untouched, 1_000, 6_000), Some(true));
        assert_eq!(agrees(Survival::Untouched, 1_100, 6_000), Some(false));
    }

    #[test]
    fn what_stops_has_no_success_and_what_fails_in_part_has_both() {
        assert_eq!(agrees(Survival::AllFail, 6_000, 6_000), Some(true));
        assert_eq!(agrees(Survival::AllFail, 5_000, 6_000), Some(false));
        assert_eq!(agrees(Survival::SomeFail, 5_000, 6_000), Some(true));
        assert_eq!(agrees(Survival::SomeFail, 6_000, 6_000), Some(false));
        assert_eq!(agrees(Survival::SomeFail, 1_000, 6_000), Some(false));
    }
}
