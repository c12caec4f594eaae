//! How many requests are in flight at one backend, and how many may be.
//!
//! Invariants: taking a slot is one atomic step, so that workers together never take more than there are; who gives one
//! back sees whoever began to wait before. Both sides write before they read what the other one writes, in the one
//! order that all such operations have: a waiter enters the queue, then looks for a slot; a slot becomes free, then its
//! giver looks at the queue.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use crate::pool::Pool;

/// The slots of one backend. They outlive a reload that changes anything but where it is.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    in_flight: AtomicU64,
    /// 0: there is no bound.
    max: AtomicU64,
    /// Whom to tell of a slot that became free.
    pool: Weak<Pool>,
}

/// A slot, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Slots {
    /// Slots without a bound, for a backend of `pool`.
    pub fn new(pool: Weak<Pool>) -> Self {
        Self { pool, ..Self::default() }
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(SeqCst)
    }

    /// How many there may be; 0: any number.
    pub fn max(&self) -> u64 {
        self.max.load(SeqCst)
    }

    /// Changes the bound. What is above it stays until it is answered.
    pub fn set_max(&self, max: u32) {
        self.max.store(max.into(), SeqCst);
    }

    /// Whether one more would be too many.
    pub fn is_full(&self) -> bool {
        let max = self.max();
        max > 0 && self.in_flight() >= max
    }

    /// Takes a slot, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Slot> {
        match self.max() {
            0 => _ = self.in_flight.fetch_add(1, SeqCst),
            max => _ = self.in_flight.fetch_update(SeqCst, SeqCst, |taken| (taken < max).then_some(taken + 1)).ok()?,
        }
        Some(Slot(self.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let slots = &self.0;
        slots.in_flight.fetch_sub(1, SeqCst);
        if slots.max() > 0
            && !slots.is_full()
            && let Some(pool) = slots.pool.upgrade()
        {
            pool.slot_freed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::Slots;

    #[test]
    fn without_a_bound_there_is_always_one_and_a_bound_counts_what_is_there() {
        let slots = Arc::new(Slots::default());
        let taken: Vec<_> = (0..3).map(|_| slots.take().expect("no bound")).collect();
        slots.set_max(2);
        assert!(slots.take().is_none() && slots.is_full());
        drop(taken);
        assert_eq!((slots.in_flight(), slots.is_full()), (0, false));
        let [_one, _two] = [slots.take().expect("free"), slots.take().expect("free")];
        assert!(slots.take().is_none());
    }

    #[test]
    fn threads_together_never_take_more_than_there_are() {
        const MAX: u32 = 1;
        let slots = Arc::new(Slots::default());
        slots.set_max(MAX);
        let (there, most, taken) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000_000 {
                        let Some(_slot) = slots.take() else { continue };
                        most.fetch_max(there.fetch_add(1, SeqCst) + 1, SeqCst);
                        taken.fetch_add(1, SeqCst);
                        std::hint::spin_loop();
                        there.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= u64::from(MAX) && taken.load(SeqCst) > 0);
        assert_eq!(slots.in_flight(), 0);
    }
}
