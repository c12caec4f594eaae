//! Numbers out of samples.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::sample::{Kind, Outcome, Sample};

/// Longer without a success of a kind, and it has not recovered yet. Rates in scenarios are well above two a second.
const STALL_US: u64 = 500_000;

/// What a run's samples say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measures {
    /// Requests.
    pub requests: u64,
    /// Those that did not get what was asked for.
    pub failed: u64,
    /// How they ended, by kind.
    pub failures: Vec<Failures>,
    /// Longest time without a success, in milliseconds.
    pub gap_ms: u64,
    /// The same for each kind that was asked for.
    pub gaps: Vec<(Kind, u64)>,
    /// Before, during and after the faults.
    pub phases: Vec<Phase>,
}

/// A way in which requests of a kind failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// What was asked for.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// How often.
    pub count: u64,
}

/// A part of a run; a request belongs to the part in which it was due.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// `before`, `during` or `after`.
    pub name: &'static str,
    /// Requests due in it.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Of those that succeeded; `None` if none did.
    pub latency: Option<Latency>,
}

/// Time from when requests were due to the last byte of their answers, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half took no longer.
    pub p50_us: u64,
    /// 95 of 100 took no longer.
    pub p95_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Measures {
    /// Of `samples` of a load that lasted `load_ms`, with faults in `during` (from, to: milliseconds).
    pub fn of(samples: &[Sample], load_ms: u64, during: (u64, u64)) -> Self {
        let kinds = Kind::ALL.into_iter().filter(|kind| samples.iter().any(|sample| sample.kind == *kind));
        let phase = |name, from_ms: u64, to_ms: u64| {
            let due = |sample: &&Sample| (from_ms * 1_000..to_ms * 1_000).contains(&sample.due_us);
            Phase::of(name, samples.iter().filter(due))
        };
        Self {
            requests: samples.len() as u64,
            failed: failed(samples, None),
            failures: failures(samples),
            gap_ms: gap_ms(samples, None, load_ms),
            gaps: kinds.map(|kind| (kind, gap_ms(samples, Some(kind), load_ms))).collect(),
            phases: vec![
                phase("before", 0, during.0),
                phase("during", during.0, during.1),
                phase("after", during.1, u64::MAX / 1_000),
            ],
        }
    }
}

impl Phase {
    fn of<'a>(name: &'static str, samples: impl Iterator<Item = &'a Sample>) -> Self {
        let (good, bad): (Vec<&Sample>, Vec<&Sample>) = samples.partition(|sample| sample.outcome.is_ok());
        let latency = Latency::of(good.iter().map(|sample| sample.took_us).collect());
        Self { name, requests: (good.len() + bad.len()) as u64, failed: bad.len() as u64, latency }
    }
}

impl Latency {
    fn of(mut took_us: Vec<u64>) -> Option<Self> {
        took_us.sort_unstable();
        let max_us = *took_us.last()?;
        // The nearest rank: the smallest value that so many percent do not exceed.
        let percentile = |percent: usize| took_us[(took_us.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { p50_us: percentile(50), p95_us: percentile(95), p99_us: percentile(99), max_us })
    }
}

/// Failed requests of `kind`, or of all.
pub(crate) fn failed(samples: &[Sample], kind: Option<Kind>) -> u64 {
    of_kind(samples, kind).filter(|sample| !sample.outcome.is_ok()).count() as u64
}

fn failures(samples: &[Sample]) -> Vec<Failures> {
    let mut counts: BTreeMap<(Kind, Outcome), u64> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| !sample.outcome.is_ok()) {
        *counts.entry((sample.kind, sample.outcome)).or_default() += 1;
    }
    counts.into_iter().map(|((kind, outcome), count)| Failures { kind, outcome, count }).collect()
}

/// Longest time, within the load, in which no request of `kind` (or of all) was answered as it should.
pub(crate) fn gap_ms(samples: &[Sample], kind: Option<Kind>, load_ms: u64) -> u64 {
    let load_us = load_ms * 1_000;
    let successes = of_kind(samples, kind).filter(|sample| sample.outcome.is_ok());
    let mut moments_us: Vec<u64> = successes.map(|sample| sample.done_us().min(load_us)).collect();
    moments_us.extend([0, load_us]);
    moments_us.sort_unstable();
    moments_us.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0).div_ceil(1_000)
}

/// How long after `from_ms` it took until requests succeeded for good: the end of the first success among those that
/// were due after the last one that was not `good`, and before `to_ms`; or the end of the last stall, if that is later.
/// `None` if there is no such success.
pub(crate) fn recovered_after_ms<'a>(
    samples: impl Iterator<Item = &'a Sample> + Clone,
    good: impl Fn(&Sample) -> bool,
    from_ms: u64,
    to_ms: u64,
) -> Option<u64> {
    let due = samples.filter(|sample| (from_ms * 1_000..to_ms * 1_000).contains(&sample.due_us));
    let last_bad_us = due.clone().filter(|sample| !good(sample)).map(|sample| sample.due_us).max();
    let since = due.clone().filter(|sample| last_bad_us.is_none_or(|bad_us| sample.due_us > bad_us));
    let first_us = since.map(Sample::done_us).min()?;
    let stall_us = last_stall_us(due.filter(|sample| good(sample)).map(Sample::done_us).collect(), from_ms * 1_000);
    Some((first_us.max(stall_us) - from_ms * 1_000).div_ceil(1_000))
}

/// When the last stall between `from_us` and successes at `done_us` ended; `from_us` if there was none.
fn last_stall_us(mut done_us: Vec<u64>, from_us: u64) -> u64 {
    done_us.push(from_us);
    done_us.sort_unstable();
    let mut stalls = done_us.windows(2).filter(|pair| pair[1] - pair[0] > STALL_US);
    stalls.next_back().map_or(from_us, |pair| pair[1])
}

pub(crate) fn of_kind(samples: &[Sample], kind: Option<Kind>) -> impl Iterator<Item = &Sample> + Clone {
    samples.iter().filter(move |sample| kind.is_none_or(|kind| sample.kind == kind))
}

#[cfg(test)]
mod tests {
    use super::{Latency, Measures, gap_ms, recovered_after_ms};
    use crate::sample::{Kind, Outcome, Sample};

    fn sample(due_ms: u64, took_ms: u64, outcome: Outcome) -> Sample {
        let (due_us, took_us) = (due_ms * 1_000, took_ms * 1_000);
        Sample { kind: Kind::Reads, number: 1, due_us, took_us, outcome, server: None, seen: Vec::new() }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let latency = Latency::of((1..=200).rev().collect()).expect("some");
        assert_eq!((latency.p50_us, latency.p95_us, latency.p99_us, latency.max_us), (100, 190, 198, 200));
        let one = Latency::of(vec![7]).expect("some");
        assert_eq!((one.p50_us, one.max_us), (7, 7));
        assert_eq!(Latency::of(vec![]), None);
    }

    #[test]
    fn a_gap_is_measured_between_successes_and_to_both_ends() {
        let good = |due_ms, took_ms| sample(due_ms, took_ms, Outcome::Ok);
        assert_eq!(gap_ms(&[good(100, 10), good(200, 700)], None, 1_000), 790);
        assert_eq!(gap_ms(&[good(900, 10)], None, 1_000), 910);
        assert_eq!(gap_ms(&[good(100, 10), sample(500, 1, Outcome::Broken)], None, 1_000), 890);
        assert_eq!(gap_ms(&[], Some(Kind::Writes), 1_000), 1_000);
    }

    #[test]
    fn recovery_is_the_first_success_after_the_last_failure() {
        let samples = [
            sample(0, 5, Outcome::Ok),
            sample(100, 5_000, Outcome::TimedOut),
            sample(200, 10, Outcome::Ok),
            sample(300, 10, Outcome::Unconnected),
            sample(400, 300, Outcome::Ok),
            sample(500, 20, Outcome::Ok),
        ];
        let after =
            |from_ms, to_ms| recovered_after_ms(samples.iter(), |sample| sample.outcome.is_ok(), from_ms, to_ms);
        assert_eq!(after(100, 600), Some(420));
        assert_eq!(after(0, 50), Some(5));
        assert_eq!(after(100, 350), None);
        let stalled: Vec<Sample> = (0..8).map(|n| sample(n * 100, if n == 0 { 5 } else { 900 }, Outcome::Ok)).collect();
        assert_eq!(recovered_after_ms(stalled.iter(), |_| true, 0, 900), Some(1_000), "all of them waited");
    }

    #[test]
    fn a_stall_is_counted_by_the_schedule() {
        // The server answers nothing for a second; four requests were due meanwhile, and each says how long it waited.
        let samples: Vec<Sample> = (0..4).map(|n| sample(n * 250, 1_000 - n * 250, Outcome::Ok)).collect();
        let measures = Measures::of(&samples, 1_000, (0, 1_000));
        let latency = measures.phases[1].latency.expect("answers");
        assert_eq!((latency.p50_us, latency.max_us), (500_000, 1_000_000));
        assert_eq!((measures.gap_ms, measures.failed), (1_000, 0));
    }
}
