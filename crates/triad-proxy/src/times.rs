//! How long a backend takes, as a histogram that each worker adds to without waiting for another: 512 bytes for each
//! worker and backend.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use triad_model::{LATENCY_BOUNDS_S, LatencyHistogram};

use crate::counters::add;

/// Steps of a decade, in tenths of a millisecond and hundredths of that: the series R10 of ISO 3, which has the bounds
/// that metrics are given in, and from which a quantile is known to a quarter at worst.
const DECADE: [u64; 10] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
/// From 0.1 ms to 80 s.
const DECADES: usize = 6;
const BOUNDS: usize = DECADES * DECADE.len();
/// Upper bounds, in microseconds.
const BOUNDS_US: [u64; BOUNDS] = bounds();

const fn bounds() -> [u64; BOUNDS] {
    let mut bounds = [0; BOUNDS];
    let mut index = 0;
    while index < BOUNDS {
        bounds[index] = DECADE[index % DECADE.len()] * 10u64.pow((index / DECADE.len()) as u32);
        index += 1;
    }
    bounds
}

/// How long the recent past is at least; it is twice that at most.
const RECENT: Duration = Duration::from_secs(30);

/// What one worker counted. No other writes here, nor to the cache lines it lies in.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Times {
    buckets: [AtomicU64; BOUNDS + 1],
    sum_us: AtomicU64,
}

/// The same of all workers at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    buckets: [u64; BOUNDS + 1],
    sum_us: u64,
}

/// What was counted until a while ago, and until twice as long ago.
#[derive(Debug)]
pub(crate) struct Recent {
    since: Instant,
    newer: Counts,
    older: Counts,
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BOUNDS + 1], sum_us: AtomicU64::new(0) }
    }
}

impl Times {
    /// Counts one that took `time`. Only their worker may.
    pub fn note(&self, time: Duration) {
        let time_us = time.as_micros() as u64;
        add(&self.buckets[BOUNDS_US.partition_point(|bound| *bound < time_us)], 1);
        add(&self.sum_us, time_us);
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self { buckets: [0; BOUNDS + 1], sum_us: 0 }
    }
}

impl Counts {
    /// What all `workers` counted.
    pub fn of(workers: &[Times]) -> Self {
        let mut counts = Self::default();
        for worker in workers {
            for (count, bucket) in counts.buckets.iter_mut().zip(&worker.buckets) {
                *count += bucket.load(Relaxed);
            }
            counts.sum_us += worker.sum_us.load(Relaxed);
        }
        counts
    }

    fn since(&self, before: &Self) -> Self {
        let mut counts = self.clone();
        for (count, before) in counts.buckets.iter_mut().zip(&before.buckets) {
            *count = count.saturating_sub(*before);
        }
        counts.sum_us = counts.sum_us.saturating_sub(before.sum_us);
        counts
    }

    /// The time, in milliseconds, that `percent` of them took at most, taken to be spread evenly in their bucket; `None`
    /// if there are none. What took longer than all bounds is given as the last.
    pub fn percentile_ms(&self, percent: u64) -> Option<f64> {
        let total: u64 = self.buckets.iter().sum();
        let wanted = (total * percent).div_ceil(100).max(1);
        let mut before = 0;
        let index = self.buckets.iter().position(|count| {
            before += count;
            before >= wanted
        })?;
        let Some(upper) = BOUNDS_US.get(index) else { return BOUNDS_US.last().map(|last| *last as f64 / 1000.0) };
        let lower = if index == 0 { 0 } else { BOUNDS_US[index - 1] };
        let count = self.buckets[index];
        let part = (wanted - (before - count)) as f64 / count as f64;
        Some((lower as f64 + part * (upper - lower) as f64) / 1000.0)
    }

    /// In the buckets of the metrics.
    pub fn histogram(&self) -> LatencyHistogram {
        let mut buckets = vec![0; LATENCY_BOUNDS_S.len() + 1];
        for (index, count) in self.buckets.iter().enumerate() {
            let bound_s = BOUNDS_US.get(index).map_or(f64::INFINITY, |bound| *bound as f64 / 1e6);
            buckets[LATENCY_BOUNDS_S.partition_point(|coarse| *coarse < bound_s)] += count;
        }
        LatencyHistogram { buckets, sum_s: self.sum_us as f64 / 1e6 }
    }
}

impl Recent {
    /// From `now` on.
    pub fn new(now: Instant) -> Self {
        Self { since: now, newer: Counts::default(), older: Counts::default() }
    }

    /// What was counted in the last half to whole minute, `counts` being all there is at `now`.
    pub fn take(&mut self, counts: &Counts, now: Instant) -> Counts {
        if now.saturating_duration_since(self.since) >= RECENT {
            self.older = std::mem::replace(&mut self.newer, counts.clone());
            self.since = now;
        }
        counts.since(&self.older)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use triad_model::LATENCY_BOUNDS_S;

    use super::{BOUNDS_US, Counts, RECENT, Recent, Times};

    fn counts(micros: &[u64]) -> Counts {
        let workers = [Times::default(), Times::default()];
        for (index, time_us) in micros.iter().enumerate() {
            workers[index % 2].note(Duration::from_micros(*time_us));
        }
        Counts::of(&workers)
    }

    #[test]
    fn the_metrics_bounds_are_among_ours() {
        for bound_s in LATENCY_BOUNDS_S {
            assert!(BOUNDS_US.contains(&((bound_s * 1e6).round() as u64)), "{bound_s}");
        }
        let histogram = counts(&[1_000, 1_001, 9_999_999, 10_000_001, 500_000_000]).histogram();
        assert_eq!(histogram.buckets, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(histogram.sum_s, 520.002001);
    }

    #[test]
    fn nothing_has_no_percentile_and_what_is_off_the_scale_has_its_end() {
        assert_eq!(counts(&[]).percentile_ms(50), None);
        assert_eq!(counts(&[900_000_000]).percentile_ms(50), Some(80_000.0));
        assert_eq!(counts(&[0]).percentile_ms(99), Some(0.1));
    }

    #[test]
    fn the_recent_past_is_half_a_minute_to_a_whole_one() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        let all: Vec<u64> = (0..200).map(|second| if second < 100 { 1_000_000 } else { 1_000 }).collect();
        for second in 0..200 {
            let so_far = counts(&all[..second]);
            let seen = recent.take(&so_far, start + Duration::from_secs(second as u64)).buckets.iter().sum::<u64>();
            let expected = if second < 60 { second..=second } else { RECENT.as_secs() as usize..=60 };
            assert!(expected.contains(&(seen as usize)), "{seen} after {second} s");
        }
        let last = recent.take(&counts(&all), start + Duration::from_secs(200));
        assert!(last.percentile_ms(99) <= Some(1.0), "what was slow is long ago");
    }

    proptest! {
        #[test]
        fn percentiles_are_right_to_a_quarter(mut micros in prop::collection::vec(100u64..80_000_000, 1..200), percent in 1u64..=100) {
            let estimate_us = counts(&micros).percentile_ms(percent).expect("some") * 1000.0;
            micros.sort_unstable();
            let exact = micros[(micros.len() * percent as usize).div_ceil(100).max(1) - 1] as f64;
            prop_assert!((0.75..=1.34).contains(&(estimate_us / exact)), "{estimate_us} for {exact}");
        }
    }
}
