//! How many of a backend's requests fail, over windows of time, without a lock. Nothing here reads a clock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Requests are counted over so long, then anew.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// Fewer requests in a window say nothing.
pub(crate) const REQUESTS_MIN: u64 = 20;

/// Bits of each count; of more requests in a window than that, the rest is not counted.
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Requests of the current window: its number, how many there were, and how many failed, in one word.
#[derive(Debug, Default)]
pub(crate) struct ErrorRate(AtomicU64);

/// What a window has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    window: u16,
    pub requests: u64,
    pub failed: u64,
}

impl ErrorRate {
    /// Counts a request that ended `at` this time after any fixed one.
    pub fn count(&self, at: Duration, failed: bool) -> Count {
        let add = |word: u64| {
            let before = Count::of(word, window(at));
            let room = u64::from(before.requests < COUNT_MAX);
            Count { requests: before.requests + room, failed: before.failed + room * u64::from(failed), ..before }
        };
        let before = self.0.fetch_update(Relaxed, Relaxed, |word| Some(add(word).word()));
        // It always is one: nothing is refused.
        add(before.unwrap_or_else(|word| word))
    }

    /// What is counted `at` this time.
    pub fn read(&self, at: Duration) -> Count {
        Count::of(self.0.load(Relaxed), window(at))
    }

    /// Forgets what was counted.
    pub fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}

fn window(at: Duration) -> u16 {
    // Which one it is matters only beside the one before.
    (at.as_secs() / WINDOW.as_secs()) as u16
}

impl Count {
    /// What `word` says, if it is of `window`.
    fn of(word: u64, window: u16) -> Self {
        let (requests, failed) = match (word >> (2 * COUNT_BITS)) as u16 == window {
            true => (word >> COUNT_BITS & COUNT_MAX, word & COUNT_MAX),
            false => (0, 0),
        };
        Self { window, requests, failed }
    }

    fn word(self) -> u64 {
        u64::from(self.window) << (2 * COUNT_BITS) | self.requests << COUNT_BITS | self.failed
    }

    /// Whether at least `percent` of enough requests failed; of 0 per cent, that is never so.
    pub fn reaches(&self, percent: u8) -> bool {
        percent > 0 && self.requests >= REQUESTS_MIN && self.failed * 100 >= self.requests * u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{COUNT_MAX, Count, ErrorRate, REQUESTS_MIN, WINDOW};

    #[test]
    fn too_few_requests_say_nothing_and_a_new_window_begins_anew() {
        let rate = ErrorRate::default();
        let at = 3 * WINDOW;
        for _ in 1..REQUESTS_MIN {
            assert!(!rate.count(at, true).reaches(50));
        }
        assert!(rate.count(at, true).reaches(50));
        assert!(!rate.read(at).reaches(0), "switched off");
        assert!(!rate.count(at + WINDOW, true).reaches(50));
    }

    #[test]
    fn counts_end_at_their_bound() {
        let full = Count { window: 7, requests: COUNT_MAX, failed: COUNT_MAX };
        let rate = ErrorRate(full.word().into());
        assert_eq!(rate.count(7 * WINDOW, true), full);
    }

    proptest! {
        #[test]
        fn it_is_what_a_plain_count_says(
            requests in prop::collection::vec((0u64..25, any::<bool>()), 0..200), percent in 1u8..=100,
        ) {
            let (rate, mut seconds, mut plain) = (ErrorRate::default(), 0, (0, 0, 0));
            for (pause_s, failed) in requests {
                seconds += pause_s / 20;
                if seconds / WINDOW.as_secs() != plain.0 {
                    plain = (seconds / WINDOW.as_secs(), 0, 0);
                }
                plain = (plain.0, plain.1 + 1, plain.2 + u64::from(failed));
                let count = rate.count(Duration::from_secs(seconds), failed);
                prop_assert_eq!((count.requests, count.failed), (plain.1, plain.2));
                let reaches = plain.1 >= REQUESTS_MIN && plain.2 * 100 >= plain.1 * u64::from(percent);
                prop_assert_eq!(count.reaches(percent), reaches);
            }
        }
    }
}
