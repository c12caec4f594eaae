//! The generic cell rate algorithm (ITU-T I.371): one number says how much of its allowance somebody has used, the time
//! at which nothing is to its debit any more. Pure but for [`SharedRate`], which all workers take from without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

const SECOND_NS: u64 = 1_000_000_000;
/// Longest time that a client pays for what it used elsewhere beyond its credit.
const DEBT_NS_MAX: u64 = 10 * SECOND_NS;

/// So many requests a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// What one request puts to the debit.
    pub interval_ns: u64,
    /// How far the debit may go.
    pub credit_ns: u64,
}

/// There is nothing left of the allowance, for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    wait_ns: u64,
}

impl Spent {
    /// Whole seconds after which to ask again.
    pub fn retry_after_s(self) -> u32 {
        u32::try_from(self.wait_ns.div_ceil(SECOND_NS)).unwrap_or(u32::MAX)
    }
}

impl Rate {
    /// Both of them at least 1.
    pub fn new(per_s: u32, burst: u32) -> Self {
        let interval_ns = SECOND_NS / u64::from(per_s.max(1));
        Self { interval_ns, credit_ns: interval_ns * u64::from(burst.max(1)) }
    }

    /// What the others of `sharers` may have of such a rate that each of them can take from: all but an equal part, and what
    /// it gives in a second more at once, because it is told late. Nothing if there is nobody else.
    fn of_others(per_s: u32, burst: u32, sharers: u32) -> Option<Self> {
        let part = |whole: u64| {
            let part = whole * u64::from(sharers.saturating_sub(1)) / u64::from(sharers.max(1));
            u32::try_from(part).unwrap_or(u32::MAX)
        };
        (sharers > 1).then(|| Self::new(part(per_s.into()), part(u64::from(burst) + u64::from(per_s))))
    }

    /// One more request at `now_ns` of who has nothing to its debit at `even_at_ns`: when it will have nothing then.
    pub fn take(self, even_at_ns: u64, now_ns: u64) -> Result<u64, Spent> {
        let even_at_ns = even_at_ns.max(now_ns) + self.interval_ns;
        match (even_at_ns - now_ns).checked_sub(self.credit_ns) {
            Some(wait_ns) if wait_ns > 0 => Err(Spent { wait_ns }),
            _ => Ok(even_at_ns),
        }
    }

    /// As many of `requests` at `now_ns` as there is an allowance for, and when it will have nothing to its debit then.
    fn take_up_to(self, even_at_ns: u64, now_ns: u64, requests: u32) -> (u64, u32) {
        let from_ns = even_at_ns.max(now_ns);
        let left = (now_ns + self.credit_ns).saturating_sub(from_ns) / self.interval_ns;
        let taken = u32::try_from(left).unwrap_or(u32::MAX).min(requests);
        (from_ns + self.interval_ns * u64::from(taken), taken)
    }

    /// What `requests` that passed elsewhere by `now_ns` come to. They may go beyond the credit, else who asks at two
    /// places at once would have twice the rate; by how far is bounded.
    pub fn debit(self, even_at_ns: u64, now_ns: u64, requests: u32) -> u64 {
        let even_at_next_ns = even_at_ns.max(now_ns).saturating_add(self.interval_ns.saturating_mul(requests.into()));
        even_at_next_ns.min(now_ns + self.credit_ns + DEBT_NS_MAX).max(even_at_ns)
    }
}

/// A rate that all workers take from together, and others elsewhere with them. What those say to have taken is believed up
/// to all but an equal part.
#[derive(Debug)]
pub(crate) struct SharedRate {
    rate: Rate,
    even_at_ns: AtomicU64,
    /// What was taken here since it was told.
    untold: AtomicU32,
    /// What others are believed, and when they will have nothing to their debit; `None`: there is nobody else.
    others: Option<(Rate, Mutex<u64>)>,
}

impl SharedRate {
    /// Nothing is taken yet; `sharers` are all that take from it, here and elsewhere.
    pub fn new(per_s: u32, burst: u32, sharers: u32) -> Self {
        let others = Rate::of_others(per_s, burst, sharers).map(|rate| (rate, Mutex::default()));
        Self { rate: Rate::new(per_s, burst), even_at_ns: AtomicU64::new(0), untold: AtomicU32::new(0), others }
    }

    /// One more request at `now_ns`.
    pub fn take(&self, now_ns: u64) -> Result<(), Spent> {
        let mut even_at_ns = self.even_at_ns.load(Relaxed);
        loop {
            let next_ns = self.rate.take(even_at_ns, now_ns)?;
            match self.even_at_ns.compare_exchange_weak(even_at_ns, next_ns, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(other_ns) => even_at_ns = other_ns,
            }
        }
        if self.others.is_some() {
            self.untold.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// What others are to be told: what was taken here since this was asked last.
    pub fn tell(&self) -> u32 {
        self.untold.swap(0, Relaxed)
    }

    /// Others say to have taken so many `requests` by `now_ns`.
    pub fn hear(&self, now_ns: u64, requests: u32) {
        let Some((rate, even_at_ns)) = &self.others else { return };
        let mut even_at_ns = even_at_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let (next_ns, believed) = rate.take_up_to(*even_at_ns, now_ns, requests);
        *even_at_ns = next_ns;
        let debited = |even_at_ns| Some(self.rate.debit(even_at_ns, now_ns, believed));
        let _ = self.even_at_ns.fetch_update(Relaxed, Relaxed, debited);
    }
}

#[cfg(test)]
mod tests {
    use super::{SECOND_NS, SharedRate};

    #[test]
    fn workers_together_pass_a_burst_then_the_rate() {
        let rate = SharedRate::new(100, 40, 1);
        let passed = |now_ns| {
            let worker = || (0..100).filter(|_| rate.take(now_ns).is_ok()).count();
            std::thread::scope(|scope| {
                let workers = [scope.spawn(worker), scope.spawn(worker)];
                workers.map(|worker| worker.join().expect("no panic")).iter().sum::<usize>()
            })
        };
        assert_eq!(passed(0), 40);
        assert_eq!(passed(SECOND_NS / 10), 10, "a tenth of a second brings ten back");
        assert_eq!(rate.take(SECOND_NS / 10).expect_err("spent").retry_after_s(), 1);
        assert_eq!(passed(60 * SECOND_NS), 40, "no more than a burst");
    }
}
