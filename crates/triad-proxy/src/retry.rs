//! How often requests may be sent again that a backend may have begun to work on. Backends that fail because they have
//! too much to do must not get twice as much: one in [`ONE_IN`] requests, and [`FREE_PER_S`] a second beside.
//!
//! What no backend has seen costs none of them anything, and is not counted here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// So many requests allow one to be sent again.
const ONE_IN: u64 = 5;
/// So many may be sent again each second without any, for sites with few.
const FREE_PER_S: u64 = 10;
/// So many may be sent again at one time, after a time without: what is in flight at a server that dies.
const SAVED_MAX: u64 = 1000;
/// So many are allowed at the start.
const SAVED_FIRST: u64 = 100;

/// The budget of one worker.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// Requests since somebody asked.
    requests: AtomicU64,
    purse: Mutex<Purse>,
}

impl RetryBudget {
    /// As it is at `now`, the start.
    pub fn new(now: Instant) -> Self {
        Self { requests: AtomicU64::new(0), purse: Mutex::new(Purse::new(now)) }
    }

    /// A request is sent for the first time. Called by one thread alone.
    pub fn earn(&self) {
        self.requests.store(self.requests.load(Relaxed) + 1, Relaxed);
    }

    /// Whether one may be sent again at `now`, which is then paid for.
    pub fn spend(&self, now: Instant) -> bool {
        let requests = self.requests.swap(0, Relaxed);
        self.purse.lock().unwrap_or_else(PoisonError::into_inner).spend(now, requests)
    }
}

/// What is saved. Pure.
#[derive(Debug)]
struct Purse {
    /// In parts that each request brings; [`ONE_IN`] of them pay for one that is sent again.
    parts: u64,
    /// Until when the free ones are in it.
    filled_to: Instant,
}

impl Purse {
    fn new(now: Instant) -> Self {
        Self { parts: SAVED_FIRST * ONE_IN, filled_to: now }
    }

    fn spend(&mut self, now: Instant, requests: u64) -> bool {
        let elapsed = now.saturating_duration_since(self.filled_to);
        self.filled_to = self.filled_to.max(now);
        // A part of a part is lost; seconds beyond what fits change nothing.
        let free = elapsed.as_micros().min(u128::from(u32::MAX)) as u64 * FREE_PER_S * ONE_IN / 1_000_000;
        self.parts = (self.parts + requests + free).min(SAVED_MAX * ONE_IN);
        let rest = self.parts.checked_sub(ONE_IN);
        self.parts = rest.unwrap_or(self.parts);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{FREE_PER_S, ONE_IN, Purse, RetryBudget, SAVED_FIRST, SAVED_MAX};

    #[test]
    fn it_begins_with_some_and_each_fifth_request_brings_one() {
        let now = Instant::now();
        let budget = RetryBudget::new(now);
        let spent = |budget: &RetryBudget| (0..10_000).take_while(|_| budget.spend(now)).count() as u64;
        assert_eq!(spent(&budget), SAVED_FIRST);
        (0..50).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 50 / ONE_IN);
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), SAVED_MAX, "no more is saved");
    }

    #[test]
    fn a_second_brings_some_for_who_has_no_requests() {
        let now = Instant::now();
        let mut purse = Purse::new(now);
        while purse.spend(now, 0) {}
        let later = now + Duration::from_secs(1);
        assert_eq!((0..100).take_while(|_| purse.spend(later, 0)).count() as u64, FREE_PER_S);
        assert!(!purse.spend(now, 0), "time that goes back brings nothing");
    }

    proptest! {
        #[test]
        fn never_more_than_was_allowed(steps in prop::collection::vec((0u64..2_000, 0u64..30), 1..300)) {
            let start = Instant::now();
            let mut purse = Purse::new(start);
            let (mut now, mut requests, mut spent) = (start, 0, 0);
            for (elapsed_ms, more) in steps {
                now += Duration::from_millis(elapsed_ms);
                requests += more;
                spent += u64::from(purse.spend(now, more));
                let elapsed_s = (now - start).as_secs_f64();
                let allowed = SAVED_FIRST as f64 + requests as f64 / ONE_IN as f64 + elapsed_s * FREE_PER_S as f64;
                prop_assert!(spent as f64 <= allowed);
            }
        }
    }
}
