//! Requests a second out of a counter that is read about once a second; pure.

use std::collections::VecDeque;

use triad_model::Rates;

/// Readings kept: one more than the minute has seconds, because a rate lies between two of them.
const SAMPLES_MAX: usize = 61;
/// What the longer of the two rates is over, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// Turns readings of a growing counter into rates.
///
/// A counter that falls has started again from zero with its process, as in Prometheus' `rate()`: rates are never
/// negative, and what was counted before the restart stays counted.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    samples: VecDeque<Sample>,
    /// The last reading as it was given.
    raw_total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: u64,
    /// Events since the first reading, restarts of the counter evened out.
    events: u64,
}

impl RateMeter {
    /// Takes a reading: the counter's value, and a clock that does not go backwards, in milliseconds. A reading that
    /// is not later than the one before replaces it.
    pub fn take(&mut self, total: u64, at_ms: u64) {
        let sample = match self.samples.back() {
            None => Sample { at_ms, events: 0 },
            Some(last) => {
                let increase = total.checked_sub(self.raw_total).unwrap_or(total);
                Sample { at_ms: at_ms.max(last.at_ms), events: last.events.saturating_add(increase) }
            }
        };
        self.raw_total = total;
        if self.samples.back().is_some_and(|last| last.at_ms == sample.at_ms) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        self.forget(sample.at_ms);
    }

    /// Events a second: between the last two readings, and over the last minute or as much of it as was read.
    pub fn rates(&self) -> Rates {
        let Some(last) = self.samples.back() else { return Rates::default() };
        let previous = self.samples.iter().rev().nth(1).unwrap_or(last);
        let first = self.samples.front().unwrap_or(last);
        Rates { now: per_second(previous, last), one_minute: per_second(first, last) }
    }

    /// Drops what lies before the minute, but for the reading that `now` is measured from.
    fn forget(&mut self, now_ms: u64) {
        let is_old = |sample: &Sample| now_ms - sample.at_ms > MINUTE_MS;
        while self.samples.len() > SAMPLES_MAX || (self.samples.len() > 2 && is_old(&self.samples[0])) {
            self.samples.pop_front();
        }
    }
}

fn per_second(from: &Sample, to: &Sample) -> f64 {
    let elapsed_ms = to.at_ms - from.at_ms;
    if elapsed_ms == 0 { 0.0 } else { (to.events - from.events) as f64 * 1000.0 / elapsed_ms as f64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use triad_model::Rates;

    use super::{RateMeter, SAMPLES_MAX};

    /// A total, and when it was read in milliseconds.
    type Reading = (u64, u64);

    fn rates(readings: &[Reading]) -> (f64, f64) {
        let mut meter = RateMeter::default();
        for (total, at_ms) in readings {
            meter.take(*total, *at_ms);
        }
        let Rates { now, one_minute } = meter.rates();
        (now, one_minute)
    }

    #[test]
    fn rates_are_what_was_counted_by_the_time_it_took() {
        let cases: [(&str, &[Reading], (f64, f64)); 8] = [
            ("nothing read", &[], (0.0, 0.0)),
            ("one reading has no duration, whatever was counted before it", &[(5000, 7)], (0.0, 0.0)),
            ("two readings", &[(100, 0), (150, 1000)], (50.0, 50.0)),
            ("the last second, and all of them", &[(0, 0), (10, 1000), (40, 2000)], (30.0, 20.0)),
            ("a late reading is divided by its own time", &[(0, 0), (30, 1500)], (20.0, 20.0)),
            ("a restarted counter counts from zero", &[(900, 0), (1000, 1000), (40, 2000)], (40.0, 70.0)),
            ("two readings at one time are one", &[(0, 0), (10, 1000), (20, 1000)], (20.0, 20.0)),
            ("a clock that goes back stands still", &[(0, 0), (10, 1000), (20, 400)], (20.0, 20.0)),
        ];
        for (what, readings, expected) in cases {
            assert_eq!(rates(readings), expected, "{what}");
        }
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let burst_then_steady: Vec<Reading> =
            (0..=120).map(|second| (if second == 0 { 0 } else { 1_000_000 + 10 * second }, second * 1000)).collect();
        assert_eq!(rates(&burst_then_steady), (10.0, 10.0));
        assert_eq!(rates(&[(0, 0), (60, 1000), (120, 600_000)]), (60.0 / 599.0, 60.0 / 599.0), "a long pause");
    }

    proptest! {
        #[test]
        fn rates_are_finite_and_never_negative_and_memory_is_bounded(
            readings in proptest::collection::vec((any::<u64>(), 0..10_000_000u64), 0..200)
        ) {
            let mut meter = RateMeter::default();
            for (total, at_ms) in readings {
                meter.take(total, at_ms);
                let Rates { now, one_minute } = meter.rates();
                prop_assert!(now >= 0.0 && now.is_finite() && one_minute >= 0.0 && one_minute.is_finite());
                prop_assert!(meter.samples.len() <= SAMPLES_MAX);
            }
        }
    }
}
