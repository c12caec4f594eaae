//! The least that a client must send of its body, or take of its answer. Pure, but for the timer that wakes it.
//!
//! One that says nothing at all is [`Stall`](crate::clock::Stall)'s; a byte a minute would satisfy that for ever. So a
//! client has a credit of time: waiting for it takes from that, and every byte that moves gives some back. Time in which
//! something else is waited for takes nothing.

use std::task::Context;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Clock;

/// Bytes a second: what IIS and Kestrel ask for. The slowest lines still carry ten times that.
const BYTES_PER_S: u32 = 240;
/// Time a client has before the first byte, as Apache's `mod_reqtimeout` gives for a body: a handover between two cells
/// or a lost packet or two must not end a request.
const GRACE_MS: u32 = 20_000;
/// Time that a client can have earned at most, whatever it moved before: as long as one that says nothing may live at
/// most. It also covers what a system's send buffer takes at once, 29 KB at this rate.
const CREDIT_MS_MAX: u32 = 120_000;
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// How slow a client may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinRate {
    /// What a client must move in the time that is waited for it, on average.
    pub bytes_per_s: u32,
    /// Time it has at first.
    pub grace_ms: u32,
    /// Time it can have in advance.
    pub credit_ms_max: u32,
}

impl Default for MinRate {
    fn default() -> Self {
        Self { bytes_per_s: BYTES_PER_S, grace_ms: GRACE_MS, credit_ms_max: CREDIT_MS_MAX }
    }
}

impl MinRate {
    /// Whether it is the usual one.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Time in which a client that is just fast enough moves `bytes`.
    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / u64::from(self.bytes_per_s.max(1)))
    }
}

/// How a client keeps up with one body.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: MinRate,
    credit: Duration,
    looked_at: Instant,
    /// Bytes that had moved then.
    bytes: u64,
    /// Whether something else was waited for since then.
    paused: bool,
}

impl Pace {
    /// Of a body that begins at `now`, before which `bytes` had moved.
    pub fn new(rate: MinRate, now: Instant, bytes: u64) -> Self {
        let credit = Duration::from_millis(rate.grace_ms.into());
        Self { rate, credit, looked_at: now, bytes, paused: false }
    }

    /// Whether the client has been too slow up to `now`. `waits`: it is waited for; `bytes` have moved so far.
    ///
    /// To be asked whenever `waits` may have changed: a second in which something else was waited for is not counted.
    pub fn is_too_slow(&mut self, now: Instant, waits: bool, bytes: u64) -> bool {
        self.paused |= !waits;
        let age = now.saturating_duration_since(self.looked_at);
        if age < LOOK {
            return false;
        }
        let spent = if self.paused { Duration::ZERO } else { age };
        let earned = self.rate.time_of(bytes.saturating_sub(self.bytes));
        (self.looked_at, self.bytes, self.paused) = (now, bytes, !waits);
        match self.credit.saturating_add(earned).checked_sub(spent) {
            None => true,
            Some(left) => {
                self.credit = left.min(Duration::from_millis(self.rate.credit_ms_max.into()));
                false
            }
        }
    }

    /// The client has done its part; whatever is waited for until the next look is not the client.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Whether it has been too slow up to now; if not, the task is woken for the next look.
    pub fn poll_too_slow(&mut self, clock: &mut Clock, context: &mut Context<'_>, waits: bool, bytes: u64) -> bool {
        self.paused |= !waits;
        while clock.poll_passed(context, self.looked_at + LOOK) {
            if self.is_too_slow(Instant::now(), waits, bytes) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::{LOOK, MinRate, Pace};

    const RATE: MinRate = MinRate { bytes_per_s: 100, grace_ms: 5_000, credit_ms_max: 20_000 };

    /// What happens in one second: how many bytes move in it, and whether the client is waited for.
    type Second = (u64, bool);

    /// Looks once a second; the second in which the client is too slow.
    fn cut(seconds: impl IntoIterator<Item = Second>) -> Option<usize> {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start, 0);
        let mut moved = 0;
        seconds.into_iter().enumerate().position(|(second, (bytes, waits))| {
            let begins = start + LOOK * second as u32;
            assert!(!pace.is_too_slow(begins, waits, moved), "nothing changes within a second");
            moved += bytes;
            pace.is_too_slow(begins + LOOK, waits, moved)
        })
    }

    /// Seconds of a client that is never further behind than the grace allows.
    fn fast_enough() -> impl Strategy<Value = Vec<Second>> {
        let behind = u64::from(RATE.bytes_per_s * RATE.grace_ms / 1000);
        prop::collection::vec((0..400_u64, any::<bool>()), 1..200).prop_map(move |mut seconds| {
            let mut debt = 0;
            for (bytes, waits) in &mut seconds {
                debt += if *waits { u64::from(RATE.bytes_per_s) } else { 0 };
                *bytes = (*bytes).max(debt.saturating_sub(behind));
                debt = debt.saturating_sub(*bytes);
            }
            seconds
        })
    }

    proptest! {
        #[test]
        fn who_is_fast_enough_is_never_cut(seconds in fast_enough()) {
            prop_assert_eq!(cut(seconds), None);
        }

        #[test]
        fn who_is_slower_is_cut_in_bounded_time_whatever_it_did_before(
            before in fast_enough(),
            slow in prop::collection::vec(0..=50_u64, 60),
        ) {
            let fast = before.len();
            // At half the rate, a credit lasts twice as long; a second behind a pause is not counted.
            let bound = fast + 2 * RATE.credit_ms_max as usize / 1000 + 1;
            let seconds = before.into_iter().chain(slow.into_iter().map(|bytes| (bytes, true)));
            let at = cut(seconds);
            prop_assert!(at.is_some_and(|at| (fast..=bound).contains(&at)), "{at:?}");
        }

        #[test]
        fn time_that_something_else_takes_is_not_the_clients(waits in prop::collection::vec(any::<bool>(), 0..60)) {
            // Silent throughout. A second counts if it is waited for from its begin, where a pause may just have ended.
            let counts = |second: usize| waits[second] && (second == 0 || waits[second - 1]);
            let mut counted = (0..waits.len()).filter(|second| counts(*second));
            let expected = counted.nth(RATE.grace_ms as usize / 1000);
            prop_assert_eq!(cut(waits.iter().map(|waits| (0, *waits))), expected);
        }
    }

    #[test]
    fn silence_is_borne_for_the_grace_and_what_was_earned_but_no_longer_than_the_most() {
        let silent = |before: u64| cut([(before, true)].into_iter().chain(std::iter::repeat_n((0, true), 100)));
        assert_eq!(silent(0), Some(5), "the sixth second is too much");
        assert_eq!(silent(300), Some(8));
        assert_eq!(silent(1_000_000), Some(21));
    }

    #[test]
    fn what_happens_between_two_parts_of_an_answer_is_not_counted() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start, 0);
        pace.pause();
        assert!(!pace.is_too_slow(start + Duration::from_secs(60), true, 0), "a disk that takes its time");
        assert!(!pace.is_too_slow(start + Duration::from_secs(65), true, 0));
        assert!(pace.is_too_slow(start + Duration::from_secs(66), true, 0));
    }

    #[test]
    fn a_look_that_is_late_counts_all_the_time() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start, 7);
        assert!(!pace.is_too_slow(start + Duration::from_secs(8), true, 307));
        assert!(pace.is_too_slow(start + Duration::from_secs(9), true, 307));
    }
}
